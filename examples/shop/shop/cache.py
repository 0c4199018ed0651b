"""Follows the flag: without Redis while it is on, and what Redis missed is written to it when it goes off."""

import asyncio

from aiohttp import web

from .flags import Flags
from .settings import Settings
from .store import Store


class Cache:
    """The store under the flag."""

    def __init__(self, *, settings: Settings, store: Store) -> None:
        self._store = store
        self._flags = Flags(settings=settings, on_change=self._changed)
        self._refilling: asyncio.Task[None] | None = None

    def routes(self) -> list[web.RouteDef]:
        """On the admin port."""
        return [web.get("/api/cache", self._describe)]

    async def follow(self) -> None:
        """Until cancelled."""
        await self._flags.follow()

    def _changed(self, degraded: bool) -> None:
        self._store.degraded = degraded
        if not degraded:
            self._refilling = asyncio.create_task(self._store.refill())

    async def _describe(self, _: web.Request) -> web.Response:
        store = self._store
        return web.json_response(self._flags.describe() | {"served": store.served, "refilled": store.refilled})
