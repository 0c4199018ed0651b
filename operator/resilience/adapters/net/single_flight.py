"""Work that is shared while it is in flight: whoever asks for the same meanwhile gets the same result."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class SingleFlight(Generic[Key, Result]):
    """At most one piece of work for each key at a time. Nothing is kept of it afterwards."""

    def __init__(self) -> None:
        self._tasks: dict[Key, asyncio.Task[Result]] = {}

    async def run(self, key: Key, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """The result of `work`, or its error. One who gives up does not take it from the others."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.get_running_loop().create_task(work())
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    def _ended(self, key: Key, task: "asyncio.Task[Result]") -> None:
        del self._tasks[key]
        if not task.cancelled():
            # Asked for here, for perhaps nobody waits any more.
            task.exception()
