"""A restart step by step: what is accepted, what is done to each pod, how it ends, and what is told of it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from resilience.api.names import ANNOTATION_FAILED, ANNOTATION_SERVING
from resilience.api.reasons import ConditionType, HealthState, Reason, ReplaceStep, RestartOutcome
from resilience.api.status import HistoryEntry, Status
from resilience.api.status_restarts import ReplacementStatus, RestartStatus
from resilience.api.status_rollout import FailureStatus, RolloutStatus, Version
from resilience.api.v1alpha1 import ResilientServiceSpec, TargetKind
from resilience.core.model import history
from resilience.core.model.decision import Advance, Decision, DeletePod, EvictPod, GiveBack, SendSignal, TakeOver
from resilience.core.model.observation import Budget, Observation, Pod
from resilience.core.model.traffic import Traffic
from resilience.core.model.workload import Template, Workload
from resilience.core.read_depth import Depth, read_depth
from resilience.core.reconcile import decide
from resilience.core.restarts import lifecycle
from tests.support.factories import (
    LIVE_CHECK,
    LONG_AGO,
    NOW,
    RS,
    make_check,
    make_pod,
    make_resource,
    make_retiring,
    make_seen,
    make_service,
    make_spec,
    make_view,
    make_workload,
)

SECOND = timedelta(seconds=1)
ASK = {"resilience.dev/restart-requested-at": "now"}
SIGNAL = {"signal": {"http": {"path": "/drain", "port": "http"}}}
QUIET = {"quiet": {"http": {"path": "/c", "port": "http", "json": "n"}}}
NEW = make_pod("new", created=NOW)


def running(**fields: Any) -> Status:
    begun = RestartStatus(
        request="now",
        trace_id="t",
        started_at=NOW - 5 * SECOND,
        born_before=LONG_AGO,
        total=3,
    )
    return Status(observed_generation=1, restart=begun.model_copy(update=fields))


def decided(
    *pods: Pod,
    spec: Mapping[str, Any] | None = None,
    status: Status | None = None,
    annotations: Mapping[str, str] | None = None,
    at: timedelta = timedelta(),
    **seen: Any,
) -> Decision:
    """One pass over three replicas with these pods, a restart being in flight."""
    observed: Observation = make_seen(*pods, **{"workload": make_workload(replicas=3)} | seen)
    resource = make_resource(make_spec(**spec or {}), status=status or running(), annotations=annotations)
    return decide(resource, observed, NOW + at)


def retiring(step: ReplaceStep, *, left: bool = True, **fields: Any) -> Pod:
    return make_retiring("old", step, labels={"app": "left"} if left else make_pod().labels, **fields)


A, B, C = make_pod("a"), make_pod("b"), make_pod("c")

LATE = timedelta(minutes=10)


def test_a_request_is_accepted_before_anything_is_begun() -> None:
    found = decided(A, B, C, status=Status(observed_generation=1), annotations=ASK)

    assert found.actions == ()
    assert found.status is not None and found.status.restart is not None
    assert (found.status.restart.total, found.status.handled[0].value) == (3, "now")
    assert [each.reason for each in found.events] == [Reason.RESTART_STARTED]
    assert found.requeue_after is not None and found.requeue_after <= SECOND


@pytest.mark.parametrize(
    ("pods", "workload", "outcome"),
    [
        ((), {"replicas": 0}, RestartOutcome.UNNEEDED),
        ((A,), {"strategy": "Recreate"}, RestartOutcome.REFUSED),
    ],
)
def test_what_cannot_be_restarted_ends_at_once(pods: Any, workload: Any, outcome: RestartOutcome) -> None:
    found = decided(*pods, status=Status(observed_generation=1), annotations=ASK, workload=make_workload(**workload))

    assert found.actions == () and found.status is not None
    assert found.status.restart is None
    assert found.status.last_restart is not None and found.status.last_restart.result is outcome


def test_a_second_request_waits_for_the_first() -> None:
    found = decided(A, B, C, annotations={"resilience.dev/restart-requested-at": "later"})

    assert found.status is not None and found.status.restart is not None
    assert found.status.restart.request == "now"
    assert found.status.handled == []


def test_unready_pods_go_first_and_surge_is_the_bound() -> None:
    hung = make_pod("z", ready=False)

    one = decided(A, B, hung)
    two = decided(A, B, hung, spec={"restart": {"surge": 2}})

    assert [each.pod.name for each in one.actions if isinstance(each, TakeOver)] == ["z"]
    assert [each.pod.name for each in two.actions if isinstance(each, TakeOver)] == ["z", "a"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"workload": make_workload(updated=1)}, "a rollout of Deployment checkout is in progress"),
        ({"workload": make_workload(generation=2)}, "has a change"),
        ({"workload": make_workload(replicas=4)}, "1 pod not created yet"),
        ({"view": make_view(A, B, C, budgets=(Budget("b", 4, 0),))}, "a disruption budget requires more pods"),
    ],
)
def test_nothing_is_begun_and_the_status_says_why(fields: Any, words: str) -> None:
    found = decided(A, B, C, **fields)

    assert found.actions == ()
    assert found.status is not None and words in found.status.explanation


def test_a_pod_that_hangs_meanwhile_is_replaced_although_the_surge_is_used_up() -> None:
    found = decided(retiring(ReplaceStep.REPLACING, left=False), NEW, B, make_pod("hung", ready=False))

    assert [each.pod.name for each in found.actions if isinstance(each, TakeOver)] == ["hung"]


@pytest.mark.parametrize(
    ("replacement", "words"),
    [
        (make_pod("new", ready=False, created=NOW, trouble="ImagePullBackOff"), "is not ready: ImagePullBackOff"),
        (make_pod("new", created=NOW, available=False), "is not ready"),
        (None, "not created yet"),
    ],
)
def test_an_old_pod_stays_until_its_replacement_serves(replacement: Pod | None, words: str) -> None:
    pods = [retiring(ReplaceStep.REPLACING, left=False), B, C, *([replacement] if replacement else [])]

    found = decided(*pods)

    assert found.actions == ()
    assert found.status is not None and words in found.status.explanation


def test_a_replacement_must_pass_its_pod_checks() -> None:
    health = {"health": {"checks": [LIVE_CHECK]}}
    pods = (retiring(ReplaceStep.REPLACING, left=False), B, C, NEW)

    def actions(state: HealthState) -> list[Any]:
        checks = {"live": make_check("live", by_pod={NEW.uid: state})}
        return list(decided(*pods, spec=health, checks=checks).actions)

    assert actions(HealthState.UNKNOWN) == []
    assert isinstance(actions(HealthState.HEALTHY)[0], Advance)


@pytest.mark.parametrize(
    ("pod", "drain", "at", "expected"),
    [
        (retiring(ReplaceStep.REPLACING, left=False), {}, 0, "Advance leaving"),
        (retiring(ReplaceStep.LEAVING), {}, 0, "Advance left"),
        (retiring(ReplaceStep.LEFT), {}, 0.5, ""),
        (retiring(ReplaceStep.LEFT), {}, 1, "Advance draining"),
        (retiring(ReplaceStep.LEAVING, left=False), {}, 1, "Advance leaving"),
        (retiring(ReplaceStep.LEFT, left=False), {}, 1, "Advance leaving"),
        (retiring(ReplaceStep.LEFT), SIGNAL, 1, "SendSignal"),
        (retiring(ReplaceStep.LEFT), SIGNAL, 11, "SendSignal last"),
        (retiring(ReplaceStep.DRAINING), {}, 0, "DeletePod"),
        (retiring(ReplaceStep.DRAINING), SIGNAL, 59, ""),
        (retiring(ReplaceStep.DRAINING), SIGNAL, 60, "DeletePod"),
        (retiring(ReplaceStep.DRAINING), QUIET, 1, ""),
        (retiring(ReplaceStep.DRAINING), QUIET, 60, "DeletePod"),
        (retiring(ReplaceStep.DELETING), {}, 0, "DeletePod"),
        (retiring(ReplaceStep.DRAINING, deleting=True), {}, 0, ""),
        (replace(retiring(ReplaceStep.LEAVING), step_since=None), {}, 0, "Advance leaving"),
    ],
)
def test_each_step_follows_from_what_is_on_the_pod(pod: Pod, drain: Any, at: float, expected: str) -> None:
    found = decided(pod, B, C, NEW, spec={"drain": drain}, at=timedelta(seconds=at))

    names = []
    for each in found.actions:
        match each:
            case Advance():
                names.append(f"Advance {each.step}")
            case SendSignal(last=True):
                names.append("SendSignal last")
            case TakeOver():
                pass
            case _:
                names.append(type(each).__name__)
    assert " ".join(names) == expected


@pytest.mark.parametrize(("at", "changed", "fails"), [(SECOND, None, False), (LATE, None, True), (LATE, LATE, False)])
def test_a_replacement_that_hangs_ends_the_restart(at: timedelta, changed: timedelta | None, fails: bool) -> None:
    hung = replace(NEW, ready=False, available=False, ready_changed=None if changed is None else NOW + changed)

    found = decided(B, C, hung, at=at)

    assert found.actions == () and found.status is not None and found.status.restart is not None
    assert bool(found.status.restart.failure) is fails


@pytest.mark.parametrize("step", [each for each in ReplaceStep if each is not ReplaceStep.DELETING])
def test_no_pod_goes_on_while_nodes_may_not_have_caught_up(step: ReplaceStep) -> None:
    pod = retiring(step, left=step is not ReplaceStep.REPLACING)
    at = timedelta(minutes=5)

    calm = decided(pod, B, C, NEW, at=at)
    unsettled = decided(pod, B, C, NEW, at=at, unsettled=timedelta(seconds=40))

    assert [each for each in calm.actions if not isinstance(each, TakeOver)]
    assert not [each for each in unsettled.actions if not isinstance(each, TakeOver)]
    assert unsettled.status is not None and "API server was away" in unsettled.status.explanation


@pytest.mark.parametrize(("active", "ends"), [(0, True), (1, False), (None, False)])
def test_a_quiet_pod_goes_at_once(active: int | None, ends: bool) -> None:
    pod = retiring(ReplaceStep.DRAINING)

    found = decided(spec={"drain": QUIET}, view=make_view(pod, B, C, NEW, connections={pod.uid: active}))

    assert any(isinstance(each, DeletePod) for each in found.actions) is ends


UNREADY = make_pod("new", created=NOW, ready=False)


@pytest.mark.parametrize(
    ("pods", "at", "aborted", "given_back"),
    [
        ((B, C, UNREADY), SECOND, False, False),
        ((B, C, UNREADY), LATE, False, True),
        ((B, C), LATE, False, True),
        ((B, C, UNREADY), SECOND, True, True),
        ((B, C, replace(NEW, available=False)), LATE, False, False),
    ],
)
def test_an_undo_comes_only_before_the_replacement_serves(
    pods: Any, at: timedelta, aborted: bool, given_back: bool
) -> None:
    found = decided(retiring(ReplaceStep.REPLACING, left=False), *pods, at=at, status=running(aborted=aborted))

    assert any(isinstance(each, GiveBack) for each in found.actions) is given_back
    if given_back and at == LATE:
        assert found.status is not None and found.status.restart is not None
        assert "did not come up" in found.status.restart.failure
        assert found.pods_next


@pytest.mark.parametrize(("at", "aborted", "goes"), [(SECOND, False, False), (LATE, False, True), (SECOND, True, True)])
def test_what_serves_and_lacks_something_for_too_long_takes_over_all_the_same(
    at: timedelta, aborted: bool, goes: bool
) -> None:
    old = retiring(ReplaceStep.REPLACING, left=False)
    hangs = {"live": make_check("live", HealthState.UNHEALTHY, by_pod={NEW.uid: HealthState.UNHEALTHY})}
    health = {"health": {"checks": [LIVE_CHECK]}}

    found = decided(old, B, C, NEW, at=at, checks=hangs, spec=health, status=running(aborted=aborted))

    assert [type(each) for each in found.actions] == ([Advance] if goes else [])
    assert found.status is not None and found.status.restart is not None
    assert bool(found.status.restart.failure) is (goes and not aborted)


def test_a_restart_that_failed_ends_when_nothing_is_in_flight() -> None:
    found = decided(A, B, C, status=running(failure="the replacement did not come up"))

    assert found.status is not None and found.status.last_restart is not None
    assert found.status.last_restart.result is RestartOutcome.FAILED
    assert found.actions == ()


def test_with_a_newer_template_nothing_is_given_back() -> None:
    view = make_view(retiring(ReplaceStep.REPLACING, left=False), B, C, replica_sets=(replace(RS, is_current=False),))

    assert decided(view=view, at=LATE).actions == ()


def test_with_a_surge_the_one_that_came_up_is_not_undone() -> None:
    first, second = (make_retiring(name, ReplaceStep.REPLACING) for name in ("x", "y"))

    found = decided(first, second, C, NEW, make_pod("bad", created=NOW, ready=False), at=LATE)

    assert len(found.actions) == 1


def test_at_zero_replicas_what_is_in_flight_is_finished() -> None:
    found = decided(retiring(ReplaceStep.REPLACING, left=False), workload=make_workload(replicas=0))

    assert [type(each) for each in found.actions] == [Advance]


@pytest.mark.parametrize(("drain", "expected"), [({}, EvictPod), (SIGNAL, Advance)])
def test_kinds_without_surge_are_evicted_one_by_one(drain: Any, expected: type) -> None:
    target = {"kind": "StatefulSet", "name": "checkout"}

    found = decided(
        A, B, C, spec={"targetRef": target, "drain": drain}, workload=make_workload(kind=TargetKind.STATEFUL_SET)
    )

    assert [type(each) for each in found.actions] == [expected]


def test_a_signal_goes_to_the_pods_port() -> None:
    (action,) = decided(
        retiring(ReplaceStep.LEFT),
        B,
        C,
        NEW,
        spec={"drain": SIGNAL},
        at=SECOND,
        status=Status(observed_generation=1),
    ).actions

    assert isinstance(action, SendSignal) and action.target.port == 8080


@pytest.mark.parametrize(
    ("pods", "aborted", "outcome"),
    [
        ((NEW,), False, RestartOutcome.SUCCEEDED),
        ((A, NEW), True, RestartOutcome.ABORTED),
        ((NEW,), True, RestartOutcome.SUCCEEDED),
    ],
)
def test_a_restart_ends(pods: Any, aborted: bool, outcome: RestartOutcome) -> None:
    found = decided(*pods, status=running(aborted=aborted), workload=make_workload(replicas=len(pods)))

    assert found.status is not None and found.status.last_restart is not None
    assert found.status.restart is None
    assert found.status.last_restart.result is outcome
    assert found.status.history[-1].result == outcome


def test_an_abort_with_nothing_in_flight_says_so() -> None:
    found = decided(A, status=Status(observed_generation=1), annotations={"resilience.dev/abort-requested-at": "x"})

    assert found.status is not None and found.status.handled[0].note == "nothing was in flight"
    assert [each.reason for each in found.events] == [Reason.REQUEST_IGNORED]


def gone(name: str, connections: int | None) -> ReplacementStatus:
    return ReplacementStatus(name=name, step=ReplaceStep.DELETING, since=NOW, connections=connections)


def test_kept_connections_are_counted_once_and_a_pod_given_back_is_not_gone() -> None:
    status = running(pods=[gone("x", 4), gone("y", None), gone("a", 7)], kept_connections_cut=1)

    first = decided(A, B, C, status=status)
    assert first.status is not None and first.status.restart is not None
    second = decided(A, B, C, status=first.status)
    assert second.status is not None and second.status.restart is not None

    assert first.status.restart.kept_connections_cut == second.status.restart.kept_connections_cut == 5
    assert [each.message for each in first.events if each.reason is Reason.POD_REPLACED] == [
        "pod x was replaced and is gone",
        "pod y was replaced and is gone",
    ]


def test_what_was_measured_is_in_the_result() -> None:
    found = decided(NEW, workload=make_workload(replicas=1), traffic=Traffic(100, 2, 0.05))

    assert found.status is not None and found.status.last_restart is not None
    assert "2 of 100 measured requests failed" in lifecycle.describe(found.status.last_restart)


def test_the_history_forgets_by_number_and_by_age() -> None:
    def entry(age: timedelta) -> HistoryEntry:
        return HistoryEntry(at=NOW - age, kind="Restart", result="Succeeded")

    kept = history.remember([entry(timedelta(hours=25)), *([entry(SECOND)] * 25)], entry(timedelta()), NOW)

    assert len(kept) == 20
    assert kept[-1] == entry(timedelta())


def test_pods_are_read_only_when_something_is_to_be_done() -> None:
    assert read_depth(make_resource(), make_workload()) is Depth.WATCHES
    assert read_depth(make_resource(annotations=ASK), make_workload()) is Depth.LIMITS
    assert read_depth(make_resource(status=running()), make_workload()) is Depth.LIMITS
    assert read_depth(make_resource(deleting_since=NOW), make_workload()) is Depth.LIMITS


@pytest.mark.parametrize(
    ("spec", "workload", "expected"),
    [
        (make_spec(), make_workload(generation=2), Depth.PODS),
        (make_spec(), make_workload(template=Template(labels={}, containers=(), fingerprint="new")), Depth.PODS),
        (make_spec(rollout={"strategy": "BlueGreen"}), make_workload(generation=2), Depth.LIMITS),
        (make_spec(), make_workload(annotations={ANNOTATION_SERVING: "1"}), Depth.LIMITS),
        (make_spec(restart={"policies": [{"name": "aged", "uptime": {}}]}), make_workload(), Depth.LIMITS),
    ],
)
def test_of_a_rolling_update_that_kubernetes_does_only_pods_are_read(
    spec: ResilientServiceSpec, workload: Workload, expected: Depth
) -> None:
    assert read_depth(make_resource(spec), workload) is expected


@pytest.mark.parametrize("failed", ["now", "gone"])
@pytest.mark.parametrize("strategy", ["RollingUpdate", "BlueGreen"])
def test_pods_are_read_until_status_forgets_a_failed_version_that_is_gone(strategy: str, failed: str) -> None:
    # given: at rest, and a template that somebody took back right after its release had ended
    now = make_workload().template.fingerprint
    notes = {ANNOTATION_SERVING: now, ANNOTATION_FAILED: failed}
    adopted = make_workload(paused=True, annotations=notes) if strategy == "BlueGreen" else make_workload()
    version = Version(hash=now if failed == "now" else failed, image="shop:3")
    failure = FailureStatus(class_="Unknown", reason="CrashLoop", version=version, at=NOW)
    known = RolloutStatus(serving=Version(hash=now, image="shop:2"), failure=failure)
    # when
    depth = read_depth(make_resource(make_spec(rollout={"strategy": strategy}), status=Status(rollout=known)), adopted)
    # then
    expected = Depth.LIMITS if strategy == "BlueGreen" else Depth.PODS
    assert depth is (Depth.WATCHES if failed == "now" else expected)


def test_a_pod_in_flight_waits_for_a_look_that_reads_all() -> None:
    pods = make_retiring("old", ReplaceStep.REPLACING, taken=NOW - 60 * SECOND), B, C, NEW
    whole = make_seen(*pods)
    assert whole.pods is not None

    shallow = decide(make_resource(), replace(whole, pods=replace(whole.pods, limits_read=False)), NOW)

    assert any(isinstance(each, Advance) for each in decide(make_resource(), whole, NOW).actions)
    assert not any(isinstance(each, Advance) for each in shallow.actions)
    assert shallow.pods_next


def test_a_deletion_finishes_pods_first_then_gives_everything_back() -> None:
    resource = make_resource(deleting_since=NOW)
    in_flight = make_seen(retiring(ReplaceStep.DRAINING), B, C, NEW, workload=make_workload())

    first = decide(resource, in_flight, NOW)
    last = decide(resource, make_seen(B, C, NEW), NOW)
    late = decide(resource, in_flight, NOW + timedelta(minutes=11))

    assert [type(each).__name__ for each in first.actions] == ["DeletePod"]
    assert [type(each).__name__ for each in last.actions] == ["Unclaim", "SetFinalizer"]
    assert last.requeue_after is None
    assert [type(each).__name__ for each in late.actions] == ["Unclaim", "SetFinalizer"]


def test_progress_says_blocked_when_the_guard_refuses() -> None:
    found = decided(A, B, C, workload=make_workload(updated=1), services=(make_service(),))

    assert found.status is not None
    condition = next(each for each in found.status.conditions if each.type == ConditionType.PROGRESSING)
    assert (condition.status, condition.reason) == ("False", Reason.RESTART_BLOCKED)
