"""Restarts that nobody asked for, from what fires to a restart that has begun, and what status says meanwhile."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resilience.api.reasons import HealthState, Reason, ReplaceStep
from resilience.api.status import Status
from resilience.api.status_restarts import FiringPolicy, PodReference, RestartsStatus, RestartStatus
from resilience.api.v1alpha1 import ResilientServiceSpec, TargetKind
from resilience.core.model.decision import SOON, Decision, EvictPod, TakeOver
from resilience.core.model.observation import Pod, Turn
from resilience.core.model.workload import ContainerPort
from resilience.core.reconcile import decide
from tests.support.factories import (
    KEY,
    LONG_AGO,
    NOW,
    make_container,
    make_pod,
    make_resource,
    make_retiring,
    make_seen,
    make_workload,
)
from tests.support.firing import AGED, GROWS, HUNG, LEAKS, fires, past, policy_spec
from tests.support.model import stored

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
A, B, C = make_pod("a"), make_pod("b"), make_pod("c", created=LONG_AGO + MINUTE)
GRANTED = Turn(granted=True)
ASK = {"resilience.dev/restart-requested-at": "now"}
BEGUN = RestartStatus(trace_id="t", started_at=NOW - 5 * SECOND, born_before=NOW - MINUTE, total=1)


def looked(
    *pods: Pod,
    spec: ResilientServiceSpec,
    checks: Any = None,
    status: Status | None = None,
    turn: Turn | None = GRANTED,
    now: datetime = NOW,
    annotations: Any = None,
    **seen: Any,
) -> Decision:
    pods = pods or (A, B, C)
    fields = {"workload": make_workload(replicas=len(pods))} | seen
    observed = make_seen(*pods, checks=checks or {}, turn=turn, **fields)
    resource = make_resource(spec, status=status, annotations=annotations)
    return decide(resource, observed, now)


def status_of(found: Decision) -> Status:
    assert found.status is not None
    return stored(found.status)


def reasons(found: Decision) -> list[Reason]:
    return [each.reason for each in found.events]


def test_all_reasons_are_one_restart_and_the_pod_with_most_goes_first() -> None:
    checks = fires(HUNG, A, C) | fires(LEAKS, B, C)

    found = looked(C, B, A, spec=policy_spec(LEAKS, HUNG), checks=checks)

    restart = status_of(found).restart
    assert restart is not None and found.actions == ()
    assert [each.name for each in restart.only] == ["c", "a", "b"]
    assert (restart.total, restart.policies, restart.request) == (3, ["leak", "stuck"], "")
    assert restart.reason == (
        "policy leak: pod b: saw b for 5m (above 90%); policy stuck: pod a: saw a, 4 times in a row"
    )
    (entry,) = status_of(found).restarts.recent
    assert (entry.at, entry.policies, entry.futile) == (NOW, ["leak", "stuck"], [])
    assert reasons(found) == [Reason.RESTART_STARTED] and "policy leak" in found.events[0].message
    assert found.requeue_after is not None and found.requeue_after <= SECOND


def test_at_most_fifty_pods_go_in_one_restart() -> None:
    pods = [make_pod(f"p{number:02}") for number in range(60)]

    restart = status_of(looked(*pods, spec=policy_spec(HUNG), checks=fires(HUNG, *pods))).restart

    assert restart is not None and [each.name for each in restart.only] == [each.name for each in pods[:50]]


def test_only_the_named_pods_are_replaced_the_worst_first() -> None:
    only = [PodReference(name=each.name, uid=each.uid) for each in (C, B)]
    status = Status(observed_generation=1, restart=BEGUN.model_copy(update={"only": only, "born_before": NOW}))

    def taken(*pods: Pod, surge: int = 3) -> list[str]:
        found = looked(*pods, spec=policy_spec(HUNG, surge=surge), status=status)
        return [each.pod.name for each in found.actions if isinstance(each, TakeOver)]

    assert taken(A, B, C) == ["c", "b"]
    assert taken(A, B, C, surge=1) == ["c"]
    assert taken(A, B, make_pod("c", uid="made-again", created=NOW)) == ["b"]
    assert taken(A, make_pod("d")) == []


def test_a_dry_run_only_says_once_what_it_would_do() -> None:
    spec = policy_spec(HUNG | {"dryRun": True})

    first = looked(spec=spec, checks=fires(HUNG, A, B))
    again = looked(spec=spec, checks=fires(HUNG, A, B), status=status_of(first))
    over = looked(spec=spec, status=status_of(again))

    assert status_of(first).restart is None and first.ticket is None and first.actions == ()
    assert reasons(first) == [Reason.WOULD_RESTART]
    assert first.events[0].message == "policy stuck (dryRun) would restart: pod a: saw a, 4 times in a row"
    (firing,) = status_of(again).restarts.firing
    assert (firing.name, firing.pods, firing.dry_run) == ("stuck", 2, True)
    assert reasons(again) == [] and status_of(over).restarts.firing == []


def test_in_the_repeated_hour_of_autumn_the_next_look_is_when_the_window_opens() -> None:
    # given: 01:10 in London, for the second time that night
    now = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    spec = policy_spec(HUNG, windows=[{"schedule": "30 1 * * *", "duration": "10m", "timeZone": "Europe/London"}])

    # when
    found = looked(spec=spec, checks=fires(HUNG, A), now=now)

    # then
    assert found.requeue_after == timedelta(days=1, minutes=20)
    assert status_of(found).restarts.next_allowed_at == now + timedelta(days=1, minutes=20)


@pytest.mark.parametrize(("asked", "given"), [(-HOUR, SOON), (timedelta(), SOON), (MINUTE, MINUTE), (None, None)])
def test_no_pass_asks_for_the_next_one_without_a_pause(asked: timedelta | None, given: timedelta | None) -> None:
    assert timedelta(seconds=0.2) <= SOON
    assert Decision(requeue_after=asked).requeue_after == given


@pytest.mark.parametrize(
    ("restart", "status", "blocked", "until"),
    [
        ({"coolDown": "1m"}, past(LEAKS, NOW - 20 * SECOND), "CoolDown", 40 * SECOND),
        ({"budget": {"max": 1}}, past(LEAKS, NOW - 20 * MINUTE), "BudgetSpent", 40 * MINUTE),
        ({"windows": [{"schedule": "30 12 * * *", "duration": "1h"}]}, None, "OutsideWindow", 30 * MINUTE),
    ],
)
def test_what_is_held_back_is_told_once_and_looked_at_again_when_it_ends(
    restart: Any, status: Status | None, blocked: str, until: timedelta
) -> None:
    spec = policy_spec(HUNG, **restart)

    first = looked(spec=spec, checks=fires(HUNG, A), status=status)
    restarts = status_of(first).restarts

    assert status_of(first).restart is None and first.ticket is None
    assert (restarts.blocked_by, restarts.next_allowed_at) == (blocked, NOW + until)
    assert first.requeue_after == until
    assert reasons(first) == [Reason.POLICY_BLOCKED]
    assert restarts.message in status_of(first).explanation
    assert reasons(looked(spec=spec, checks=fires(HUNG, A), status=status_of(first))) == []
    after = looked(spec=spec, checks=fires(HUNG, A), status=status_of(first), now=NOW + until)
    assert status_of(after).restart is not None and status_of(after).restarts.blocked_by == ""


def test_a_loop_is_a_warning_once_also_after_the_operator_was_restarted() -> None:
    spec, fresh = policy_spec(HUNG), make_pod("fresh", created=NOW)
    began = status_of(looked(A, spec=spec, checks=fires(HUNG, A)))
    # Noted already while the restart goes on.
    during = looked(fresh, spec=spec, checks=fires(HUNG, fresh), status=began, now=NOW + 10 * SECOND)
    ended = status_of(during).model_copy(update={"restart": None})

    held = looked(fresh, spec=spec, checks=fires(HUNG, fresh), status=ended, now=NOW + 40 * SECOND)
    silent = looked(fresh, spec=spec, status=status_of(held), now=NOW + 45 * SECOND)
    again = looked(fresh, spec=spec, checks=fires(HUNG, fresh), status=status_of(silent), now=NOW + 50 * SECOND)
    after = looked(fresh, spec=spec, checks=fires(HUNG, fresh), status=status_of(again), now=NOW + 76 * SECOND)

    assert [each.warning for each in during.events if each.reason is Reason.RESTART_LOOP] == [True]
    assert reasons(held) == reasons(again) == []
    assert status_of(again).restarts.blocked_by == "RestartLoop" and again.requeue_after == 26 * SECOND
    assert "restarting them is useless" in status_of(again).explanation
    assert status_of(after).restart is not None
    assert [each.futile for each in status_of(after).restarts.recent] == [["stuck"], []]


@pytest.mark.parametrize(
    ("fields", "replicas", "blocked"),
    [
        ({"strategy": "Recreate"}, 2, "Recreate"),
        ({"containers": [make_container(ports=(ContainerPort("http", 80, True),))]}, 2, "HostPort"),
        ({"kind": TargetKind.STATEFUL_SET}, 1, "LastReplica"),
        ({"kind": TargetKind.DAEMON_SET}, 1, "LastReplica"),
        ({"kind": TargetKind.STATEFUL_SET}, 2, ""),
        ({}, 1, ""),
    ],
)
def test_what_cannot_be_done_without_loss_no_policy_does(fields: Any, replicas: int, blocked: str) -> None:
    pods = (A, B)[:replicas]

    found = looked(
        *pods, spec=policy_spec(HUNG), checks=fires(HUNG, A), workload=make_workload(replicas=replicas, **fields)
    )

    restarts = status_of(found).restarts
    assert (restarts.blocked_by, bool(restarts.message), restarts.next_allowed_at) == (blocked, bool(blocked), None)
    assert (status_of(found).restart is None) is bool(blocked)


@pytest.mark.parametrize("refused", [True, False])
def test_a_request_by_hand_is_bound_by_none_of_it(refused: bool) -> None:
    limits = {"coolDown": "1h", "budget": {"max": 1}, "windows": [{"schedule": "0 2 * * *", "duration": "1h"}]}
    firing = fires(HUNG, A) if refused else {}

    found = looked(spec=policy_spec(HUNG, **limits), checks=firing, status=past(HUNG, NOW), annotations=ASK, turn=None)

    restart = status_of(found).restart
    assert restart is not None and (restart.request, restart.only, restart.total) == ("now", [], 3)
    assert len(status_of(found).restarts.recent) == 1 and status_of(found).restarts.blocked_by == ""
    assert found.ticket is None


def test_it_waits_for_its_turn_and_says_for_how_long() -> None:
    spec = policy_spec(HUNG, priority=7)

    asked = looked(spec=spec, checks=fires(HUNG, A), turn=None, status=past(LEAKS, NOW - MINUTE))
    queued = looked(spec=spec, checks=fires(HUNG, A), turn=Turn(False, 3, 90.4 * SECOND), status=status_of(asked))
    granted = looked(spec=spec, checks=fires(HUNG, A), status=status_of(queued))

    for found in (asked, queued):
        assert found.ticket is not None and status_of(found).restart is None and reasons(found) == []
        assert (found.ticket.key, found.ticket.priority, found.ticket.since) == (KEY, 7, NOW)
    assert asked.requeue_after == 2 * SECOND and status_of(asked).restarts.blocked_by == ""
    restarts = status_of(queued).restarts
    assert (restarts.blocked_by, restarts.next_allowed_at) == ("Queued", NOW + 91 * SECOND)
    assert "others go before it" in restarts.message and restarts.ahead == 3
    assert queued.requeue_after == 91 * SECOND
    assert granted.ticket is None and status_of(granted).restart is not None


def test_a_turn_is_not_asked_for_what_is_held_back() -> None:
    spec = policy_spec(HUNG, coolDown="1h")

    assert looked(spec=spec, checks=fires(HUNG, A), status=past(HUNG, NOW)).ticket is None
    assert looked(spec=spec, turn=None).ticket is None


def test_while_a_restart_runs_what_fires_is_said_and_nothing_begun() -> None:
    status = Status(observed_generation=1, restart=BEGUN.model_copy(update={"only": [PodReference(name="z", uid="z")]}))
    pods = (A, B, make_retiring("z", ReplaceStep.LEFT, labels={"app": "left"}))

    found = looked(
        *pods, spec=policy_spec(HUNG), checks=fires(HUNG, A), status=status, workload=make_workload(replicas=2)
    )

    restart = status_of(found).restart
    assert restart is not None and restart.trace_id == "t" and found.ticket is None
    assert [each.name for each in status_of(found).restarts.firing] == ["stuck"]


def test_a_pod_without_a_twin_is_evicted_alone() -> None:
    spec = policy_spec(HUNG)
    workload = make_workload(replicas=3, kind=TargetKind.STATEFUL_SET)
    began = status_of(looked(spec=spec, checks=fires(HUNG, B), workload=workload))

    found = looked(spec=spec, status=began, workload=workload, now=NOW + 2 * SECOND)

    assert [each.pod.name for each in found.actions if isinstance(each, EvictPod)] == ["b"]


@pytest.mark.parametrize(
    ("spec", "options"),
    [(policy_spec(HUNG, priority=1), {"quiet": True}), (policy_spec(HUNG), {}), (policy_spec(), {"quiet": True})],
    ids=["not-looked-at", "well-again", "policies-gone"],
)
def test_what_fires_no_more_is_not_told_any_more(spec: ResilientServiceSpec, options: Any) -> None:
    told = RestartsStatus(firing=[FiringPolicy(name="stuck", pods=1)], blocked_by="CoolDown", message="m")

    found = looked(spec=spec, status=Status(observed_generation=1, restarts=told), **options)

    restarts = status_of(found).restarts
    assert (restarts.firing, restarts.blocked_by, restarts.message) == ([], "", "")


def test_a_suspended_service_reports_and_restarts_nothing() -> None:
    spec = policy_spec(HUNG).model_copy(update={"suspend": True})

    found = looked(spec=spec, checks=fires(HUNG, A), status=past(HUNG, NOW))

    assert status_of(found).restart is None and found.ticket is None and found.actions == ()
    restarts = status_of(found).restarts
    assert len(restarts.recent) == 1 and restarts.blocked_by == "Suspended"
    assert [each.name for each in restarts.firing] == ["stuck"]


def test_pods_that_age_are_looked_at_in_time() -> None:
    young = make_pod("young", created=NOW - timedelta(hours=9))

    found = looked(young, spec=policy_spec(AGED, GROWS))

    assert found.requeue_after is not None and timedelta(hours=1) <= found.requeue_after <= timedelta(hours=2)


def test_unknown_never_fires() -> None:
    found = looked(spec=policy_spec(HUNG), checks=fires(HUNG, A, B, C, state=HealthState.UNKNOWN))

    assert status_of(found).restarts.firing == [] and status_of(found).restart is None
