"""The clock: the API server's time, measured by this machine's monotonic clock.

Times are stored in objects and read by the next leader, so all replicas need the same clock. That of a machine may be
wrong, and may be set while a pod leaves its Services: the wait would end at once, or last for as long as the step.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

# In seconds: an answer's date has whole seconds, and the answer takes a moment.
_TOLERANCE: Final = 2.0
# A difference is made up for by a tenth of the time that passes: no span of a minute is off by more than six seconds.
_PACE: Final = 0.1


class SystemClock:
    """Implements ports.Clock. Until the first answer of the API server it is this machine's time."""

    def __init__(
        self, *, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._now, self._read_at = wall(), monotonic()
        self._behind = 0.0
        self._was_told = False

    def now(self) -> datetime:
        """The current time, aware, UTC. It never goes backwards after the first answer."""
        at = self._monotonic()
        passed, self._read_at = at - self._read_at, at
        made_up = min(max(self._behind, -passed * _PACE), passed * _PACE)
        self._behind -= made_up
        self._now += passed + made_up
        return datetime.fromtimestamp(self._now, UTC)

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        return self._monotonic()

    def told(self, date: str) -> None:
        """Takes note of the date of an answer of the API server (RFC 9110, 5.6.7); any other text tells nothing."""
        with suppress(ValueError):
            # On average half of a second was cut off.
            behind = parsedate_to_datetime(date).timestamp() + 0.5 - self.now().timestamp()
            behind = behind if abs(behind) > _TOLERANCE else 0.0
            if self._was_told:
                self._behind = behind
            else:
                # Nothing was decided by this clock yet.
                self._now += behind
            self._was_told = True
