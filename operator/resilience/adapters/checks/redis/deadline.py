"""The end of the time that an operation has."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from resilience.adapters.net.failures import NetworkFailure
from resilience.api.scalars import format_duration


@dataclass(frozen=True, slots=True)
class Deadline:
    """The loop time at which an operation has to be over, and the whole time that it had."""

    at: float
    whole: timedelta

    @classmethod
    def after(cls, timeout: timedelta) -> "Deadline":
        """The deadline that is `timeout` from now."""
        return cls(asyncio.get_running_loop().time() + timeout.total_seconds(), timeout)

    def left(self) -> timedelta:
        """The time that is left; never negative."""
        return timedelta(seconds=max(self.at - asyncio.get_running_loop().time(), 0))

    def share(self, count: int) -> "Deadline":
        """The deadline of the first of `count` equal parts of the time that is left."""
        return Deadline.after(self.left() / count)

    def over(self, *, own: bool = False) -> NetworkFailure:
        """The failure for a deadline that has passed."""
        return NetworkFailure(f"no answer within {format_duration(self.whole)}", reason="Timeout", own=own)
