"""How long ago the API server was away, and so how long nodes may still act on what they knew before.

kube-proxy and the endpoint controllers find back to an API server by exponential back-off (client-go's reflector: up to
30 s, doubled by jitter), and then have to list and to write rules. Until then a change of endpoints reaches no node,
however long `propagationDelay` is.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

LONGEST: Final = 90.0
# The next try of a back-off that doubles comes at most so many times later than the outage was long.
FACTOR: Final = 3.0


class ApiCalm:
    """Implements ports.Calm. `monotonic` gives seconds."""

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._last_answer: float | None = None
        self._troubled = False
        self._calm_at = monotonic()

    def answered(self, ok: bool) -> None:
        """A request to the API server ended; `ok` means that it answered and is not overloaded or broken."""
        now = self._monotonic()
        if not ok:
            self._troubled = True
            return
        if self._troubled and self._last_answer is not None:
            self.was_away(now - self._last_answer)
        self._troubled = False
        self._last_answer = now

    def was_away(self, seconds: float) -> None:
        """The API server may have been away for so long until now."""
        self._calm_at = max(self._calm_at, self._monotonic() + min(seconds * FACTOR, LONGEST))

    def left(self) -> timedelta:
        """Time until every node has caught up; zero when it has."""
        return timedelta(seconds=max(self._calm_at - self._monotonic(), 0.0))
