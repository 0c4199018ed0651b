"""What the operator serves over HTTP: health, readiness and metrics, on every replica, leading or not.

It reads what others measured and must not decide, write or reach the Kubernetes API.
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
    """Tells whether the process still does its work."""

    def problems(self) -> list[str]:
        """What is wrong, one sentence each; empty when the process need not be restarted. Must not block."""
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
    # Thousands of series take longer to write than the event loop may be held up. The loop's own threads would do,
    # but those all wait for the name service when it is down, and then metrics are wanted most.
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")
    app.router.add_get("/metrics", _metrics(metrics, thread))

    async def end_thread(_app: web.Application) -> None:
        thread.shutdown(wait=False)

    app.on_cleanup.append(end_thread)
    return app


@asynccontextmanager
async def serve(app: web.Application, port: int) -> AsyncIterator[int]:
    """Serves on all addresses, IPv4 and IPv6, while the context is open; gives the port, for 0 chooses one.

    On leaving, requests that are being answered get 3 s to end.

    Raises:
        OSError: the port is taken.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
        shutdown_timeout=_SHUTDOWN_SECONDS,
        # Whoever has gone waits for nothing any more.
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
    """Says nothing of what serves."""
    response.headers.pop("Server", None)


def _healthz(health: Health) -> Handler:
    async def handle(_request: web.Request) -> web.Response:
        problems = health.problems()
        body = {"status": "failing", "problems": problems} if problems else {"status": "ok"}
        return web.json_response(body, status=503 if problems else 200)

    return handle


async def _readyz(_request: web.Request) -> web.Response:
    # A replica that does not lead stands by, and is as ready as the leader.
    return web.json_response({"status": "ok"})


def _metrics(metrics: Exposition, thread: ThreadPoolExecutor) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        loop = asyncio.get_running_loop()
        accept = request.headers.get("Accept", "")
        text, content_type = await loop.run_in_executor(thread, metrics.exposition, accept)
        return web.Response(body=text, headers={"Content-Type": content_type})

    return handle
