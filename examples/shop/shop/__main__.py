"""Runs the shop and ends it: `python -m shop`.

SIGTERM means: take no new connection, let the kept ones go with their next answer, finish what is in flight, exit.
"""

import asyncio
import json
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from aiohttp import web

from .app import build
from .cache import Cache
from .drain import Drain
from .settings import Settings
from .store import Store

# 5 s for kept connections to hear `Connection: close`, then twice 10 s at most for requests in flight (aiohttp waits
# for the handlers, then for their cancellation): 25 s, below the 30 s that Kubernetes grants by default.
LEAVE_SECONDS: Final = 5.0
FINISH_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.05
CRASH_SECONDS: Final = 0.2
# Two fifths of a core.
SPIN_SECONDS: Final = 0.02
REST_SECONDS: Final = 0.03


async def serve(*, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if settings.exit_on_sigterm:
        # Not through the event loop: that would let a request that is just being answered get away.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if settings.crash:
        await _crash()
    leak = asyncio.create_task(_leak(mb_per_minute=settings.leak_mb_per_minute))
    if settings.spin_file is not None:
        # Beside the loop: a shop that spins still answers.
        threading.Thread(target=_spin, args=(settings.spin_file,), daemon=True).start()
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), timeout=settings.start_delay.total_seconds())
        return

    store = Store(url=settings.redis_url, sentinels=settings.redis_sentinels, master=settings.redis_master)
    cache = Cache(settings=settings, store=store)
    following = asyncio.create_task(cache.follow())
    runner = web.AppRunner(
        build(settings=settings, store=store), access_log=None, handle_signals=False, shutdown_timeout=FINISH_SECONDS
    )
    drain = Drain(runner=runner)
    admin = web.Application()
    admin.add_routes([*drain.routes(), *cache.routes()])
    admin_runner = web.AppRunner(admin, access_log=None, handle_signals=False, shutdown_timeout=1.0)

    site = await _listen(runner=runner, host=settings.host, port=settings.port)
    admin_site = await _listen(runner=admin_runner, host=settings.host, port=settings.admin_port)
    print(json.dumps({"listening": site.port, "admin": admin_site.port, "version": settings.version}), flush=True)

    await stop.wait()
    drain.draining = True
    await site.stop()
    await _quiet(drain=drain)
    await runner.cleanup()
    await admin_runner.cleanup()
    following.cancel()
    await store.close()
    leak.cancel()


async def _crash() -> NoReturn:
    # Not at once: the container is to be seen running first.
    await asyncio.sleep(CRASH_SECONDS)
    print("fatal: no database configured", flush=True)
    raise SystemExit(1)


async def _listen(*, runner: web.AppRunner, host: str | None, port: int) -> web.TCPSite:
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    return site


async def _quiet(*, drain: Drain) -> None:
    for _ in range(round(LEAVE_SECONDS / POLL_SECONDS)):
        if not drain.active:
            return
        await asyncio.sleep(POLL_SECONDS)


async def _leak(*, mb_per_minute: float) -> None:
    leaked = []
    while mb_per_minute > 0:
        # Written, not just reserved: only pages that were touched count as used.
        leaked.append(b"x" * round(mb_per_minute * 1024 * 1024 / 60))
        await asyncio.sleep(1)


def _spin(file: Path) -> None:
    while True:
        busy_until = time.monotonic() + (SPIN_SECONDS if file.exists() else 0)
        while time.monotonic() < busy_until:
            pass
        time.sleep(REST_SECONDS)


if __name__ == "__main__":
    asyncio.run(serve(settings=Settings.read()))
