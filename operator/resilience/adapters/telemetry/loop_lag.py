"""How far the event loop falls behind: a check that timed out while we were busy says nothing about its target.

It only measures; what a lag means is decided where it is asked for.
"""

import asyncio
from collections import deque
from datetime import timedelta
from typing import Final

_FLOOR_SECONDS: Final = 0.01
_KEPT: Final = 1024


class LoopLag:
    """Remembers when and how long the event loop was held up. Its task is `run()`.

    A hold-up is measured up to one `interval` too short.
    """

    def __init__(self, *, interval: timedelta = timedelta(milliseconds=25)) -> None:
        self._interval = interval.total_seconds()
        # (end of the hold-up in loop time, seconds)
        self._seen: deque[tuple[float, float]] = deque(maxlen=_KEPT)
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
                    self._seen.append((now, now - self._due))
        finally:
            self._due = None

    def worst(self, since: float) -> float:
        """The longest hold-up in seconds since a loop time, one that has just ended included; 0.0 when not running."""
        # Whoever asks may have been woken before our own task was.
        now = asyncio.get_running_loop().time()
        current = max(0.0, now - self._due) if self._due is not None else 0.0
        found = min(current, now - since)
        for end, seconds in reversed(self._seen):
            if end < since:
                break
            found = max(found, min(seconds, end - since))
        return found
