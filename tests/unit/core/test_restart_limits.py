"""What holds policies back: each limit with its word, its reason and the time when it ends."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from resilience.api.reasons import HealthState
from resilience.api.status import Status
from resilience.api.status_restarts import PastRestart, RestartsStatus
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.model.observation import Observation, Pod
from resilience.core.restarts import limits, policies
from resilience.core.restarts.limits import Blocker
from tests.support.factories import (
    LIVE_CHECK,
    NOW,
    make_check,
    make_context,
    make_pod,
    make_resource,
    make_seen,
    make_workload,
)
from tests.support.firing import DATABASE, GROWS, HUNG, LEAKS, SPINS, fires, past, policy_spec

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
A, B = make_pod("a"), make_pod("b")
NEVER = Status(observed_generation=1)
# NOW is a Sunday, 12:00 UTC.
NIGHTLY = {"schedule": "0 2 * * *", "duration": "1h"}
SOON = {"schedule": "30 12 * * *", "duration": "1h"}


def asked(
    *found: dict[str, Any],
    pods: tuple[Pod, ...] = (A, B),
    checks: Any = None,
    status: Status = NEVER,
    now: datetime = NOW,
    spec: ResilientServiceSpec | None = None,
    restart: Any = None,
    **seen: Any,
) -> tuple[list[tuple[str, str]], Blocker | None]:
    """Who may go, after every policy fired for pod a unless `checks` say something else."""
    spec = spec or policy_spec(*found, **restart or {})
    known = {name: state for each in found for name, state in fires(each, A).items()} if checks is None else checks
    observed: Observation = make_seen(*pods, checks=known, **seen)
    context = make_context(make_resource(spec), observed, status=status, now=now)
    fired = policies.firing(context)
    # As in every pass: what is futile is noted first.
    status, _ = limits.note_loops(context, fired)
    left, block = limits.allowed(context.with_status(status), fired)
    return [(each.policy.name, each.pod.name) for each in left], block


def reason(outcome: tuple[list[tuple[str, str]], Blocker | None]) -> tuple[str, datetime | None]:
    left, block = outcome
    assert bool(left) is (block is None)
    return ("", None) if block is None else (block.reason, block.until)


def test_nothing_forbids_a_restart_by_itself() -> None:
    assert asked(LEAKS, HUNG) == ([("leak", "a"), ("stuck", "a")], None)


@pytest.mark.parametrize(
    ("ago", "cool_down", "until"),
    [
        (9 * MINUTE, "10m", MINUTE),
        (10 * MINUTE, "10m", None),
        (0.5 * SECOND, None, 0.5 * SECOND),
        (SECOND, None, None),
        # Longer than anything else is remembered.
        (99 * HOUR, "100h", HOUR),
    ],
)
def test_the_cool_down_begins_with_the_last_restart(ago: Any, cool_down: Any, until: timedelta | None) -> None:
    restart = {"coolDown": cool_down} if cool_down else {}

    found = reason(asked(LEAKS, status=past(LEAKS, NOW - 200 * HOUR, NOW - ago), restart=restart))

    assert found == (("CoolDown", NOW + until) if until is not None else ("", None))


@pytest.mark.parametrize(
    ("minutes_ago", "budget", "until"),
    [
        ((50, 30), {"max": 2}, 10),
        ((50, 30), {"max": 3}, None),
        ((60, 30), {"max": 2}, None),
        ((90, 59, 30, 20), {"max": 2}, 30),
        ((50, 30), {"max": 1, "per": "2h"}, 90),
        # Longer than anything else is remembered.
        ((99 * 60,), {"max": 1, "per": "100h"}, 60),
    ],
)
def test_the_budget_is_spent_until_enough_is_long_ago(minutes_ago: Any, budget: Any, until: int | None) -> None:
    status = past(LEAKS, *(NOW - each * MINUTE for each in minutes_ago))

    found = reason(asked(LEAKS, status=status, restart={"budget": budget}))

    assert found == (("BudgetSpent", NOW + until * MINUTE) if until is not None else ("", None))


def test_a_hundred_restarts_are_remembered_and_no_budget_is_greater() -> None:
    status = past(LEAKS, *(NOW - (120 - number) * SECOND for number in range(100)))
    spec = policy_spec(LEAKS, budget={"max": 100})

    assert len(limits.recent(make_context(make_resource(spec), make_seen(A), status=status))) == 100
    assert reason(asked(spec=spec, checks=fires(LEAKS, A), status=status))[0] == "BudgetSpent"
    with pytest.raises(ValueError, match="less than or equal to 100"):
        policy_spec(LEAKS, budget={"max": 101})


@pytest.mark.parametrize(
    ("fired", "windows", "left", "until"),
    [
        ((LEAKS,), [NIGHTLY], [], 14 * HOUR),
        ((LEAKS,), [NIGHTLY, SOON], [], 30 * MINUTE),
        ((LEAKS,), [NIGHTLY, {"schedule": "0 * * * *", "duration": "1m"}], ["leak"], None),
        # The memory would be full before; the others wait.
        ((GROWS,), [NIGHTLY], ["slope"], None),
        ((LEAKS, GROWS), [NIGHTLY], ["slope"], None),
        ((GROWS,), [SOON], [], 30 * MINUTE),
        ((GROWS,), [{"schedule": "0 14 * * *", "duration": "1h"}], [], 2 * HOUR),
        ((GROWS,), [{"schedule": "1 14 * * *", "duration": "1h"}], ["slope"], None),
    ],
)
def test_outside_the_windows_only_what_cannot_wait_goes(
    fired: Any, windows: Any, left: list[str], until: timedelta | None
) -> None:
    names, block = asked(*fired, restart={"windows": windows})

    assert [name for name, _ in names] == left
    assert reason((names, block)) == (("OutsideWindow", NOW + until) if until is not None else ("", None))


DOWN = {"db": make_check("db", HealthState.UNHEALTHY)}
HUNG_FAILURES = 4
SHAKY = {"db": make_check("db", passes=HUNG_FAILURES - 1)}
STEADY = {"db": make_check("db", passes=HUNG_FAILURES)}


def passing(pod: Pod, passes: int, found: dict[str, Any]) -> dict[str, Any]:
    """The check of a policy that fires for others has passed so often in a row at this pod."""
    return {name: replace(state, passes_by_pod={pod.uid: passes}) for name, state in found.items()}


@pytest.mark.parametrize(
    ("checks", "left", "blocked"),
    [
        (DOWN | fires(HUNG, A, B), [], "DependencyDown"),
        # One alone has itself to blame, when the others are well and have been for a while.
        (DOWN | passing(B, HUNG_FAILURES, fires(HUNG, A)), [("stuck", "a")], ""),
        (DOWN | passing(B, HUNG_FAILURES - 1, fires(HUNG, A)), [], "DependencyDown"),
        (DOWN | fires(LEAKS, A, B), [("leak", "a"), ("leak", "b")], ""),
        # Whose threshold is reached first, and who recovers first, is chance.
        (SHAKY | fires(HUNG, A, B), [], "DependencyDown"),
        (STEADY | fires(HUNG, A, B), [("stuck", "a"), ("stuck", "b")], ""),
        # What is not known to work is not taken to.
        (fires(HUNG, A, B), [], "DependencyDown"),
        ({"db": make_check("db", HealthState.UNKNOWN, passes=9)} | fires(HUNG, A, B), [], "DependencyDown"),
        ({"db": make_check("db", HealthState.WARNING, passes=9)} | fires(HUNG, A), [("stuck", "a")], ""),
        # What is no dependency's fault goes all the same, and nothing else.
        (DOWN | fires(HUNG, A, B) | fires(LEAKS, B), [("leak", "b")], ""),
        # Retries spin.
        (DOWN | fires(SPINS, A, B), [], "DependencyDown"),
    ],
)
def test_when_all_pods_fail_with_their_dependency_it_is_not_the_pods(
    checks: Any, left: list[tuple[str, str]], blocked: str
) -> None:
    spec = policy_spec(HUNG, LEAKS, SPINS, checks=(LIVE_CHECK, DATABASE))

    names, block = asked(spec=spec, checks=checks)

    assert (sorted(names), block.reason if block else "") == (left, blocked)
    assert block is None or ("while db is not known to work" in block.message and block.until is None)


@pytest.mark.parametrize(
    ("fields", "blocked"), [({"updated": 1}, "RolloutMoving"), ({"generation": 2}, "NotObserved"), ({"ready": 1}, "")]
)
def test_a_rollout_replaces_the_pods_anyway(fields: dict[str, Any], blocked: str) -> None:
    assert reason(asked(LEAKS, workload=make_workload(replicas=2, **fields))) == (blocked, None)


# Loops. A pod that was made by a restart at NOW fires again after so many seconds.

FRESH = make_pod("fresh", created=NOW + 5 * SECOND)


def again(after: timedelta, *, status: Status | None = None, cool_down: str = "1m", **options: Any) -> Any:
    usual: dict[str, Any] = {"pods": (A, FRESH), "checks": fires(HUNG, FRESH)}
    spec = policy_spec(HUNG, LEAKS, coolDown=cool_down)
    return asked(spec=spec, status=status or past(HUNG, NOW), now=NOW + after, **usual | options)


@pytest.mark.parametrize(
    ("after", "cool_down", "until"),
    [
        (10 * SECOND, "1m", 136 * SECOND),
        # The cool-down, and the time that the policy needs to fire at all: four runs of 2 s.
        (73 * SECOND, "1m", 136 * SECOND),
        # Later than that it is no loop, however soon after its birth it began.
        (74 * SECOND, "1m", None),
        # A short cool-down says nothing about how soon is soon.
        (43 * SECOND, "1s", 76 * SECOND),
        (44 * SECOND, "1s", None),
    ],
)
def test_a_fresh_pod_that_fires_soon_after_its_birth_is_left_alone(after: Any, cool_down: str, until: Any) -> None:
    found = reason(again(after, cool_down=cool_down))

    assert found == (("RestartLoop", NOW + until) if until is not None else ("", None))


def test_each_try_in_a_loop_waits_twice_as_long_up_to_six_hours() -> None:
    def wait(tries: int) -> timedelta:
        futile = [PastRestart(at=NOW - number * HOUR, policies=["stuck"], futile=["stuck"]) for number in range(tries)]
        status = Status(restarts=RestartsStatus(recent=futile[::-1]))
        _, until = reason(again(10 * SECOND, status=status))
        assert until is not None
        return until - NOW

    assert [wait(tries) / SECOND for tries in (1, 2, 3, 8, 9, 60)] == [136, 272, 544, 17408, 21600, 21600]


def test_the_longest_wait_does_not_shrink_while_the_loop_goes_on() -> None:
    status = past(HUNG, *(NOW - 6 * number * HOUR for number in range(20, -1, -1)), futile=True)
    context = make_context(make_resource(policy_spec(HUNG, coolDown="0s")), make_seen(A), status=status)

    kept = Status(restarts=RestartsStatus(recent=limits.recent(context)))

    assert reason(again(10 * SECOND, status=kept, cool_down="0s")) == ("RestartLoop", NOW + 6 * HOUR)


@pytest.mark.parametrize(
    ("status", "options"),
    [
        # Another policy restarted it.
        (past(LEAKS, NOW - HOUR), {}),
        # It is not fresh.
        (past(HUNG, NOW - 2 * SECOND, futile=True), {"pods": (A,), "checks": fires(HUNG, A)}),
        # One more try when the wait is over.
        (past(HUNG, NOW - 2 * MINUTE, futile=True), {}),
        # The last restart helped for long.
        (past(HUNG, NOW - HOUR), {"pods": (A, make_pod("fresh", created=NOW - 59 * MINUTE))}),
    ],
)
def test_what_is_no_loop_goes_on(status: Status, options: Any) -> None:
    assert reason(again(10 * SECOND, status=status, cool_down="1s", **options)) == ("", None)


def test_pods_that_are_not_in_the_loop_go_without_those_that_are() -> None:
    checks = fires(HUNG, A, FRESH) | fires(LEAKS, A)

    left, block = again(70 * SECOND, status=past(HUNG, NOW, futile=True), checks=checks)

    # The replacement of the last restart by `stuck` has not passed it, so that no further pod goes for it.
    assert (sorted(left), block) == ([("leak", "a")], None)
    assert again(70 * SECOND, status=past(HUNG, NOW, futile=True), checks=fires(HUNG, FRESH) | fires(LEAKS, FRESH)) == (
        [("leak", "fresh")],
        None,
    )


def test_a_pod_is_in_the_loop_of_the_restart_that_made_it_whatever_came_after() -> None:
    later = make_pod("later", created=NOW + 25 * SECOND)
    first, second = past(HUNG, NOW, futile=True), past(HUNG, NOW + 20 * SECOND, futile=True)
    status = Status(restarts=RestartsStatus(recent=[*first.restarts.recent, *second.restarts.recent]))

    def until(pod: Pod) -> datetime | None:
        return reason(again(30 * SECOND, status=status, pods=(FRESH, later), checks=fires(HUNG, pod)))[1]

    assert until(FRESH) == NOW + 136 * SECOND
    assert until(later) == NOW + 20 * SECOND + 272 * SECOND


def test_of_several_loops_the_one_that_ends_first_is_the_next_look() -> None:
    recent = [
        PastRestart(at=NOW - MINUTE, policies=["leak"], futile=["leak"]),
        *past(HUNG, NOW, futile=True).restarts.recent,
    ]
    status = Status(restarts=RestartsStatus(recent=recent))

    _, block = again(10 * SECOND, status=status, checks=fires(HUNG, FRESH) | fires(LEAKS, FRESH))

    assert block is not None and (block.reason, block.until) == ("RestartLoop", NOW + 136 * SECOND)
    assert "(leak, stuck)" in block.message


def test_what_fails_is_tried_less_and_less_often_also_for_the_pod_that_stayed() -> None:
    def wait(*failed: int) -> timedelta | None:
        recent = [PastRestart(at=NOW - each * MINUTE, policies=["stuck"], failed=True) for each in failed]
        status = Status(restarts=RestartsStatus(recent=recent))
        by_pod = {A.uid: HealthState.UNHEALTHY, FRESH.uid: HealthState.HEALTHY}
        checks = {name: replace(state, by_pod=by_pod) for name, state in fires(HUNG, A).items()}
        found = reason(again(timedelta(), status=status, checks=checks))
        assert found[0] in ("RestartLoop", "")
        return found[1] - NOW if found[1] is not None else None

    assert wait(1) == 76 * SECOND
    assert wait(20, 1) == 212 * SECOND
    assert wait(3) is None


def test_a_loop_is_noted_once_and_only_for_its_policy() -> None:
    spec = policy_spec(HUNG, LEAKS, coolDown="1m")
    both = PastRestart(at=NOW, policies=["stuck", "leak"])
    status = Status(restarts=RestartsStatus(recent=[PastRestart(at=NOW - HOUR, policies=["stuck"]), both]))
    seen = make_seen(A, FRESH, checks=fires(HUNG, A, FRESH))
    context = make_context(make_resource(spec), seen, status=status, now=NOW + 10 * SECOND)
    fired = policies.firing(context)

    noted, news = limits.note_loops(context, fired)

    assert news == ("stuck",)
    assert [each.futile for each in noted.restarts.recent] == [[], ["stuck"]]
    later = make_context(make_resource(spec), seen, status=noted, now=NOW + 20 * SECOND)
    assert limits.note_loops(later, fired) == (noted, ())


def test_the_first_that_says_no_is_named() -> None:
    everything = past(HUNG, NOW - 40 * SECOND)
    restart = {"coolDown": "1m", "budget": {"max": 1}, "windows": [NIGHTLY]}
    fresh = make_pod("a", created=NOW - 30 * SECOND)
    order = []
    for checks, options in (
        (DOWN | fires(HUNG, fresh), restart),
        (STEADY | fires(HUNG, fresh), restart),
        (fires(LEAKS, fresh), restart),
        (fires(LEAKS, fresh), restart | {"windows": []}),
        (fires(LEAKS, fresh), {"windows": [], "coolDown": "1s", "budget": {"max": 1}}),
    ):
        spec = policy_spec(HUNG, LEAKS, checks=(LIVE_CHECK, DATABASE), **options)
        moving = make_workload(replicas=1, current=2, updated=1)
        order.append(reason(asked(spec=spec, pods=(fresh,), checks=checks, status=everything, workload=moving))[0])

    assert order == ["DependencyDown", "RestartLoop", "OutsideWindow", "CoolDown", "BudgetSpent"]
