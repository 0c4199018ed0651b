"""Places for what is under way at once, so many of them for each namespace: one tenant's trouble is not another's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Shares:
    """`total` places, of which a namespace takes at most `each`."""

    def __init__(self, total: int, *, each: int) -> None:
        self._total = asyncio.Semaphore(total)
        self._each = each
        # Those of namespaces where nothing is under way vanish by themselves.
        self._by_namespace: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def taken(self, namespace: str) -> AsyncIterator[None]:
        """One place, when there is one."""
        mine = self._by_namespace.get(namespace)
        if mine is None:
            mine = self._by_namespace[namespace] = asyncio.Semaphore(self._each)
        async with mine, self._total:
            yield
