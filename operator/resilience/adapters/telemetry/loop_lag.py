"""Measures the lag of the event loop: a check that timed out while the operator lagged says nothing about its target.

A thread looks at what the loop does while it lags. This module only measures; its callers decide what a lag means.
"""

import asyncio
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from resilience.adapters.telemetry.culprit import Work, culprit

log = structlog.get_logger(__name__)

_FLOOR_SECONDS: Final = 0.01
_KEPT: Final = 1024
# A shorter delay is too short to be caught, and harms nobody.
_LOOKED_AT_SECONDS: Final = 0.1
_LOGGED_SECONDS: Final = 0.5
_MINUTE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Delay:
    """A delay of the loop. `end` is a loop time, which is that of `time.monotonic`."""

    end: float
    seconds: float
    work: Work


class LoopLag:
    """Records the times and lengths of the event loop's delays, and what it did meanwhile. Its task is `run()`.

    A delay is measured up to one `interval` too short.
    """

    def __init__(self, *, interval: timedelta = timedelta(milliseconds=25)) -> None:
        self._interval = interval.total_seconds()
        self._delays: deque[_Delay] = deque(maxlen=_KEPT)
        self._due: float | None = None
        # The delay that the thread has looked at, by the time at which it began; its kind of work, and the place of it.
        self._seen: tuple[float | None, Work, str] = (None, Work.OTHER, "")

    async def run(self) -> None:
        """Measures until cancelled."""
        loop, ended = asyncio.get_running_loop(), threading.Event()
        arguments = (threading.get_ident(), ended)
        threading.Thread(target=self._watch, args=arguments, name="loop lag", daemon=True).start()
        try:
            while True:
                self._due = loop.time() + self._interval
                await asyncio.sleep(self._interval)
                now = loop.time()
                if now - self._due > _FLOOR_SECONDS:
                    self._note(now, now - self._due)
        finally:
            self._due = None
            ended.set()

    def worst(self, since: float) -> float:
        """The longest delay in seconds since a loop time, including one that has just ended; 0.0 when not running."""
        # The caller may have been woken before our own task.
        now = asyncio.get_running_loop().time()
        current = max(0.0, now - self._due) if self._due is not None else 0.0
        longest = min(current, now - since)
        for delay in reversed(self._delays):
            if delay.end < since:
                break
            longest = max(longest, min(delay.seconds, delay.end - since))
        return longest

    def of_last_minute(self, work: Work) -> float:
        """The longest delay in seconds during this kind of work; 0.0 when not running. Any thread may ask."""
        if self._due is None:
            return 0.0
        since = time.monotonic() - _MINUTE_SECONDS
        delays = tuple(self._delays)
        return max((delay.seconds for delay in delays if delay.work is work and delay.end >= since), default=0.0)

    def _note(self, now: float, seconds: float) -> None:
        began, work, place = self._seen
        if began != self._due:
            work, place = Work.OTHER, ""
        self._delays.append(_Delay(now, seconds, work))
        if seconds >= _LOGGED_SECONDS:
            log.warning("the event loop stood still", seconds=round(seconds, 2), work=work, at=place)

    def _watch(self, thread: int, ended: threading.Event) -> None:
        """Runs in a thread. Native code that holds the interpreter's lock is seen in its caller, as it returns."""
        while not ended.wait(_LOOKED_AT_SECONDS / 2):
            due = self._due
            if due is not None and due != self._seen[0] and time.monotonic() - due > _LOOKED_AT_SECONDS:
                self._seen = (due, *culprit(thread))
