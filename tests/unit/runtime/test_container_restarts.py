"""When containers restarted, by looks at counts that only grow."""

from datetime import datetime, timedelta

import pytest

from resilience.core.model.observation import Key
from resilience.runtime.container_restarts import ContainerRestarts
from tests.support.factories import KEY, LONG_AGO, NOW, make_pod

MINUTE = timedelta(minutes=1)


class Bench:
    """A log whose looks are a minute apart."""

    def __init__(self) -> None:
        self.now = NOW
        self.log = ContainerRestarts(now=lambda: self.now)

    def observe(self, *counts: int, key: Key = KEY, uid: str = "") -> list[tuple[datetime, ...]]:
        pods = [make_pod(f"p{number}", restarts=count) for number, count in enumerate(counts)]
        found = self.log.observe(key, pods)
        self.now += MINUTE
        return [found.get(pod.uid, ()) for pod in pods]


@pytest.mark.parametrize(
    ("counts", "times"),
    [
        ([0], []),
        ([0, 0, 1], [2]),
        ([0, 1, 1, 3], [1, 3, 3]),
        # A count that is smaller than before is another container that counts now.
        ([0, 3, 1, 2], [1, 1, 1, 3]),
    ],
)
def test_each_restart_is_at_the_look_that_saw_it(counts: list[int], times: list[int]) -> None:
    bench = Bench()

    found = [bench.observe(count) for count in counts][-1]

    assert found == [tuple(NOW + minute * MINUTE for minute in times)]


def test_what_was_before_the_first_look_was_at_the_pods_birth() -> None:
    bench = Bench()

    assert bench.observe(3) == [(LONG_AGO,) * 3]
    assert bench.observe(4) == [(LONG_AGO, LONG_AGO, LONG_AGO, NOW + MINUTE)]


def test_pods_and_resources_are_apart_and_forgotten_when_they_are_gone() -> None:
    bench, other = Bench(), Key("shop", "other")
    bench.observe(0, 0)
    bench.observe(0, key=other)

    assert bench.observe(0, 1) == [(), (NOW + 2 * MINUTE,)]
    assert bench.observe(0, key=other) == [()]
    bench.observe(0)
    # The second pod was gone: what it has now counts from its birth.
    assert bench.observe(0, 1) == [(), (LONG_AGO,)]
    bench.log.forget(KEY)
    assert bench.observe(2) == [(LONG_AGO, LONG_AGO)]


def test_a_pod_that_restarts_for_ever_is_remembered_in_bounds() -> None:
    bench = Bench()
    bench.observe(0)

    for number in range(1, 4):
        (found,) = bench.observe(number * 5000)

    assert len(found) == 1001 and set(found) == {NOW + 3 * MINUTE}
    assert len(Bench().observe(10**9)[0]) == 1001
