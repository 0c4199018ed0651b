"""What keeps a target from blue-green, what a release waits for, and how a target is taken and given back."""

from datetime import timedelta
from typing import Any

import pytest

from resilience.api.names import LABEL_TRACK
from resilience.api.reasons import FailureClass, ReplaceStep
from resilience.api.status import Status
from resilience.api.status_rollout import RolloutStatus
from resilience.core.model.actions import CreateGreen, Hold, MarkFailed, MarkLeft, Resume
from resilience.core.model.api_refusal import ApiRefusal
from resilience.core.model.autoscaler import Autoscaler
from resilience.core.model.observation import Node
from resilience.core.model.workload import ContainerPort
from resilience.core.rollouts import adoption, bluegreen, preflight
from tests.support.factories import LABELS, NOW, make_container, make_pod, make_retiring, make_service
from tests.support.stages import HASHES, LATER, NEW, OLD, make_stage, own_pods, running, version

ON_HOST = make_container(ports=(ContainerPort("http", 8080, on_host=True),))
NODES = (Node("n1", False), Node("n2", False), Node("n3", True))
THERE = own_pods(node="n1")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ""),
        ({"serving": "", "workload": {"paused": True}}, "somebody else has paused the Deployment; resume it"),
        ({"serving": "", "failed": LATER, "workload": {"paused": True}}, ""),
        ({"view": {"green_taken": "checkout-green"}}, "Deployment checkout-green exists and is not the operator's"),
        ({"workload": {"strategy": "Recreate"}}, "strategy Recreate forbids two versions at once; change"),
        ({"workload": {"template": {"host_network": True}}}, "cannot use the host's network on the same nodes"),
        ({"workload": {"template": {"containers": (ON_HOST,)}}}, "cannot use host port 8080 on the same nodes"),
        ({"view": {"exclusive_claims": ("data", "x")}}, "volume claim data can be mounted once only (ReadWriteOnce)"),
        (
            {"view": {"autoscaler": Autoscaler("hpa", 0)}},
            "HorizontalPodAutoscaler hpa may scale to zero; set minReplicas to 1",
        ),
        (
            {"view": {"autoscaler": Autoscaler("queue", 0, is_scaled_object=True)}},
            "ScaledObject queue may scale to zero; set minReplicaCount to 1, or use rollout.strategy",
        ),
        ({"view": {"autoscaler": Autoscaler("hpa", 1)}}, ""),
        (
            {"workload": {"template": {"labels": LABELS | {LABEL_TRACK: "x"}}}},
            "carries the label resilience.dev/track, which tells the colours apart; take it out",
        ),
        (
            {"seen": {"services": (make_service(selector_owner="flux"),)}},
            "the selector of Service checkout belongs to flux (server-side apply), which would take a pin away; if you "
            "accept that during releases: kubectl annotate service checkout resilience.dev/accept-selector-pin=true",
        ),
        ({"seen": {"services": (make_service(selector={"app": "x"}, selector_owner="flux"),)}}, ""),
    ],
)
def test_every_obstacle_says_what_to_do(fields: Any, words: str) -> None:
    found = adoption.obstacle(make_stage(**fields))

    assert words in found and bool(found) is bool(words)


