"""Measures the lag of the event loop: a check that timed out while the operator lagged says nothing about its target.

This module only measures; its callers decide what a lag means.
"""

import asyncio
from collections import deque
from datetime import timedelta
from typing import Final

_FLOOR_SECONDS: Final = 0.01
_KEPT: Final = 1024


class LoopLag:
    """Records the times and lengths of the event loop's delays. Its task is `run()`.

    A delay is measured up to one `interval` too short.
    """

    def __init__(self, *, interval: timedelta = timedelta(milliseconds=25)) -> None:
        self._interval = interval.total_seconds()
        # (end of the delay in loop time, seconds)
        self._delays: deque[tuple[float, float]] = deque(maxlen=_KEPT)
        self._due: float | None = None

    async def run(self) -> None:
        """Measures until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._due = loop.time() + self._interval
                await asyncio.sleep(self._interval)
                now = loop.time()
                if now - self._due > _FLOOR_SECONDS:
                    self._delays.append((now, now - self._due))
        finally:
            self._due = None

    def worst(self, since: float) -> float:
        """The longest delay in seconds since a loop time, including one that has just ended; 0.0 when not running."""
        # The caller may have been woken before our own task.
        now = asyncio.get_running_loop().time()
        current = max(0.0, now - self._due) if self._due is not None else 0.0
        longest = min(current, now - since)
        for end, seconds in reversed(self._delays):
            if end < since:
                break
            longest = max(longest, min(seconds, end - since))
        return longest
