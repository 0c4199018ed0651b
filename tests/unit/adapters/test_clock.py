"""The clock follows the API server's time: at once when it is first told, slowly later; no step of the machine's."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest

from resilience.adapters.clock import SystemClock

TRUE = datetime(2026, 5, 4, 12, tzinfo=UTC)


class Machine:
    """A machine whose wall clock can be wrong."""

    def __init__(self, *, ahead: float = 0.0) -> None:
        self.ahead = ahead
        self.passed = 0.0

    def wall(self) -> float:
        return TRUE.timestamp() + self.passed + self.ahead

    def monotonic(self) -> float:
        return 1000 + self.passed

    def clock(self) -> SystemClock:
        return SystemClock(wall=self.wall, monotonic=self.monotonic)

    def error(self, clock: SystemClock) -> float:
        """Seconds that the clock is ahead of the API server's."""
        return (clock.now() - TRUE).total_seconds() - self.passed

    def tell(self, clock: SystemClock, *, off: float = 0.0) -> None:
        clock.told(format_datetime(TRUE + timedelta(seconds=int(self.passed + off)), usegmt=True))


@pytest.mark.parametrize("ahead", [0.0, 3600.0, -3600.0, 86_400.0])
def test_it_is_the_api_servers_time_whatever_the_machine_says(ahead: float) -> None:
    machine = Machine(ahead=ahead)
    clock = machine.clock()
    assert machine.error(clock) == pytest.approx(ahead)
    machine.tell(clock)
    assert abs(machine.error(clock)) <= 1


@pytest.mark.parametrize("step", [3600.0, -3600.0, 7.0])
def test_a_step_of_the_machines_clock_is_not_followed(step: float) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.tell(clock)
    before = clock.now()
    machine.ahead, machine.passed = step, 30.0
    machine.tell(clock)
    assert clock.now() - before == timedelta(seconds=30)


@pytest.mark.parametrize("off", [100.0, -100.0])
def test_another_time_of_the_api_server_is_followed_slowly(off: float) -> None:
    # given
    machine = Machine()
    clock = machine.clock()
    machine.tell(clock)
    # when: its clock is set, or another API server answers
    times = [clock.now()]
    for _ in range(1200):
        machine.passed += 1
        machine.tell(clock, off=off)
        times.append(clock.now())
    # then: no span is off by more than a tenth, and by and by it is the same time
    spans = [(after - before).total_seconds() for before, after in pairwise(times)]
    assert all(0.89 < span < 1.11 for span in spans)
    assert abs(machine.error(clock) - off) <= 2.5


def test_whole_seconds_and_slow_answers_do_not_move_it() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.tell(clock)
    for _ in range(100):
        machine.passed += 0.7
        machine.tell(clock, off=-1)
    assert machine.error(clock) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("text", ["", "yesterday", "Mon, 99 Foo 2026 99:99:99 GMT"])
def test_what_is_no_date_tells_nothing(text: str) -> None:
    machine = Machine(ahead=5.0)
    clock = machine.clock()
    clock.told(text)
    machine.tell(clock)
    assert abs(machine.error(clock)) <= 1
