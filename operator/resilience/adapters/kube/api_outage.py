"""Time after an outage of the API server during which nodes may still act on old state.

kube-proxy and the endpoint controllers reconnect to the API server with exponential back-off (client-go's reflector: up
to 30 s, doubled by jitter), and then have to list objects and to write rules. Until then a change of endpoints reaches
no node, however long `propagationDelay` is.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

LONGEST: Final = 90.0
# With a back-off that doubles, the next attempt follows after at most this multiple of the outage's length.
FACTOR: Final = 3.0


class KubeApiOutage:
    """Implements `ports.ApiOutage`. `monotonic` returns seconds."""

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._last_answer: float | None = None
        self._is_failing = False
        self._calm_at = monotonic()

    def answered(self, ok: bool) -> None:
        """Record a request that ended; `ok` means that the API server answered and is not overloaded or broken."""
        now = self._monotonic()
        if not ok:
            self._is_failing = True
            return
        if self._is_failing and self._last_answer is not None:
            self.was_away(now - self._last_answer)
        self._is_failing = False
        self._last_answer = now

    def was_away(self, seconds: float) -> None:
        """Record that the API server may have been unavailable for `seconds` until now."""
        self._calm_at = max(self._calm_at, self._monotonic() + min(seconds * FACTOR, LONGEST))

    def left(self) -> timedelta:
        """Time until every node has caught up; zero when it has."""
        return timedelta(seconds=max(self._calm_at - self._monotonic(), 0.0))
