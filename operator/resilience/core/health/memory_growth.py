"""Forecast of the time at which memory reaches its limit: a least-squares line through the last measurements."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

# Fewer measurements, or a shorter time, permit no statement about growth.
FEWEST: Final = 5
SHORTEST: Final = timedelta(minutes=2)
# Largest forecast, as a multiple of the time measured: memory that an application takes while it warms up is no leak.
FARTHEST: Final = 10
# Share of the variance that the line has to explain: memory that goes up and down does not grow.
STEADY: Final = 0.7

# Seconds of any clock, and bytes.
Sample = tuple[float, float]


def time_to(samples: Sequence[Sample], limit: float, *, watched: timedelta = SHORTEST) -> timedelta | None:
    """Time from the last sample until the line reaches the limit; None without steady growth over at least `watched`.

    >>> time_to([(0, 10), (40, 20), (80, 30), (120, 40), (160, 50)], 100)
    datetime.timedelta(seconds=200)
    """
    if len(samples) < FEWEST or samples[-1][0] - samples[0][0] < watched.total_seconds():
        return None
    count = len(samples)
    middle_x, middle_y = sum(x for x, _ in samples) / count, sum(y for _, y in samples) / count
    xx = sum((x - middle_x) ** 2 for x, _ in samples)
    yy = sum((y - middle_y) ** 2 for _, y in samples)
    xy = sum((x - middle_x) * (y - middle_y) for x, y in samples)
    if xx == 0 or yy == 0 or xy <= 0 or xy * xy / (xx * yy) < STEADY:
        return None
    now = middle_y + xy / xx * (samples[-1][0] - middle_x)
    left = max((limit - now) / (xy / xx), 0.0)
    return timedelta(seconds=left) if left <= FARTHEST * (samples[-1][0] - samples[0][0]) else None
