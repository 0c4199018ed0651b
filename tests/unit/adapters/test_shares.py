"""Places for deliveries: those of one namespace that hang leave room for others."""

import asyncio

from resilience.adapters.receivers.namespace_slots import NamespaceSlots


async def test_a_namespace_has_its_share_and_no_more() -> None:
    shares, done = NamespaceSlots(3, each=2), asyncio.Event()
    at_work: list[str] = []

    async def work(namespace: str) -> None:
        async with shares.taken(namespace):
            at_work.append(namespace)
            await done.wait()

    tasks = [asyncio.create_task(work(each)) for each in ("noisy", "noisy", "noisy", "noisy", "quiet", "third")]
    await asyncio.sleep(0.01)
    assert sorted(at_work) == ["noisy", "noisy", "quiet"]
    done.set()
    await asyncio.gather(*tasks)
    assert len(at_work) == 6
