"""Who waits, who has a turn and who runs, over passes, ends and a change of leaders."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilience.api.status import Status
from resilience.api.status_restarts import RestartStatus
from resilience.core.model.observation import Key, Resource, Ticket, Turn
from resilience.core.restarts.fair_queue import Caps
from resilience.runtime.fair_queue import FairQueue
from tests.support.factories import NOW, make_resource

SECOND = timedelta(seconds=1)
A, B, C = (Key("shop", name) for name in "abc")


@dataclass(slots=True)
class Ticking:
    """A clock that is set."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@dataclass(slots=True)
class Bench:
    """Storm control, and what it is told of services that only want turns."""

    caps: Caps = Caps(1, 1)  # noqa: RUF009
    clock: Ticking = field(default_factory=Ticking)
    woken: list[Key] = field(default_factory=list)
    control: FairQueue = field(init=False)

    def __post_init__(self) -> None:
        self.control = FairQueue(caps=self.caps, clock=self.clock, on_turn=self.woken.append)

    def wants(self, key: Key, priority: int = 100) -> None:
        self.control.ask(key, Ticket(key, priority, self.clock.now()), running=False)

    def begins(self, key: Key) -> None:
        self.control.ask(key, None, running=True)

    def ends(self, key: Key) -> None:
        self.control.ask(key, None, running=False)


def opened(caps: Caps = Caps(1, 1)) -> Bench:  # noqa: B008
    bench = Bench(caps)
    bench.control.open()
    return bench


def resource(key: Key, *, running: bool, request: str = "") -> Resource:
    restart = RestartStatus(request=request, trace_id="t", started_at=NOW, born_before=NOW, total=1)
    return make_resource(key=key, status=Status(restart=restart if running else None))


def test_who_asks_gets_its_turn_and_is_woken_once() -> None:
    bench = opened()

    assert bench.control.turn(A) is None
    bench.wants(A)
    assert bench.control.turn(A) == Turn(granted=True)
    bench.wants(A)
    bench.begins(A)
    assert bench.control.turn(A) == Turn(granted=True)
    assert bench.woken == [A]


def test_a_turn_that_cannot_be_begun_goes_to_the_next_one() -> None:
    bench = opened()
    bench.wants(A)
    bench.wants(B)
    bench.clock.seconds = 50
    bench.wants(B)
    assert bench.control.turn(A) == Turn(granted=True)

    bench.clock.seconds = 61
    bench.wants(B)

    assert bench.control.turn(B) == Turn(granted=True)
    assert bench.control.turn(A) is None
    # When it can be, it asks again.
    bench.wants(A)
    assert bench.control.turn(A) is not None
    # One that was begun keeps its turn however long it takes.
    bench.begins(B)
    bench.clock.seconds = 1000
    bench.wants(A)
    assert bench.control.turn(B) == Turn(granted=True)


def test_nothing_is_granted_before_every_resource_has_been_seen() -> None:
    bench = Bench()
    bench.wants(A)
    assert (bench.control.turn(A), bench.woken) == (None, [])

    bench.control.open()

    assert (bench.control.turn(A), bench.woken) == (Turn(granted=True), [A])


@pytest.mark.parametrize(
    ("running", "request_", "granted"), [(True, "", False), (True, "by hand", True), (False, "", True)]
)
def test_what_an_earlier_leader_began_counts(running: bool, request_: str, granted: bool) -> None:
    bench = Bench()
    bench.control.seen(resource(B, running=running, request=request_))
    bench.control.seen(resource(A, running=False))
    bench.control.open()

    bench.wants(A)

    assert (bench.woken == [A]) is granted
    bench.ends(B)
    assert bench.woken == [A]


def test_the_next_one_is_woken_when_one_ends() -> None:
    bench = opened()
    bench.wants(A)
    bench.begins(A)
    bench.wants(B)
    bench.clock.seconds = 1
    bench.wants(C)
    waiting = bench.control.turn(B), bench.control.turn(C)
    assert [turn and (turn.granted, turn.ahead) for turn in waiting] == [(False, 0), (False, 1)]

    bench.ends(A)

    assert bench.woken == [A, B] and bench.control.turn(A) is None


