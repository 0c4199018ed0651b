"""The shop itself: take an order, give it back, and say which version and pod did it."""

import asyncio
import json

from aiohttp import web

from .health import Health
from .limiter import Limiter
from .settings import Settings
from .store import Store


class Shop:
    """The page that clients use."""

    def __init__(self, *, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._limiter = Limiter(store=store, most=settings.orders_per_second)

    async def read(self, request: web.Request) -> web.Response:
        """GET /?order=<id>: the order, null if it is not known."""
        order = request.query.get("order", "")
        value, source = await self._store.get(order=order)
        return await self._answer(order=order, value=value, source=source)

    async def write(self, request: web.Request) -> web.Response:
        """POST / with `{"order": "<id>", ...}`: store the whole body under that id."""
        body = await request.text()
        try:
            order = str(json.loads(body)["order"])
        except (ValueError, KeyError, TypeError):
            return web.json_response({"error": 'the body must be JSON like {"order": "1"}'}, status=400)
        limit = self._settings.fail_orders_after
        if limit is not None and self._store.taken >= limit:
            return web.json_response({"error": "FAIL_ORDERS_AFTER is reached"}, status=500)
        if not await self._limiter.allows():
            return web.json_response({"error": "too many orders"}, status=429, headers={"Retry-After": "1"})
        source = await self._store.put(order=order, value=body)
        return await self._answer(order=order, value=body, source=source)

    async def _answer(self, *, order: str, value: str | None, source: str) -> web.Response:
        # Real work takes a while: with no delay hardly any request would be in flight when a pod goes away.
        await asyncio.sleep(self._settings.response_delay.total_seconds())
        return web.json_response(
            {
                "version": self._settings.version,
                "pod": self._settings.pod,
                "order": order,
                "value": value,
                "source": source,
            }
        )


def build(*, settings: Settings, store: Store) -> web.Application:
    """The application that clients reach."""
    shop = Shop(settings=settings, store=store)
    app = web.Application()
    app.add_routes([web.get("/", shop.read), web.post("/", shop.write)])
    app.add_routes(Health(settings=settings, store=store).routes())
    return app
