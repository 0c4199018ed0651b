"""Traffic from an independent tool: runs vegeta and reads its report.

It is the second witness besides the own client (load.py). Go's HTTP client sends a request again when a kept connection
turns out to be closed before anything was written, so with `keepalive` it may hide failures that the own client shows.
"""

import base64
import json
import math
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

MAX_ERRORS_KEPT: Final = 20
TIMEOUT: Final = timedelta(seconds=10)
BODY: Final = b'{"order": "vegeta"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Results of vegeta. Code 0 in `statuses` is a request without an answer; `errors` are the distinct texts."""

    sent: int
    failed: int
    statuses: dict[int, int]
    p50_ms: float
    p99_ms: float
    errors: tuple[str, ...]


class Vegeta:
    """POSTs at a fixed rate from `start()` until `stop()`, or for `duration` if `wait()` is called instead."""

    def __init__(
        self,
        *,
        binary: Path,
        url: str,
        rate: int,
        keepalive: bool = False,
        duration: timedelta = timedelta(0),
        host: str = "",
    ) -> None:
        """`rate` in requests per second; no `duration` means until stopped; `host` is the Host header."""
        self._command = [
            str(binary),
            "attack",
            "-format=json",
            f"-rate={rate}/s",
            f"-duration={math.ceil(duration.total_seconds() * 1000)}ms",
            f"-keepalive={str(keepalive).lower()}",
            f"-timeout={TIMEOUT.total_seconds():g}s",
            "-redirects=-1",
        ]
        self._binary = binary
        header = {"Content-Type": ["application/json"]} | ({"Host": [host]} if host else {})
        body = base64.b64encode(BODY).decode()
        self._target = json.dumps({"method": "POST", "url": url, "header": header, "body": body}).encode() + b"\n"
        self._duration = duration
        self._directory = tempfile.TemporaryDirectory(prefix="vegeta-")
        self._results = Path(self._directory.name) / "results"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._directory.cleanup()

    def start(self) -> None:
        """Starts the attack; returns at once."""
        self._process = subprocess.Popen([*self._command, f"-output={self._results}"], stdin=subprocess.PIPE)
        if self._process.stdin is not None:
            self._process.stdin.write(self._target)
            self._process.stdin.close()

    def stop(self) -> Report:
        """Ends the attack, waits for the requests in flight, and reports."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> Report:
        """Waits until the attack is over and reports. Raises CalledProcessError or TimeoutExpired."""
        if self._process is None:
            raise RuntimeError("not started")
        code = self._process.wait(timeout=(self._duration + 2 * TIMEOUT).total_seconds())
        if code != 0:
            raise subprocess.CalledProcessError(code, self._command)
        command = [str(self._binary), "report", "-type=json", str(self._results)]
        answer = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
        statuses = {int(code): int(count) for code, count in answer["status_codes"].items()}
        return Report(
            sent=answer["requests"],
            failed=sum(count for code, count in statuses.items() if not 200 <= code < 300),
            statuses=statuses,
            p50_ms=answer["latencies"]["50th"] / 1e6,
            p99_ms=answer["latencies"]["99th"] / 1e6,
            errors=tuple(answer["errors"] or ())[:MAX_ERRORS_KEPT],
        )


def attack(*, binary: Path, url: str, rate: int, duration: timedelta, keepalive: bool = False) -> Report:
    """POSTs at a fixed rate for a while and reports."""
    with Vegeta(binary=binary, url=url, rate=rate, keepalive=keepalive, duration=duration) as vegeta:
        return vegeta.wait()
