"""The Service leads to a sidecar (nginx, oauth2-proxy, a TLS terminator), or the sidecar takes the drain signal.

A native sidecar is an init container with `restartPolicy: Always`. Ports of every container of a pod count, by name and
by number; what no container has is told before anything begins.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from resilience.api.names import ANNOTATION_CLAIM, ANNOTATION_SERVING, LABEL_RETIRING, LABEL_TEMPLATE_HASH
from resilience.api.reasons import ConditionType, ReleaseStep, ReplaceStep
from resilience.core.model.actions import CreateGreen
from resilience.core.model.conditions import find
from resilience.core.model.decision import Decision, SendSignal
from resilience.core.model.observation import Pod
from resilience.core.model.probes import HttpProbe
from resilience.core.model.service import ServicePort
from tests.support.factories import LABELS, NOW, READY_CHECK, make_resource, make_seen, make_service, make_spec
from tests.support.preconditions import require
from tests.support.stages import GREEN_HASH, GREEN_LABELS, HASHES, OLD, Scenario, look
from tests.variety import manifests
from tests.variety.claims import decided, status_of
from tests.variety.manifests import Object

APP: Final = "{name: app, image: 'shop:1', ports: [{name: http, containerPort: 8080}]}"
FRONT: Final = "{name: front, image: 'nginx:1', %s ports: [{name: front, containerPort: 9090}]}"
TEMPLATES: Final = {
    "native": f"{{initContainers: [{FRONT % 'restartPolicy: Always,'}], containers: [{APP}]}}",
    "ordinary": f"containers: [{APP}, {FRONT % ''}]",
}
IP: Final = "10.0.0.7"
SECOND: Final = timedelta(seconds=1)


def template(kind: str) -> Object:
    return manifests.template(TEMPLATES[kind])


def asked(decision: Decision, check: str) -> set[tuple[str, int]]:
    """The addresses that this check is sent to."""
    probes = [item.probe for item in decision.checks if item.check == check]
    return {(item.target.host, item.target.port) for item in probes if isinstance(item, HttpProbe)}


def preparing(kind: str, leads_to: int | str) -> Decision:
    """A pass over a release whose candidate is ready, and whose gate is about to be asked."""
    made, labels = template(kind), GREEN_LABELS | {LABEL_TEMPLATE_HASH: GREEN_HASH}
    candidate = manifests.read_pod(manifests.pod(made, "green-0", ip=IP, labels=labels))
    service = make_service(
        selector=LABELS | {LABEL_TEMPLATE_HASH: HASHES[OLD]}, pinned=True, ports=(ServicePort("http", 80, leads_to),)
    )
    read = manifests.read_workload(manifests.deployment(made)).template
    notes = {ANNOTATION_SERVING: OLD, ANNOTATION_CLAIM: "checkout/resource-uid"}
    resource, seen = look(
        Scenario(
            ReleaseStep.PREPARING,
            green=(candidate,),
            rollout={"before": {"checks": ["ready"], "for": "2s"}},
            workload={"template": manifests.without_identity(read), "annotations": notes},
            of_green={"replicas": 1},
            seen={"services": (service,)},
        )
    )
    return decided(resource, seen)


@pytest.mark.parametrize(
    ("kind", "leads_to", "number"),
    [
        ("native", "http", 8080),
        ("native", 9090, 9090),
        ("native", "front", 9090),
        ("ordinary", "front", 9090),
    ],
)
def test_a_gate_is_asked_where_the_service_leads_to(kind: str, leads_to: int | str, number: int) -> None:
    assert asked(preparing(kind, leads_to), "gate/ready") == {(IP, number)}


def looked(kind: str, pod: Pod, **spec: Any) -> Decision:
    """A pass over a service with one pod of this kind."""
    workload = manifests.read_workload(manifests.deployment(template(kind), replicas=1))
    return decided(make_resource(make_spec(**spec)), make_seen(pod, workload=workload))


@pytest.mark.parametrize(
    ("kind", "port"),
    [
        ("native", 9090),
        ("native", "front"),
        ("ordinary", "front"),
    ],
)
def test_a_check_of_every_pod_may_name_the_sidecars_port(kind: str, port: int | str) -> None:
    check = {"name": "side", "scope": "Pod", "http": {"path": "/readyz", "port": port}}
    pod = manifests.read_pod(manifests.pod(template(kind), ip=IP))

    assert asked(looked(kind, pod, health={"checks": [check]}), "side") == {(IP, 9090)}


@pytest.mark.parametrize("kind", ["native", "ordinary"])
def test_a_drain_signal_goes_to_the_sidecar_that_takes_it(kind: str) -> None:
    """The pod has left its Services, everybody knows, and its clients are to be told."""
    signal = {"signal": {"http": {"path": "/drain", "port": "front"}}, "maxWait": "10s", "propagationDelay": "1s"}
    owner = {"kind": "Deployment", "uid": "workload-uid", "controller": True}
    raw = manifests.pod(template(kind), ip=IP, labels={LABEL_RETIRING: "left"}, ownerReferences=[owner])
    pod = replace(manifests.read_pod(raw), step_since=NOW - 5 * SECOND, taken_at=NOW - 9 * SECOND)
    require(pod.step is ReplaceStep.LEFT, "the pod is not being replaced")

    decision = looked(kind, pod, drain=signal)

    sent = [(item.target.host, item.target.port) for item in decision.actions if isinstance(item, SendSignal)]
    assert sent == [(IP, 9090)]


def stalled(decision: Decision) -> bool:
    """True when status says that a person has to mend something."""
    condition = find(status_of(decision).conditions, ConditionType.STALLED)
    return condition is not None and condition.status == "True"


SIDE: Final = {"name": "side", "scope": "Pod", "http": {"path": "/", "port": "nowhere"}}
SIGNAL: Final = {"signal": {"http": {"path": "/drain", "port": "nowhere"}}}
QUIET: Final = {"quiet": {"http": {"path": "/connections", "port": "nowhere", "json": "active"}}}


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ({"health": {"checks": [READY_CHECK]}}, False),
        ({"health": {"checks": [SIDE]}}, True),
        ({"drain": SIGNAL}, True),
        ({"drain": QUIET}, True),
    ],
    ids=["none", "check", "signal", "quiet"],
)
def test_a_port_that_no_container_has_is_for_a_person_to_mend(spec: Any, wrong: bool) -> None:
    pod = manifests.read_pod(manifests.pod(template("ordinary")))

    assert stalled(looked("ordinary", pod, **spec)) is wrong


@pytest.mark.parametrize(("leads_to", "begins"), [("http", True), ("nowhere", False)], ids=["a port", "none"])
def test_no_release_begins_while_its_gate_has_no_port_to_ask(leads_to: str, begins: bool) -> None:
    ports = (ServicePort("http", 80, leads_to),)
    notes = {ANNOTATION_SERVING: OLD, ANNOTATION_CLAIM: "checkout/resource-uid"}
    resource, seen = look(
        Scenario(
            rollout={"before": {"checks": ["ready"]}},
            workload={"annotations": notes},
            seen={"services": (make_service(ports=ports),)},
        )
    )

    decision = decided(resource, seen)

    assert any(isinstance(item, CreateGreen) for item in decision.actions) is begins
