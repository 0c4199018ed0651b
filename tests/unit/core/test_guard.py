"""The availability guard: what may go, what has to stay, and how a pod leaves its Services."""

from dataclasses import replace
from typing import Any

import pytest

from resilience.api.reasons import ReplaceStep
from resilience.api.v1alpha1 import TargetKind
from resilience.core.model.observation import Budget
from resilience.core.model.workload import ContainerPort, Template
from resilience.core.replacement import availability
from tests.support.factories import (
    LABELS,
    NOW,
    RS,
    make_container,
    make_endpoint,
    make_pod,
    make_retiring,
    make_seen,
    make_service,
    make_view,
    make_workload,
)

A, B, C = make_pod("a"), make_pod("b"), make_pod("c")


@pytest.mark.parametrize(
    ("kind", "replicas", "budget", "floor"),
    [
        (TargetKind.DEPLOYMENT, 3, 0, 3),
        (TargetKind.DEPLOYMENT, 3, 5, 5),
        (TargetKind.STATEFUL_SET, 3, 3, 2),
        (TargetKind.DAEMON_SET, 1, 0, 0),
        (TargetKind.STATEFUL_SET, 0, 0, 0),
    ],
)
def test_the_floor(kind: TargetKind, replicas: int, budget: int, floor: int) -> None:
    view = make_view(budgets=(Budget("one", 1, 0), Budget("two", budget, 0)))

    assert availability.floor(make_workload(kind=kind, replicas=replicas), view) == floor


@pytest.mark.parametrize(("healthy", "floor"), [(3, 5), (4, 4), (9, 3)])
def test_what_others_contribute_to_a_shared_budget_is_not_asked_of_ours(healthy: int, floor: int) -> None:
    view = make_view(A, B, C, budgets=(Budget("shared", 5, healthy),))

    assert availability.floor(make_workload(), view) == floor


def test_a_pod_that_has_left_stays_while_it_is_still_listed() -> None:
    pod = make_retiring("old", ReplaceStep.LEFT, labels={"app": "left"})
    seen = make_seen(pod, A, B, C, endpoints=tuple(make_endpoint(each) for each in (pod, A, B, C)))
    assert seen.pods is not None

    refusal = availability.may_lose(seen, seen.pods, pod)

    assert refusal is not None and refusal.reason == "StillListed"


@pytest.mark.parametrize(
    ("pods", "replicas", "allowed"),
    [
        ((A, B, C), 3, False),
        ((A, B, C), 2, True),
        ((make_pod("a", ready=False), B), 3, True),
        ((A, make_pod("b", ready=False), C), 2, False),
        ((A, B, make_pod("c", deleting=True)), 2, False),
        ((A, B, make_retiring("c", ReplaceStep.REPLACING)), 2, False),
        ((A,), 0, True),
    ],
)
def test_a_serving_pod_goes_only_when_enough_others_serve(pods: Any, replicas: int, allowed: bool) -> None:
    seen = make_seen(*pods, workload=make_workload(replicas=replicas))
    assert seen.pods is not None

    assert (availability.may_lose(seen, seen.pods, pods[0]) is None) is allowed


def test_nothing_goes_while_a_change_is_not_observed() -> None:
    seen = make_seen(A, B, workload=make_workload(replicas=1, generation=2))
    assert seen.pods is not None

    refusal = availability.may_lose(seen, seen.pods, A)

    assert refusal is not None and refusal.reason == "NotObserved"


def test_a_pod_serves_when_every_service_that_selects_it_lists_it() -> None:
    services = (make_service(), make_service("second"), make_service("foreign", selector={"app": "x"}))
    both = make_seen(A, services=services)
    one = make_seen(A, services=services, endpoints=(make_endpoint(A),))
    ending = make_seen(A, endpoints=(make_endpoint(A, terminating=True),))
    left = make_pod(labels={"app": "left"})

    assert availability.is_serving(both, A)
    assert not availability.is_serving(one, A)
    assert not availability.is_serving(ending, A)
    assert not availability.is_serving(make_seen(left), left)
    assert availability.is_serving(make_seen(A, services=()), A)


def test_nothing_begins_when_what_limits_it_was_not_read() -> None:
    seen = make_seen(A)
    assert seen.pods is not None
    assert availability.may_begin(seen) is None

    refusal = availability.may_begin(replace(seen, pods=replace(seen.pods, limits_read=False)))

    assert refusal is not None and refusal.reason == "LimitsNotRead"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({}, None), ({"updated": 1}, "RolloutMoving"), ({"generation": 2}, "NotObserved"), ({"current": 2}, None)],
)
def test_nothing_begins_while_a_rollout_moves(fields: Any, reason: str | None) -> None:
    refusal = availability.may_begin(make_seen(workload=make_workload(**fields)))

    assert (refusal.reason if refusal else None) == reason


@pytest.mark.parametrize(
    ("fields", "view", "reason"),
    [
        ({}, {}, None),
        ({"strategy": "Recreate"}, {}, "Recreate"),
        ({"template": Template(LABELS, (make_container(),), host_network=True)}, {}, "HostPort"),
        ({"containers": [make_container(ports=(ContainerPort("http", 80, True),))]}, {}, "HostPort"),
        ({}, {"exclusive_claims": ("data",)}, "ExclusiveVolume"),
    ],
)
def test_a_pod_that_cannot_have_a_twin_is_named(fields: Any, view: Any, reason: str | None) -> None:
    refusal = availability.replacement_refusal(make_workload(**fields), make_view(**view))

    assert (refusal.reason if refusal else None) == reason


@pytest.mark.parametrize(
    ("selectors", "policy", "labels", "stuck"),
    [
        ([{"app": "checkout"}], set(), {"app"}, ()),
        ([{"app": "checkout"}], {"app"}, set(), ("s0",)),
        ([{"app": "checkout", "tier": "web"}], {"app"}, {"tier"}, ()),
        ([{"app": "checkout"}, {"app": "checkout", "tier": "web"}], set(), {"app"}, ()),
        ([{"tier": "web"}, {"app": "checkout"}], set(), {"app", "tier"}, ()),
        ([{"app": "other"}, {}], set(), set(), ()),
    ],
)
def test_leaving_overwrites_one_label_for_every_service(
    selectors: list[Any], policy: set[str], labels: set[str], stuck: tuple[str, ...]
) -> None:
    pod = make_pod(labels={"app": "checkout", "tier": "web"})
    services = tuple(make_service(f"s{number}", selector=each) for number, each in enumerate(selectors))
    view = make_view(pod, policy_labels=frozenset(policy))

    chosen, left_out = availability.leave_labels(make_seen(view=view, services=services), view, pod)

    assert (set(chosen), left_out) == (labels, stuck)
    gone = make_pod(labels={**pod.labels, **chosen})
    assert [each.name for each in services if each.selects(gone.labels)] == list(stuck)


@pytest.mark.parametrize(
    ("pods", "replicas", "spare"),
    [
        ((B, C), 3, 1),
        ((B, C, make_pod("d", ready=False)), 3, 1),
        ((B, C, make_pod("d")), 3, 0),
        ((A, B, C, make_pod("d", ready=False)), 3, 0),
    ],
)
def test_only_as_many_are_given_back_as_cost_no_client(pods: Any, replicas: int, spare: int) -> None:
    taken = make_retiring("z", ReplaceStep.REPLACING, since=NOW)
    seen = make_seen(*pods, taken, workload=make_workload(replicas=replicas))
    assert seen.pods is not None

    assert availability.spare(seen, seen.pods) == spare
    assert (availability.may_give_back(seen, seen.pods, RS) is None) is (spare > 0)
