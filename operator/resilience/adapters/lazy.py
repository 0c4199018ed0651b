"""Imports that wait until a resource needs them: libraries that most clusters have no use for.

A module that imports such a library at its top is itself imported by a Lazy alone, so that types stay checked:

    def _link() -> "type[Link]":
        from resilience.adapters.checks.redis.link import Link

        return Link
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from resilience.adapters.net.single_flight import SingleFlight

Value = TypeVar("Value")


class Lazy(Generic[Value]):
    """The value that `load` returns. It runs in a thread, for an import takes longer than the event loop may stand."""

    def __init__(self, load: Callable[[], Value]) -> None:
        self._load = load
        self._loading = SingleFlight[None, Value]()
        self._loaded: list[Value] = []

    async def get(self) -> Value:
        """The value; loaded once, however many ask. Raises what `load` raises, and loads anew for the next one."""
        if not self._loaded:
            value = await self._loading.run(None, lambda: asyncio.to_thread(self._load))
            self._loaded[:] = [value]
        return self._loaded[0]

    @property
    def is_loaded(self) -> bool:
        """Somebody has needed it."""
        return bool(self._loaded)
