"""HTTP endpoints of the operator: health, readiness and metrics, on every replica, leading or not.

They read what others measured, and must not decide, write or call the Kubernetes API.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final, Protocol

from aiohttp import web

_REQUEST_LIMIT: Final = 1024
_LINE_LIMIT: Final = 4096
_SHUTDOWN_SECONDS: Final = 3.0
_KEEP_ALIVE_SECONDS: Final = 30.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Health(Protocol):
    """Health of this process."""

    def problems(self) -> list[str]:
        """Problems, one sentence each; empty when the process need not be restarted. Must not block."""
        ...


class Exposition(Protocol):
    """Renders metrics."""

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The text and its content type for an Accept header; called in a thread."""
        ...


def create_app(*, health: Health, metrics: Exposition) -> web.Application:
    """The application: `/healthz`, `/readyz` and `/metrics`; requests with more than 1 KiB of body are refused."""
    app = web.Application(client_max_size=_REQUEST_LIMIT)
    app.on_response_prepare.append(hide_server)
    app.router.add_get("/healthz", _healthz(health))
    app.router.add_get("/readyz", _readyz)
    # Writing thousands of series would block the event loop for too long. The loop's default threads would do, but all
    # of them wait for DNS when it is down, and that is when metrics are needed most.
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")
    app.router.add_get("/metrics", _metrics(metrics, thread))

    async def end_thread(_app: web.Application) -> None:
        thread.shutdown(wait=False)

    app.on_cleanup.append(end_thread)
    return app


@asynccontextmanager
async def serve(app: web.Application, port: int) -> AsyncIterator[int]:
    """Serves on all addresses, IPv4 and IPv6, while the context is open; yields the port, because 0 chooses a free one.

    On exit, requests in progress get 3 s to end.

    Raises:
        OSError: the port is taken.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
        shutdown_timeout=_SHUTDOWN_SECONDS,
        # A client that has disconnected needs no answer.
        handler_cancellation=True,
        max_line_size=_LINE_LIMIT,
        max_field_size=_LINE_LIMIT,
    )
    await runner.setup()
    try:
        listener = _listen(port)
        await web.SockSite(runner, listener).start()
        yield listener.getsockname()[1]
    finally:
        await runner.cleanup()


def _listen(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("0.0.0.0", port))


async def hide_server(_request: web.Request, response: web.StreamResponse) -> None:
    """Removes the Server header, which would reveal the HTTP server."""
    response.headers.pop("Server", None)


def _healthz(health: Health) -> Handler:
    async def handle(_request: web.Request) -> web.Response:
        problems = health.problems()
        body = {"status": "failing", "problems": problems} if problems else {"status": "ok"}
        return web.json_response(body, status=503 if problems else 200)

    return handle


async def _readyz(_request: web.Request) -> web.Response:
    # A replica that does not lead is on standby, and as ready as the leader.
    return web.json_response({"status": "ok"})


def _metrics(metrics: Exposition, thread: ThreadPoolExecutor) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        loop = asyncio.get_running_loop()
        accept = request.headers.get("Accept", "")
        text, content_type = await loop.run_in_executor(thread, metrics.exposition, accept)
        return web.Response(body=text, headers={"Content-Type": content_type})

    return handle
