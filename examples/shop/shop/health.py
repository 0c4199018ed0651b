"""What the shop says about itself: alive, ready, and how each of its parts is.

Neither /livez nor /readyz looks at Redis: losing a shared dependency must not restart or unready every pod at once.
"""

import asyncio
import time
from typing import Final

from aiohttp import web

from .settings import Settings
from .store import Store

TIMEOUT_SECONDS: Final = 2.0
BIG_BODY: Final = 10 * 1024 * 1024


class Health:
    """The health end-points, and the ways to make them fail that `Settings` offers."""

    def __init__(self, *, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store

    def routes(self) -> list[web.RouteDef]:
        """Routes on the port that clients use."""
        return [
            web.get("/livez", self._live),
            web.get("/readyz", self._ready),
            web.post("/readyz", self._ready),
            web.get("/api/health", self._health),
        ]

    async def _live(self, _: web.Request) -> web.Response:
        await self._hang()
        hang_file = self._settings.hang_file
        if hang_file is not None and hang_file.exists():
            await asyncio.Event().wait()
        return web.json_response({"status": "healthy"})

    async def _ready(self, _: web.Request) -> web.Response:
        await self._hang()
        fail_file = self._settings.fail_file
        if self._settings.fail_ready or (fail_file is not None and fail_file.exists()):
            return web.json_response({"status": "unhealthy"}, status=503)
        if self._settings.redis_required and (await self._redis())["status"] != "healthy":
            return web.json_response({"status": "unhealthy"}, status=503)
        if self._settings.big_health:
            return web.Response(body=b"x" * BIG_BODY)
        return web.json_response({"status": "healthy"})

    async def _health(self, _: web.Request) -> web.Response:
        await self._hang()
        components = {"redis": await self._redis()}
        if problem := self._orders():
            components["orders"] = {"status": "unhealthy", "message": problem, "duration": "0.0ms"}
        words = {component["status"] for component in components.values()}
        # Without Redis it works from memory: that is worth a look, and no reason to take it out of service.
        word = next((each for each in ("unhealthy", "degraded") if each in words), "healthy")
        return web.json_response({"status": word, "components": components}, status=503 if word == "unhealthy" else 200)

    def _orders(self) -> str:
        if self._settings.fail_health:
            return "FAIL_HEALTH is set"
        limit = self._settings.fail_health_after
        return "FAIL_HEALTH_AFTER is reached" if limit is not None and self._store.taken >= limit else ""

    async def _redis(self) -> dict[str, str]:
        start = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                problem = await self._store.ping()
        except TimeoutError:
            problem = f"no answer within {TIMEOUT_SECONDS:g}s"
        return {
            "status": "healthy" if not problem else "unhealthy" if self._settings.redis_required else "degraded",
            "message": problem,
            "duration": f"{(time.monotonic() - start) * 1000:.1f}ms",
        }

    async def _hang(self) -> None:
        if self._settings.hang:
            await asyncio.Event().wait()
