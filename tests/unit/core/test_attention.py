"""Pods that need somebody: who is listed with what to do, and when the whole service has crashed."""

from typing import Any

import pytest

from resilience.api.reasons import ConditionType, FailureClass, Phase
from resilience.api.status import Status
from resilience.api.status_restarts import Attention
from resilience.core.failures import attention
from resilience.core.model.decision import Decision
from resilience.core.model.observation import Pod
from resilience.core.read_depth import Depth, read_depth
from resilience.core.reconcile import decide
from tests.support.factories import NOW, make_pod, make_resource, make_seen, make_spec, make_workload

CRASHING: Any = {"fault": "CrashLoopBackOff", "restarts": 4, "trouble": "CrashLoopBackOff: exit code 1"}
SHORT: Any = {"fault": "Unschedulable", "trouble": "Unschedulable: Insufficient cpu"}


def bad(name: str = "bad", **fields: Any) -> Pod:
    return make_pod(name, ready=False, **fields)


def looked(*pods: Pod, available: int, status: Status | None = None, quiet: bool = False, **fields: Any) -> Decision:
    workload = make_workload(replicas=2, available=available, **fields)
    return decide(make_resource(status=status), make_seen(*pods, workload=workload, quiet=quiet), NOW)


def listed(*pods: Pod) -> list[Attention]:
    seen = make_seen(*pods)
    return attention.pods(seen, make_workload(replicas=2, available=1), make_spec(), [], now=NOW)


@pytest.mark.parametrize(
    ("fields", "kind", "reason", "advice"),
    [
        (CRASHING, FailureClass.UNKNOWN, "CrashLoop", "kubectl -n shop logs bad --all-containers --previous"),
        (SHORT, FailureClass.RESOURCE, "Unschedulable", "cpu is short"),
        ({"fault": "OOMKilled"}, FailureClass.RESOURCE, "OOMKilled", "raise resources.limits.memory"),
        (
            {"fault": "ErrImagePull", "trouble": 'ErrImagePull: image "shop:1": not found'},
            FailureClass.CONFIGURATION,
            "ImageNotFound",
            "shop:1",
        ),
    ],
)
def test_a_pod_in_trouble_is_listed_with_its_class_and_what_to_do(
    fields: Any, kind: FailureClass, reason: str, advice: str
) -> None:
    (found,) = listed(make_pod("good"), bad(**fields))

    assert (found.pod, found.class_, found.reason) == ("bad", kind, reason)
    assert found.message.startswith("pod bad: ") and advice in found.advice


@pytest.mark.parametrize(
    "pod",
    [
        make_pod("good", **CRASHING),
        bad(),
        bad(fault="ContainersNotReady", trouble="containers with unready status: [app]"),
        bad(deleting=True, **CRASHING),
        bad(fault="Error", restarts=1),
    ],
    ids=["serves", "starts", "probe-has-not-passed", "goes", "crashed-once"],
)
def test_a_pod_that_only_needs_time_needs_nobody(pod: Pod) -> None:
    assert listed(pod) == []


def test_at_most_twenty_are_listed() -> None:
    assert [each.pod for each in listed(*(bad(f"p{number:02}", **CRASHING) for number in range(30)))] == [
        f"p{number:02}" for number in range(20)
    ]


def test_what_was_known_holds_while_pods_are_missing_and_nobody_has_looked() -> None:
    known = listed(bad(**CRASHING))
    quiet = make_seen(make_pod(), quiet=True)

    assert attention.pods(quiet, make_workload(replicas=2, available=1), make_spec(), known, now=NOW) == known
    assert attention.pods(quiet, make_workload(replicas=2), make_spec(), known, now=NOW) == []


@pytest.mark.parametrize(("available", "looks"), [(2, Depth.WATCHES), (1, Depth.PODS)])
def test_pods_are_looked_at_when_some_are_missing(available: int, looks: Depth) -> None:
    assert read_depth(make_resource(), make_workload(replicas=2, available=available)) is looks


@pytest.mark.parametrize(
    ("pods", "available", "phase"),
    [
        ((bad(**CRASHING), bad("two", **CRASHING)), 0, Phase.CRASHED),
        ((bad(fault="OOMKilled"), bad("two")), 0, Phase.CRASHED),
        # Something serves, or nothing crashes.
        ((bad(**CRASHING), make_pod()), 1, Phase.DEPLOYING),
        ((bad(**SHORT), bad("two", **SHORT)), 0, Phase.INITIALIZING),
        ((make_pod(), make_pod("b")), 2, Phase.RUNNING),
    ],
)
def test_a_service_has_crashed_when_nothing_serves_and_containers_end(
    pods: tuple[Pod, ...], available: int, phase: Phase
) -> None:
    found = looked(*pods, available=available).status

    assert found is not None and found.phase is phase


def test_it_is_no_longer_crashed_in_the_pass_that_sees_it_serve() -> None:
    crashed = looked(bad(**CRASHING), available=0).status
    assert crashed is not None and crashed.phase is Phase.CRASHED

    found = looked(make_pod(), make_pod("b"), available=2, status=crashed, quiet=True).status

    assert found is not None and (found.phase, found.attention) == (Phase.RUNNING, [])
    (ready,) = (each for each in found.conditions if each.type == ConditionType.READY)
    assert ready.status == "True"
