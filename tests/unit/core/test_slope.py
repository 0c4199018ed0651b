"""When growing memory reaches its limit."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.core.health import memory_growth

LIMIT = 1000.0


def line(count: int, *, every: float = 15, start: float = 100, per_second: float = 1) -> list[memory_growth.Sample]:
    return [(number * every, start + per_second * number * every) for number in range(count)]


def wave(count: int, value: Callable[[int], float]) -> list[memory_growth.Sample]:
    return [(number * 15.0, value(number)) for number in range(count)]


@pytest.mark.parametrize(
    ("samples", "seconds"),
    [
        (line(9, per_second=2), 330),
        # No further than ten times as long as it was watched.
        (line(9, per_second=0.7), 1165.714),
        (line(9, per_second=0.65), None),
        (line(120, every=60, per_second=0.1), 1860),
        # Too few, or in too short a time.
        ([], None),
        (line(4, every=60), None),
        (line(9, every=14), None),
        # It does not grow, or not steadily.
        (line(9, per_second=0), None),
        (line(9, per_second=-1, start=900), None),
        (wave(20, lambda number: 500 + 100 * (number % 2)), None),
        (wave(20, lambda number: 300 + 10 * number + 150 * (number % 3)), None),
        ([(0.0, float(number)) for number in range(9)], None),
        # It is there already.
        (line(9, start=2000), 0),
        # So slow that nobody knows.
        (line(9, every=3600, per_second=1e-9), None),
    ],
)
def test_the_time_that_is_left(samples: list[memory_growth.Sample], seconds: float | None) -> None:
    found = memory_growth.time_to(samples, LIMIT)

    assert (None if found is None else found.total_seconds()) == pytest.approx(seconds, abs=0.01)


def test_whoever_looks_further_has_to_watch_for_longer() -> None:
    watched = line(9, per_second=2)

    assert memory_growth.time_to(watched, LIMIT, watched=timedelta(minutes=2)) is not None
    assert memory_growth.time_to(watched, LIMIT, watched=timedelta(minutes=3)) is None


def test_noise_changes_little() -> None:
    noisy = wave(40, lambda number: 100 + 15 * number + (-1) ** number * 20)

    found = memory_growth.time_to(noisy, LIMIT)

    assert found is not None and 300 < found.total_seconds() < 360


@given(
    samples=st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 1e12)), max_size=30).map(sorted),
    limit=st.floats(0, 1e12),
)
def test_it_always_answers_with_a_time_that_can_be_told(samples: list[memory_growth.Sample], limit: float) -> None:
    found = memory_growth.time_to(samples, limit)

    assert found is None or timedelta() <= found
