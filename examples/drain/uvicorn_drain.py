"""FastAPI with uvicorn: the drain signal, see docs/concepts/drain.md. Not tested here: try it before you trust it.

uvicorn closes idle connections after 5 s, so `timeout_keep_alive` is raised. Run one worker process per pod: each has
its own state.
"""

import asyncio
from contextlib import nullcontext

import uvicorn
from fastapi import FastAPI

app, admin = FastAPI(), FastAPI()


class Drain:
    """While draining, every answer says `Connection: close`; uvicorn then closes after it."""

    def __init__(self, app):
        self.app, self.draining = app, False

    async def __call__(self, scope, receive, send):
        async def announce(message):
            if self.draining and message["type"] == "http.response.start":
                kept = [pair for pair in message.get("headers", []) if pair[0].lower() != b"connection"]
                message = {**message, "headers": [*kept, (b"connection", b"close")]}
            await send(message)

        await self.app(scope, receive, announce if scope["type"] == "http" else send)


class AdminServer(uvicorn.Server):
    """The port that clients do not reach."""

    def capture_signals(self):  # only the clients' server listens to SIGTERM
        return nullcontext()


drain = Drain(app)
clients = uvicorn.Server(uvicorn.Config(drain, host="0.0.0.0", port=8080, timeout_keep_alive=3600))
control = AdminServer(uvicorn.Config(admin, host="0.0.0.0", port=8081))


@admin.post("/drain")
async def start_draining():
    """The signal."""
    drain.draining = True


@admin.delete("/drain")
async def stop_draining():
    """Takes it back."""
    drain.draining = False


@admin.get("/api/connections")
async def connections():
    """Open client connections, idle or busy."""
    return {"active": len(clients.server_state.connections), "draining": drain.draining}


async def main():
    """Both servers, until the clients' one ends."""
    serving = asyncio.create_task(control.serve())
    await clients.serve()
    control.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(main())
