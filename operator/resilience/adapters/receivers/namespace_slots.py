"""Limits on concurrent work, in total and for each namespace, so that the load of one tenant blocks no other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class NamespaceSlots:
    """`total` slots, of which one namespace uses at most `each`."""

    def __init__(self, total: int, *, each: int) -> None:
        self._total = asyncio.Semaphore(total)
        self._each = each
        # Semaphores of namespaces without work in progress are garbage-collected.
        self._by_namespace: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def taken(self, namespace: str) -> AsyncIterator[None]:
        """Waits for a slot, and keeps it while the context is open."""
        own = self._by_namespace.get(namespace)
        if own is None:
            own = self._by_namespace[namespace] = asyncio.Semaphore(self._each)
        async with own, self._total:
            yield
