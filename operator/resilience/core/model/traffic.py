"""The requests by which the operator measures a service."""

from dataclasses import dataclass
from datetime import timedelta

from resilience.api.status_base import Requests


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests sent through the Service so far, by this process."""

    sent: int
    failed: int
    p99_seconds: float | None
    # Consecutive failures until now, and the last one in words.
    failed_in_row: int = 0
    failure: str = ""

    def in_status(self) -> Requests:
        """These requests as status has them."""
        p99 = None if self.p99_seconds is None else timedelta(seconds=self.p99_seconds)
        return Requests(sent=self.sent, failed=self.failed, p99=p99)
