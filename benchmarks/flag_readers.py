"""What many readers of flags cost one replica: memory, CPU, and how soon all of them know.

    python -m benchmarks.flag_readers

The server is the real application in a process of its own; nothing but token reviews is left out.
"""

import asyncio
import contextlib
import json
import statistics
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp

from benchmarks.process_figures import cpu, resident
from resilience.core.model.flags import Publication, PublishedFlag
from resilience.runtime.flag_cache import FlagCache
from resilience.web import flags as web_flags
from resilience.web.app import serve

READERS = 500
ROUNDS = 10
QUIET_SECONDS = 10.0
HEADERS = {"Authorization": "Bearer x"}


class Anybody:
    """Every token is one of the namespace."""

    async def account(self, token: str) -> str:
        """Whose it is."""
        return "system:serviceaccount:bench:default"


def publication(version: int) -> Publication:
    """One flag, which turns with each version."""
    flag = PublishedFlag("redis-degraded", version % 2 == 0, "memory", "Refused", datetime.now(UTC))
    return Publication("bench", "shop", version, datetime.now(UTC), (flag,))


async def server() -> None:
    """Serves; each line on stdin is a new version, answered with the time at which it was put."""
    board = FlagCache(now=lambda: datetime.now(UTC))
    board.put(publication(1))
    board.confirm()
    app = web_flags.create_app(board=board, tokens=Anybody(), limits=web_flags.Limits(requests=2 * READERS))
    async with serve(app, 0) as port:
        print(port, flush=True)  # noqa: T201 - for the readers' process
        version = 1
        while await asyncio.to_thread(sys.stdin.readline):
            version += 1
            board.confirm()
            print(time.monotonic(), flush=True)  # noqa: T201 - for the readers' process
            board.put(publication(version))


@dataclass
class Readers:
    """When each reader knew of the newest version."""

    base: str
    session: aiohttp.ClientSession
    heard: list[float] = field(default_factory=list)
    tasks: "list[asyncio.Task[None]]" = field(default_factory=list)

    async def stream(self) -> None:
        """Hears of changes."""
        async with self.session.get(f"{self.base}/events", headers=HEADERS) as response:
            async for line in response.content:
                if line.startswith(b"id:"):
                    self.heard.append(time.monotonic())

    async def poll(self) -> None:
        """Asks once a second with the version that it has."""
        tag = ""
        while True:
            headers = HEADERS | ({"If-None-Match": tag} if tag else {})
            url = f"{self.base}/ofrep/v1/evaluate/flags"
            async with self.session.post(url, json={"context": {}}, headers=headers) as response:
                await response.read()
                if response.status == 200:
                    tag = response.headers["ETag"]
                    self.heard.append(time.monotonic())
            await asyncio.sleep(1)


async def measure(how: str) -> dict[str, object]:
    """One kind of reader against a fresh server."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.flag_readers",
        "serve",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None and child.stdout is not None
    port = int(await child.stdout.readline())
    alone = resident(child.pid) / 2**20
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
        readers = Readers(f"http://127.0.0.1:{port}/flags/bench/shop", session)
        work = readers.stream if how == "stream" else readers.poll
        readers.tasks = [asyncio.create_task(work()) for _ in range(READERS)]
        await _all_heard(readers)
        before, began = cpu(child.pid), time.monotonic()
        await asyncio.sleep(QUIET_SECONDS)
        quiet = (cpu(child.pid) - before) / (time.monotonic() - began)
        late: list[float] = []
        for _ in range(ROUNDS):
            readers.heard.clear()
            child.stdin.write(b"next\n")
            put = float(await child.stdout.readline())
            await _all_heard(readers)
            late.extend(each - put for each in readers.heard)
        loaded = resident(child.pid) / 2**20
        for task in readers.tasks:
            task.cancel()
        await asyncio.gather(*readers.tasks, return_exceptions=True)
    child.stdin.close()
    child.kill()
    await child.wait()
    cuts = statistics.quantiles(late, n=100)
    return {
        "readers": f"{READERS} by {how}",
        "memory_mib": round(loaded, 1),
        "per_reader_kib": round((loaded - alone) * 1024 / READERS, 1),
        "cpu_percent_of_a_core_while_quiet": round(100 * quiet, 1),
        "told_after_ms_p50": round(1000 * cuts[49]),
        "told_after_ms_p99": round(1000 * cuts[98]),
    }


async def _all_heard(readers: Readers) -> None:
    async with asyncio.timeout(60):
        while len(readers.heard) < READERS:  # noqa: ASYNC110 - it counts, nobody tells
            await asyncio.sleep(0.01)


async def main() -> None:
    """Prints a line of JSON for each kind of reader."""
    for how in ("stream", "poll"):
        print(json.dumps(await measure(how)))  # noqa: T201 - the command's output


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server() if sys.argv[1:] == ["serve"] else main())
