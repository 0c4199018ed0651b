"""A flag turns on when its dependency is lost, stays on for its hold, and goes off when it has proved itself."""

import os
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilience.api.dependency_checks import RedisVerify
from resilience.api.names import override_annotation
from resilience.api.reasons import FlagState, HealthState, Reason
from resilience.core.degradation import flags
from resilience.core.health.thresholds import Outcome
from resilience.core.model.probes import RedisProbe
from resilience.core.report.diff import is_worth_writing
from tests.support.flagging import FLAG, Flagged, flag_spec

PASS, WARN, FAIL, UNKNOWN = Outcome.PASS, Outcome.WARN, Outcome.FAIL, Outcome.INCONCLUSIVE
OVERRIDE = override_annotation(FLAG["name"])
THOROUGH = settings(max_examples=2000 if os.environ.get("PROOF") else 100, deadline=None)


def lost() -> Flagged:
    """One that has just turned on."""
    service = Flagged()
    service.run(FAIL, seconds=3)
    return service


def test_the_life_of_a_flag() -> None:
    service = Flagged()
    assert (service.flag.state, service.flag.on) == (FlagState.NORMAL, False)
    service.run(FAIL, seconds=2)
    assert (service.flag.state, service.flag.on) == (FlagState.SUSPECT, False)
    service.second(FAIL)
    assert (service.flag.state, service.flag.on, service.flag.reason) == (FlagState.DEGRADED, True, "Refused")
    service.run(PASS, seconds=6)
    assert (service.flag.state, service.flag.on) == (FlagState.RECOVERING, True)
    service.run(PASS, seconds=24)
    assert (service.flag.state, service.flag.on, service.flag.reason) == (FlagState.NORMAL, False, "Recovered")
    assert [each.reason for each in service.events] == [Reason.FLAG_ON, Reason.FLAG_OFF]
    assert "fall back to memory" in service.events[0].message
    assert "after 30s" in service.events[1].message


def test_a_failure_that_passes_is_no_degradation() -> None:
    service = Flagged()
    for _ in range(20):
        service.run(FAIL, seconds=2)
        service.second(PASS)
    assert service.switches == []
    assert service.flag.state is FlagState.NORMAL


def test_what_is_not_known_changes_nothing() -> None:
    service = Flagged()
    service.run(UNKNOWN, seconds=100)
    assert service.switches == []
    service = lost()
    service.run(UNKNOWN, seconds=100)
    assert [on for _, on in service.switches] == [True]


def test_sentinel_need_not_wait_for_the_check() -> None:
    service = Flagged()
    service.strike()
    assert (service.flag.state, service.flag.on, service.flag.reason) == (FlagState.DEGRADED, True, "MasterDown")
    service.run(PASS, seconds=29)
    assert service.flag.on
    service.run(PASS, seconds=2)
    assert not service.flag.on


def test_a_new_leader_wants_the_whole_proof() -> None:
    service = lost()
    service.run(PASS, seconds=40)
    assert not service.flag.on
    service = lost()
    service.run(FAIL, seconds=60)
    service.restart()
    assert service.target.assumed is HealthState.UNHEALTHY
    service.run(PASS, seconds=4)
    assert service.flag.on
    service.second(PASS)
    assert not service.flag.on


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (3, 5, 30)),
        ({"preset": "CircuitBreaker"}, (5, 2, 60)),
        ({"preset": "CircuitBreaker", "successThreshold": 4}, (5, 4, 60)),
        ({"failureThreshold": 1, "minDegraded": "10s"}, (1, 5, 10)),
    ],
)
def test_thresholds(fields: dict[str, object], expected: tuple[int, int, int]) -> None:
    found = flags.thresholds(flag_spec(**fields).degradation.flags[0])
    assert (found.failures, found.successes, found.hold.total_seconds()) == expected


def test_a_redis_has_to_prove_that_it_is_a_master_and_takes_a_write() -> None:
    probe = Flagged().target.probe
    assert isinstance(probe, RedisProbe)
    assert probe.verify == {RedisVerify.ROLE, RedisVerify.WRITE}


def test_by_hand_until_a_time() -> None:
    service = Flagged()
    service.annotations[OVERRIDE] = f"On until {(service.now + timedelta(seconds=60)).isoformat()}"
    service.look()
    assert (service.flag.state, service.flag.on, service.flag.reason) == (FlagState.NORMAL, True, "Override")
    service.run(PASS, seconds=59)
    assert service.flag.on
    service.run(PASS, seconds=2)
    assert (service.flag.on, service.flag.reason, service.flag.override) == (False, "OverrideEnded", None)


def test_off_by_hand_ends_with_its_time_though_the_dependency_is_lost() -> None:
    service = lost()
    service.annotations[OVERRIDE] = f"Off until {(service.now + timedelta(seconds=10)).isoformat()}"
    service.look()
    assert (service.flag.state, service.flag.on) == (FlagState.DEGRADED, False)
    service.run(FAIL, seconds=11)
    assert service.flag.on


@pytest.mark.parametrize(
    "text", ["On", "on until 2027-01-01T00:00:00Z", "On until tomorrow", "On until 2027-01-01T00:00"]
)
def test_an_override_that_cannot_be_read_says_how_to_write_it(text: str) -> None:
    service = Flagged(annotations={OVERRIDE: text})
    service.run(PASS, seconds=3)
    assert not service.flag.on
    assert 'write: "On until ' in service.flag.problem
    assert [each.reason for each in service.events] == [Reason.OVERRIDE_INVALID]
    service.run(FAIL, seconds=3)
    assert service.flag.on
    service.annotations.clear()
    service.look()
    assert service.flag.problem == ""


def test_a_redis_that_blinks_every_four_seconds_for_ten_minutes_is_one_degradation() -> None:
    service = Flagged()
    for _ in range(75):
        service.run(FAIL, seconds=4)
        service.run(PASS, seconds=4)
    assert [on for _, on in service.switches] == [True]
    service.run(PASS, seconds=31)
    assert [on for _, on in service.switches] == [True, False]


STEPS = st.one_of(
    st.tuples(st.sampled_from([PASS, WARN, FAIL, UNKNOWN]), st.integers(1, 12)), st.sampled_from(["restart", "strike"])
)


@THOROUGH
@given(
    steps=st.lists(STEPS, max_size=60),
    failures=st.integers(1, 6),
    successes=st.integers(1, 6),
    hold=st.integers(1, 60),
)
def test_never_faster_than_the_hold_and_never_for_ever(
    steps: list[tuple[Outcome, int] | str], failures: int, successes: int, hold: int
) -> None:
    spec = flag_spec(failureThreshold=failures, successThreshold=successes, minDegraded=f"{hold}s")
    service, row = Flagged(spec), 0
    for step in steps:
        if step == "restart":
            service.restart()
            row = 0
        elif step == "strike":
            service.strike()
        elif not isinstance(step, str):
            outcome, seconds = step
            for _ in range(seconds):
                service.second(outcome)
                row = row + 1 if outcome is FAIL else row if outcome is UNKNOWN else 0
                # as soon as it has failed often enough, everybody knows
                assert service.flag.on or row < failures
                # a look that is repeated finds nothing new
                before, switches = service.status, len(service.switches)
                service.look()
                assert not is_worth_writing(before, service.status)
                assert len(service.switches) == switches
    for (began, on), (ended, _) in pairwise(service.switches):
        assert not on or ended - began >= timedelta(seconds=hold)
    service.run(PASS, seconds=hold + successes + 1)
    assert not service.flag.on
    assert service.flag.state is FlagState.NORMAL
    service.run(FAIL, seconds=failures)
    assert service.flag.on