@pytest.mark.parametrize("leave", ["ends", "forget"])
def test_who_does_not_want_it_any_more_lets_the_next_one_go(leave: str) -> None:
    bench = opened()
    bench.wants(A)
    bench.wants(B)
    bench.wants(C)

    for key in (B, A):
        bench.control.forget(key) if leave == "forget" else bench.ends(key)

    assert bench.woken == [A, C]


def test_asking_again_keeps_the_place_and_takes_the_new_priority() -> None:
    bench = opened()
    bench.wants(A)
    for key in (B, C, B):
        bench.clock.seconds += 1
        bench.wants(key)
    bench.ends(A)
    assert bench.woken == [A, B]

    bench.wants(A, priority=50)
    bench.wants(C, priority=1)
    bench.ends(B)

    assert bench.woken == [A, B, C]


def test_who_had_a_turn_lets_the_others_go_before_however_important_it_is() -> None:
    bench = opened()
    bench.wants(A, 1)
    bench.wants(B, 100)
    order = []
    for _ in range(6):
        key = bench.woken[-1]
        order.append(key)
        bench.begins(key)
        bench.wants(C, 50)
        bench.ends(key)
        bench.wants(key, 1 if key == A else 100)

    assert order[:3] == [A, C, B]
    assert {order.count(each) for each in (A, B, C)} == {2}


def test_the_expected_time_follows_how_long_restarts_take() -> None:
    bench = opened()
    for number in range(30):
        key = Key("shop", str(number))
        bench.wants(key)
        bench.begins(key)
        bench.clock.seconds += 10
        bench.ends(key)
    bench.wants(A)
    bench.wants(B)

    turn = bench.control.turn(B)

    assert turn is not None and turn.expected is not None
    assert timedelta(seconds=9.9) < turn.expected < timedelta(seconds=10.1)


def test_a_turn_that_nobody_used_says_nothing_about_how_long_one_takes() -> None:
    bench = opened()
    for _ in range(30):
        bench.wants(A)
        bench.ends(A)
    bench.wants(A)
    bench.wants(B)

    turn = bench.control.turn(B)

    assert turn is not None and turn.expected == timedelta(minutes=1)


THOROUGH = settings(max_examples=2000 if os.environ.get("PROOF") else 60, deadline=None, database=None)
# Random orders: services that want to restart again and again, with any priority.

KEYS = [Key(namespace, name) for namespace in "xy" for name in "abcd"]
STEPS = st.lists(
    st.tuples(st.sampled_from(["wants", "begins", "ends", "forget", "seen"]), st.sampled_from(KEYS)), max_size=80
)


@THOROUGH
@given(
    steps=STEPS,
    caps=st.builds(Caps, st.integers(1, 4), st.integers(1, 3)),
    priorities=st.lists(st.integers(0, 2), min_size=8, max_size=8),
)
def test_never_more_than_the_caps_and_everybody_gets_a_turn(
    steps: Sequence[tuple[str, Key]], caps: Caps, priorities: list[int]
) -> None:
    bench, number = opened(caps), dict(zip(KEYS, priorities, strict=True))

    def turns() -> set[Key]:
        return {key for key in KEYS if (turn := bench.control.turn(key)) is not None and turn.granted}

    for step, key in steps:
        before = turns()
        bench.clock.seconds += 1
        match step:
            case "wants":
                bench.wants(key, number[key])
            case "begins" if key in before:
                bench.begins(key)
            case "ends" | "forget" if key in before:
                bench.ends(key)
            case "seen" if key in before:
                bench.control.seen(resource(key, running=True))
        assert len(turns()) <= caps.cluster
        assert all(sum(each.namespace == name for each in turns()) <= caps.namespace for name in "xy")
    # Everybody wants, for ever; whoever has a turn uses it.
    had = dict.fromkeys(KEYS, 0)
    for _ in range(4 * len(KEYS)):
        for key in KEYS:
            bench.wants(key, number[key])
        for key in turns():
            had[key] += 1
            bench.begins(key)
            bench.clock.seconds += 1
            bench.ends(key)
    assert min(had.values()) >= 2, had
