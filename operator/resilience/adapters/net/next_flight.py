"""Work that is shared by those who ask before it begins: nobody gets a result that is older than the question."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Wanted = TypeVar("Wanted", bound=Hashable)
Result = TypeVar("Result")


@dataclass(slots=True)
class _Flight(Generic[Wanted, Result]):
    """Work that has not begun, what is wanted of it, and the number of those who wait for it."""

    wanted: set[Wanted] = field(default_factory=set)
    waiting: int = 0
    task: "asyncio.Task[Result] | None" = None


class NextFlight(Generic[Key, Wanted, Result]):
    """At most one piece of work for each key at a time, which begins after everybody asked who gets its result.

    Whoever asks while one is under way waits for its end and shares the next one. Nothing is kept of it afterwards.
    """

    def __init__(self) -> None:
        self._next: dict[Key, _Flight[Wanted, Result]] = {}
        self._under_way: dict[Key, asyncio.Task[Result]] = {}

    async def run(
        self, key: Key, wanted: Iterable[Wanted], work: Callable[[frozenset[Wanted]], Coroutine[Any, Any, Result]]
    ) -> Result:
        """The result of `work`, or its error; `work` gets what all want who share it.

        One who gives up does not take it from the others; it ends, or never begins, when all have given up.
        """
        flight = self._next.get(key)
        if flight is None:
            flight = self._next[key] = _Flight()
            flight.task = asyncio.get_running_loop().create_task(self._fly(key, flight, work))
        assert flight.task is not None
        flight.wanted.update(wanted)
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                if self._next.get(key) is flight:
                    del self._next[key]
                flight.task.cancel()

    async def _fly(
        self,
        key: Key,
        flight: _Flight[Wanted, Result],
        work: Callable[[frozenset[Wanted]], Coroutine[Any, Any, Result]],
    ) -> Result:
        while (before := self._under_way.get(key)) is not None:
            await asyncio.wait([before])
        assert flight.task is not None
        self._under_way[key] = flight.task
        del self._next[key]
        try:
            return await work(frozenset(flight.wanted))
        finally:
            del self._under_way[key]
