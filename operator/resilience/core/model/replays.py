"""Results of replaying dead letters."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Replayed:
    """Result of replaying dead letters since `started`. `more`: some that may go back are left."""

    started: datetime
    count: int
    left: int = 0
    more: bool = True
    # Cause of the last try's failure; empty when it succeeded.
    trouble: str = ""
    # A batch may have been put back without being counted, because the answer, or the operator that waited, was lost.
    uncounted: bool = False
