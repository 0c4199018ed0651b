"""The cache of usage, in virtual time: one list for a namespace and period, whoever asks."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from resilience.core.model.usage import PodUsage
from resilience.ports import Unavailable
from resilience.runtime.checking.usage_cache import UsageCache
from tests.support.factories import NOW
from tests.support.virtual_time import VirtualClock, run_virtual


@dataclass(slots=True)
class FakeUsage:
    """Answers after `takes` seconds; the pod's name counts the lists of its namespace."""

    takes: float = 1.0
    fails: bool = False
    lists: list[str] = field(default_factory=list)

    async def pods(self, namespace: str) -> Mapping[str, PodUsage]:
        self.lists.append(namespace)
        await asyncio.sleep(self.takes)
        if self.fails:
            raise Unavailable("metrics-server is not installed")
        name = f"pod-{self.lists.count(namespace)}"
        return {name: PodUsage(timestamp=NOW, window=timedelta(seconds=10), containers={})}


def cache_of(usage: FakeUsage, **options: timedelta) -> UsageCache:
    return UsageCache(usage=usage, monotonic=VirtualClock().monotonic, **options)


def test_all_who_ask_in_a_period_get_one_list() -> None:
    async def main() -> None:
        usage = FakeUsage()
        cache = cache_of(usage)
        together = await asyncio.gather(*(cache.pods("shop") for _ in range(1000)))
        assert {name for answer in together for name in answer} == {"pod-1"}
        await asyncio.sleep(13)
        assert set(await cache.pods("shop")) == {"pod-1"}
        await asyncio.sleep(1)
        assert set(await cache.pods("shop")) == {"pod-2"}
        assert usage.lists == ["shop", "shop"]

    run_virtual(main())


def test_the_period_can_be_chosen_and_each_namespace_has_its_own() -> None:
    async def main() -> None:
        usage = FakeUsage()
        cache = cache_of(usage, period=timedelta(seconds=60))
        for _ in range(6):
            await asyncio.gather(cache.pods("shop"), cache.pods("bank"))
            await asyncio.sleep(19)
        assert usage.lists == ["shop", "bank"] * 2

    run_virtual(main())


def test_a_list_that_takes_longer_than_the_period_is_not_doubled() -> None:
    async def main() -> None:
        usage = FakeUsage(takes=40)
        cache = cache_of(usage)
        first = asyncio.create_task(cache.pods("shop"))
        await asyncio.sleep(30)
        assert await cache.pods("shop") is await first
        assert usage.lists == ["shop"]

    run_virtual(main())


def test_who_gives_up_does_not_take_the_answer_from_the_others() -> None:
    async def main() -> None:
        usage = FakeUsage()
        cache = cache_of(usage)
        impatient = asyncio.create_task(cache.pods("shop"))
        await asyncio.sleep(0.5)
        impatient.cancel()
        assert set(await cache.pods("shop")) == {"pod-1"}
        assert impatient.cancelled()
        assert usage.lists == ["shop"]

    run_virtual(main())


def test_an_error_is_kept_as_long_as_an_answer() -> None:
    async def main() -> None:
        usage = FakeUsage(fails=True)
        cache = cache_of(usage)
        answers = await asyncio.gather(*(cache.pods("shop") for _ in range(100)), return_exceptions=True)
        assert {(type(answer), str(answer)) for answer in answers} == {(Unavailable, "metrics-server is not installed")}
        await asyncio.sleep(10)
        with pytest.raises(Unavailable):
            await cache.pods("shop")
        assert usage.lists == ["shop"]
        usage.fails = False
        await asyncio.sleep(5)
        assert set(await cache.pods("shop")) == {"pod-2"}

    run_virtual(main())


def test_a_namespace_that_nobody_wants_is_forgotten() -> None:
    async def main() -> None:
        usage = FakeUsage(takes=0)
        cache = cache_of(usage, period=timedelta(hours=1))
        for _ in range(4):
            await asyncio.gather(cache.pods("gone"), cache.pods("wanted"))
            await asyncio.sleep(100)
        await cache.pods("wanted")
        await asyncio.sleep(299)
        # A list of any namespace sweeps the others.
        await cache.pods("new")
        await asyncio.gather(cache.pods("gone"), cache.pods("wanted"))
        assert usage.lists == ["gone", "wanted", "new", "gone"]

    run_virtual(main())
