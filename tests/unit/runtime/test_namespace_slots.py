"""Slots for concurrent work: namespaces get them in turn, and none of them all."""

import asyncio

from resilience.runtime.namespace_slots import NamespaceSlots, NamespaceTurns


def filled(total: int, *waiting: tuple[str, int]) -> NamespaceSlots[str]:
    """`waiting`: namespaces, and the number of items in their lines."""
    slots: NamespaceSlots[str] = NamespaceSlots(total)
    for namespace, count in waiting:
        for number in range(count):
            slots.wait(namespace, f"{namespace}-{number}")
    return slots


def taken(slots: NamespaceSlots[str]) -> list[str]:
    items = []
    while (turn := slots.take()) is not None:
        items.append(turn[1])
    return items


def test_a_namespace_alone_leaves_as_many_slots_as_it_has() -> None:
    slots = filled(8, ("noisy", 20))
    assert len(taken(slots)) == 4
    slots.wait("quiet", "quiet-0")
    assert taken(slots) == ["quiet-0"]


def test_one_slot_is_enough_for_everybody_in_turn() -> None:
    slots, order = filled(1, ("a", 3), ("b", 1), ("c", 2)), []
    while (turn := slots.take()) is not None:
        assert slots.take() is None
        slots.give_back(turn[0])
        order.append(turn[1])
    assert order == ["a-0", "b-0", "c-0", "a-1", "c-1", "a-2"]


def test_many_that_are_noisy_keep_nobody_from_a_turn() -> None:
    slots = filled(4, *((f"noisy-{number}", 9) for number in range(9)))
    running = [name.rpartition("-")[0] for name in taken(slots)]
    assert len(running) == 4
    slots.wait("quiet", "quiet-0")
    turns = []
    while "quiet-0" not in turns:
        slots.give_back(running.pop(0))
        new = taken(slots)
        assert len(new) == 1
        running.append(new[0].rpartition("-")[0])
        turns += new
    # Each of the nine has had one turn before it at most.
    assert len({name.rpartition("-")[0] for name in turns}) == len(turns) <= 10


def test_the_urgent_come_first_unless_their_namespace_has_its_share() -> None:
    slots = filled(4, ("quiet", 1))
    for number in range(4):
        slots.wait("noisy", f"urgent-{number}", urgency=-1)
    assert taken(slots) == ["urgent-0", "urgent-1", "quiet-0"]


def test_who_leaves_the_line_gets_no_slot_and_keeps_none_from_it() -> None:
    slots = filled(8, ("a", 3))
    slots.drop("a", "a-1")
    slots.drop("a", "never there")
    slots.drop("nobody", "never there")
    assert taken(slots) == ["a-0", "a-2"]


async def test_tasks_wait_for_their_turn() -> None:
    turns, done = NamespaceTurns(4), asyncio.Event()
    at_work: list[str] = []

    async def work(namespace: str) -> None:
        async with turns.taken(namespace):
            at_work.append(namespace)
            await done.wait()

    tasks = [asyncio.create_task(work(name)) for name in ("noisy", "noisy", "noisy", "noisy", "quiet", "third")]
    await asyncio.sleep(0.01)
    assert sorted(at_work) == ["noisy", "noisy", "quiet", "third"]
    done.set()
    await asyncio.gather(*tasks)
    assert len(at_work) == 6


async def test_a_task_that_is_cancelled_leaves_its_slot_or_its_place() -> None:
    turns, at_work = NamespaceTurns(1), list[int]()

    async def work(number: int) -> None:
        async with turns.taken("shop"):
            at_work.append(number)
            await asyncio.sleep(3600 if number < 3 else 0)

    tasks = [asyncio.create_task(work(number)) for number in range(5)]
    await asyncio.sleep(0.01)
    # The one that has the slot; the next, in the moment in which it gets it; and one in the line.
    for number in (0, 2, 1):
        tasks[number].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (at_work[0], at_work[-2:]) == (0, [3, 4])