@pytest.mark.parametrize(
    "fields",
    [
        {"workload": {"strategy": "Recreate"}},
        {"workload": {"template": {"host_network": True}}},
        {"view": {"exclusive_claims": ("data",)}},
        {"view": {"autoscaler": Autoscaler("hpa", 0)}},
    ],
)
def test_what_cannot_be_changed_easily_has_another_way(fields: Any) -> None:
    assert adoption.obstacle(make_stage(**fields)).endswith("use rollout.strategy: RollingUpdate")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ""),
        ({"own": (*own_pods(), make_retiring("z", ReplaceStep.LEFT))}, "pod z is being replaced"),
        ({"writing": True}, "managed fields are being written into the template"),
        ({"seen": {"unsettled": timedelta(seconds=3)}}, "the API server was away; nodes may not have caught up"),
        (
            {"workload": {"template": {"labels": {"app": "other"}}}},
            "Service checkout does not select pods of the new template; have its selector name only labels that both",
        ),
        (
            {"seen": {"services": (make_service(selector={"tier": "web"}),)}, "own": own_pods(labels={"tier": "web"})},
            "Service checkout does not select pods of the new template",
        ),
        ({"own": own_pods(labels={"app": "old"})}, "Service checkout does not select pods of the old template"),
        ({"seen": {"services": (make_service("foreign", selector={"app": "x"}),)}}, ""),
        (
            {"own": own_pods(node="n3"), "view": {"nodes": NODES}},
            "node n3 under its pods is cordoned; the release begins when they have moved or it is uncordoned",
        ),
        ({"own": THERE, "view": {"nodes": NODES}}, ""),
        ({"own": own_pods(node="n3"), "view": {"nodes": None}}, ""),
        ({"own": own_pods(node="n3"), "view": {"nodes": (Node("n3", True),)}}, ""),
        (
            {"workload": {"template": {"needs_separate_nodes": True}}, "view": {"nodes": NODES}},
            "(required anti-affinity), and two sets of them need 4 nodes; there are 2: make the anti-affinity",
        ),
        ({"workload": {"template": {"needs_separate_nodes": True}, "replicas": 1}, "view": {"nodes": NODES}}, ""),
        ({"workload": {"template": {"needs_separate_nodes": True}}, "view": {"nodes": None}}, ""),
        ({"view": {"nodes": NODES}}, ""),
        ({"view": {"quota_short": "quota team leaves too little cpu"}}, "quota team leaves too little cpu"),
    ],
)
def test_everything_that_a_release_needs_is_found_before_it_begins(fields: Any, words: str) -> None:
    stage = make_stage(**fields)

    found = preflight.blocker(stage)

    assert words in found and bool(found) is bool(words)
    if words:
        move = bluegreen.plan(stage)
        assert (move.actions, move.waiting) == ((), found)


@pytest.mark.parametrize(
    ("fields", "kind", "reason"),
    [
        ({"view": {"quota_short": "quota team leaves too little"}}, FailureClass.RESOURCE, "NeverBegan"),
        ({"own": own_pods(node="n3"), "view": {"nodes": NODES}}, FailureClass.TIMEOUT, "NeverBegan"),
        ({"workload": {"strategy": "Recreate"}}, FailureClass.TIMEOUT, "NeverBegan"),
        ({"own": own_pods(OLD), "serving": LATER, "view": {"replica_sets": ()}}, FailureClass.TIMEOUT, "NeverBegan"),
    ],
)
def test_what_is_waited_for_in_vain_fails_the_template(fields: Any, kind: FailureClass, reason: str) -> None:
    waits = bluegreen.plan(make_stage(**fields))
    late = bluegreen.plan(make_stage(status=running(ago=timedelta(minutes=10)), **fields))
    another = bluegreen.plan(make_stage(status=running(LATER, ago=timedelta(minutes=10)), **fields))

    assert waits.failure is None and waits.actions == () and waits.wait is not None
    assert late.actions == (MarkFailed(NEW),)
    assert late.failure is not None and (late.failure.kind, late.failure.reason) == (kind, reason)
    assert waits.waiting in late.failure.message
    assert another.failure is None


@pytest.mark.parametrize(
    ("refusal", "fails"),
    [
        (None, False),
        (ApiRefusal('admission webhook "v" denied the request'), False),
        (ApiRefusal('admission webhook "v" denied the request', of_candidate=True), True),
        (ApiRefusal("exceeded quota: team", of_candidate=True), False),
    ],
)
def test_a_refusal_to_make_the_candidate_ends_the_release(refusal: ApiRefusal | None, fails: bool) -> None:
    found = bluegreen.plan(make_stage(seen={"refusal": refusal}))

    assert (found.failure is not None) is fails
    assert (MarkFailed(NEW) in found.actions) is fails
    assert any(isinstance(each, CreateGreen) for each in found.actions) is not fails


