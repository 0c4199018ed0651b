"""The drain signal, to be copied into your own service: clients move over one by one, each between two requests.

It never closes an idle connection: a request may be on its way on it. A client only learns from an answer that it
must not use the connection again, so `Connection: close` on every answer is the one way to let go that loses nothing.
"""

from aiohttp import web


class Drain:
    """Lets the clients of `runner` go, and counts those that are still there."""

    def __init__(self, *, runner: web.AppRunner) -> None:
        self.draining = False
        self._runner = runner
        runner.app.on_response_prepare.append(self._announce)

    @property
    def active(self) -> int:
        """Open client connections, idle or busy."""
        server = self._runner.server
        return sum(connection.connected for connection in server.connections) if server else 0

    async def _announce(self, _: web.Request, response: web.StreamResponse) -> None:
        if self.draining:
            response.force_close()  # the server closes after this answer ...
            # ... but aiohttp has computed the headers before this hook: without this line the client would not know.
            response.headers["Connection"] = "close"

    async def _signal(self, request: web.Request) -> web.Response:
        self.draining = request.method == "POST"  # DELETE takes it back; both are harmless to repeat
        return await self._connections(request)

    async def _connections(self, _: web.Request) -> web.Response:
        return web.json_response({"active": self.active, "draining": self.draining})

    def routes(self) -> list[web.RouteDef]:
        """Routes for a port that clients do not reach, so that whoever asks is not among those who are counted."""
        return [
            web.post("/drain", self._signal),
            web.delete("/drain", self._signal),
            web.get("/api/connections", self._connections),
        ]