def test_a_candidate_is_as_old_as_its_release() -> None:
    status = running(ago=timedelta(seconds=5))

    known = bluegreen.plan(make_stage(pin=HASHES[OLD], status=status))
    fresh = bluegreen.plan(make_stage(pin=HASHES[OLD], status=Status(observed_generation=1)))

    assert known.actions == (CreateGreen(2, NOW - timedelta(seconds=5)),)
    assert fresh.actions == (CreateGreen(2, NOW),)


SERVED = Status(observed_generation=1, rollout=RolloutStatus(serving=version(OLD)))
BUSY = (*own_pods(NEW, 1), make_retiring("z", ReplaceStep.LEFT, labels=LABELS | {"pod-template-hash": HASHES[NEW]}))


@pytest.mark.parametrize(
    ("fields", "actions", "words"),
    [
        ({}, (Hold(NEW),), ""),
        # Resumed by somebody at rest: taken again.
        ({"serving": NEW, "workload": {"paused": False}}, (Hold(NEW),), ""),
        ({"workload": {"replicas": 0}}, (), ""),
        ({"workload": {"strategy": "Recreate"}}, (), ""),
        ({"own": own_pods(OLD)}, (), "the Deployment rolls by itself; it is adopted when that has ended"),
        ({"own": own_pods(NEW, ready=False)}, (), "the Deployment rolls by itself"),
        ({"workload": {"generation": 2}}, (), "the Deployment rolls by itself"),
        ({"own": BUSY}, (), "pods are being replaced; the Deployment is adopted when that has ended"),
        # Left paused by an earlier life: what has pods is what serves.
        ({"own": own_pods(OLD), "failed": NEW, "workload": {"paused": True}}, (Hold(OLD),), ""),
        ({"own": own_pods(OLD), "failed": LATER, "workload": {"paused": True}}, (Hold(OLD),), ""),
        ({"own": (*own_pods(OLD), *own_pods(NEW)), "failed": NEW, "workload": {"paused": True}}, (), ""),
    ],
)
def test_a_target_is_taken_when_its_template_serves_completely(fields: Any, actions: Any, words: str) -> None:
    found = bluegreen.plan(make_stage(**{"serving": "", "own": own_pods(NEW), "status": SERVED} | fields))

    assert found.actions == actions
    assert words in found.waiting and bool(found.waiting) is bool(words)


@pytest.mark.parametrize(
    ("fields", "actions"),
    [
        ({"serving": "", "own": own_pods(NEW)}, ()),
        ({"serving": NEW, "own": own_pods(NEW)}, (Resume(give_back=True),)),
        # A newer template may roll: that is what the user had without us.
        ({}, (Resume(give_back=True),)),
        ({"failed": NEW, "workload": {"replicas": 0}, "own": ()}, (Resume(give_back=True),)),
    ],
)
def test_a_target_is_given_back_as_the_user_had_it(fields: Any, actions: Any) -> None:
    assert bluegreen.plan(make_stage(leaving=True, **fields)).actions == actions


def test_a_template_that_failed_stays_paused_and_says_why() -> None:
    resume, left = bluegreen.plan(make_stage(leaving=True, failed=NEW)).actions

    assert resume == Resume(give_back=True, stay_paused=True)
    assert isinstance(left, MarkLeft) and "kubectl rollout resume" in left.reason


def test_pins_are_taken_off_before_the_target_is_given_back() -> None:
    stage = make_stage(leaving=True, pin=HASHES[OLD])

    assert [type(each).__name__ for each in bluegreen.plan(stage).actions] == ["Route"]


@pytest.mark.parametrize("step", [None, ReplaceStep.LEFT])
def test_at_rest_nothing_is_done(step: ReplaceStep | None) -> None:
    # Pods that are being replaced are no reason to touch a target that is held already.
    pods = tuple(make_pod(each.name, labels=each.labels, step=step) for each in own_pods(NEW))

    assert bluegreen.plan(make_stage(serving=NEW, own=pods)).actions == ()


def test_without_pods_a_held_target_is_given_back_at_once() -> None:
    stage = make_stage(serving=NEW, own=(), workload={"replicas": 0})

    assert bluegreen.plan(stage).actions == (Resume(give_back=True),)
