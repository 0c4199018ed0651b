"""Names of ports in the whole pod: which container's is meant, and what happens when none has it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from resilience.adapters.kube import parse_workload, quota
from resilience.api.reasons import ConditionType, Reason, ReplaceStep, RestartOutcome
from resilience.api.status import Status
from resilience.api.status_restarts import RestartStatus
from resilience.api.v1alpha1 import TargetKind
from resilience.core.health import ports
from resilience.core.health.targets import signal_target
from resilience.core.model import conditions
from resilience.core.model.decision import Advance, TakeOver
from resilience.core.model.service import ServicePort
from resilience.core.model.workload import ContainerPort
from resilience.core.ownership import managed_probes
from resilience.core.reconcile import decide
from resilience.core.replacement import availability
from resilience.core.rollouts import adoption, bluegreen, preflight
from tests.support.factories import (
    LONG_AGO,
    NOW,
    READY_CHECK,
    make_container,
    make_context,
    make_pod,
    make_resource,
    make_retiring,
    make_seen,
    make_service,
    make_spec,
    make_view,
    make_workload,
)
from tests.support.stages import make_stage

FRONT: Final = make_container(name="front", ports=(ContainerPort("http", 9090), ContainerPort("side", 9091)))
TWO: Final = make_workload(containers=(FRONT, make_container()))
NATIVE: Final = ContainerPort("side", 9091, container="proxy")
LOST: Final = {"drain": {"signal": {"http": {"path": "/drain", "port": "nowhere"}}}}
SIGNAL: Final = {"signal": {"http": {"path": "/", "port": "http"}}}
ASK: Final = {"resilience.dev/restart-requested-at": "now"}


@pytest.mark.parametrize(
    ("wanted", "prefer", "number"),
    [
        ("http", None, 9090),
        ("http", "front", 9090),
        ("http", "app", 8080),
        ("http", "unknown", 9090),
        ("side", "app", 9091),
        ("nowhere", "app", None),
        (7, "app", 7),
    ],
)
def test_the_preferred_container_then_the_first_in_the_pod(
    wanted: int | str, prefer: str | None, number: int | None
) -> None:
    assert ports.container_port(TWO.template.ports, wanted, prefer=prefer) == number


def test_native_sidecars_come_last_and_only_tcp_ports_are_meant() -> None:
    udp = make_container(name="quic", ports=(ContainerPort("side", 9091, is_tcp=False),))
    template = replace(make_workload(containers=(udp,)).template, sidecar_ports=(replace(NATIVE, number=7),))

    assert [port.container for port in template.ports] == ["quic", "proxy"]
    assert ports.container_port(template.ports, "side") == 7


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "names port http, which several containers have: front (9090), app (8080); 9090 is used"),
        ({"container": "app"}, "9090 is used"),
        ({"container": "app", "drain": SIGNAL, "service": None}, "8080 is used"),
    ],
)
def test_a_choice_between_containers_is_told(spec: Any, words: str) -> None:
    fields = {key: value for key, value in spec.items() if value is not None}
    made = make_spec(**fields)
    made = made.model_copy(update={"service": None}) if "service" in spec else made
    found = decide(make_resource(made), make_seen(make_pod(), workload=TWO), NOW)

    assert found.status is not None and words in found.status.explanation


def test_no_choice_is_told_where_there_is_none() -> None:
    found = decide(make_resource(), make_seen(make_pod()), NOW)

    assert found.status is not None and "several containers" not in found.status.explanation


def test_a_missing_port_is_stalled_with_an_event_and_a_remedy() -> None:
    service = make_service(ports=(ServicePort("http", 80, "nowhere"),))

    found = decide(make_resource(), make_seen(make_pod(), services=(service,)), NOW)

    assert found.status is not None
    stalled = conditions.find(found.status.conditions, ConditionType.STALLED)
    assert stalled is not None and (stalled.status, stalled.reason) == ("True", Reason.PORT_NOT_FOUND)
    assert "there are http (8080)" in stalled.message and "correct its targetPort" in stalled.message
    assert [event.message for event in found.events if event.reason is Reason.PORT_NOT_FOUND] == [stalled.message]


@pytest.mark.parametrize("kind", TargetKind)
def test_a_restart_whose_drain_would_be_skipped_is_refused(kind: TargetKind) -> None:
    spec = make_spec(**LOST, targetRef={"kind": kind, "name": "checkout"})

    found = decide(make_resource(spec, annotations=ASK), make_seen(make_pod(), workload=make_workload(kind=kind)), NOW)

    assert found.status is not None and found.status.last_restart is not None
    assert found.status.last_restart.result is RestartOutcome.REFUSED
    assert "drain.signal names port nowhere" in found.status.last_restart.message
    assert not any(isinstance(action, TakeOver) for action in found.actions)


def test_a_policy_is_blocked_by_it() -> None:
    old = {"name": "old", "uptime": {"above": "1h"}}
    spec = make_spec(**LOST, restart={"policies": [old]})

    found = decide(make_resource(spec), make_seen(make_pod(), workload=make_workload(replicas=1)), NOW)

    assert found.status is not None
    assert (found.status.restart, found.status.restarts.blocked_by) == (None, "PortNotFound")


def test_no_release_begins_with_it() -> None:
    assert "drain.signal names port nowhere" in preflight.blocker(make_stage(spec=LOST))
    assert bluegreen.plan(make_stage(spec=LOST)).actions == ()


def test_a_pod_that_cannot_be_signalled_any_more_is_told() -> None:
    pod = make_retiring("old", ReplaceStep.LEFT, labels={"app": "left"})
    new = tuple(make_pod(name, created=NOW) for name in "xyz")

    begun = RestartStatus(request="now", trace_id="t", started_at=NOW, born_before=LONG_AGO, total=3)
    status = Status(observed_generation=1, restart=begun)

    found = decide(make_resource(make_spec(**LOST), status=status), make_seen(pod, *new), NOW + timedelta(minutes=1))

    assert any(isinstance(action, Advance) and action.step is ReplaceStep.DRAINING for action in found.actions)
    told = [event.message for event in found.events if event.reason is Reason.POD_NOT_GENTLE]
    assert "pod old gets no drain signal: none of its containers has port nowhere" in told[0]


def test_a_signal_goes_to_the_main_container_first() -> None:
    spec = make_spec(container="app", drain=SIGNAL)
    pod = make_pod(ports=(ContainerPort("http", 9090, container="front"), ContainerPort("http", 8080, container="app")))

    target = signal_target(spec, pod)

    assert target is not None and target.port == 8080


@pytest.mark.parametrize(("target", "port"), [("http", "http"), ("side", 9091)])
def test_a_probe_of_another_containers_port_has_its_number(target: str, port: int | str) -> None:
    """The kubelet looks names up in the probe's own container only."""
    template = replace(make_workload().template, sidecar_ports=(NATIVE,))
    spec = make_spec(
        probes={"management": "Managed", "readiness": {"check": "ready"}}, health={"checks": [READY_CHECK]}
    )
    service = make_service(ports=(ServicePort("http", 80, target),))
    resource, seen = make_resource(spec), make_seen(make_pod(), services=(service,))
    context = make_context(resource, seen)

    found = managed_probes.plan(
        spec,
        context.effective,
        template.containers[0],
        service,
        grace_period=timedelta(seconds=30),
        ports=template.ports,
    )

    assert found.fields["readinessProbe"]["httpGet"]["port"] == port  # type: ignore[index]


def test_the_host_port_of_a_native_sidecar_counts() -> None:
    template = replace(make_workload().template, sidecar_ports=(replace(NATIVE, on_host=True),))
    workload = make_workload(template=template)

    refusal = availability.replacement_refusal(workload, make_view())

    assert refusal is not None and "host port 9091" in refusal.message
    assert "host port 9091" in adoption.obstacle(
        make_stage(workload={"template": {"sidecar_ports": template.sidecar_ports}})
    )


SIDECAR: Final = {
    "name": "proxy",
    "restartPolicy": "Always",
    "ports": [{"name": "side", "containerPort": 9091}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}],
    "resources": {"requests": {"memory": "1Gi"}},
}
SETUP: Final = {"name": "setup", "ports": [{"name": "early", "containerPort": 1}]}


def test_native_sidecars_are_read_and_other_init_containers_are_not() -> None:
    spec = {"initContainers": [SETUP, SIDECAR], "containers": [{"name": "app", "image": "shop:1"}]}
    raw = {
        "metadata": {"namespace": "shop", "name": "checkout", "uid": "u", "resourceVersion": "1"},
        "spec": {"template": {"metadata": {}, "spec": spec}},
    }

    template = parse_workload.workload(TargetKind.DEPLOYMENT, raw).template

    assert template.ports == (NATIVE, ContainerPort("dns", 53, container="proxy", is_tcp=False))
    assert [container.name for container in template.containers] == ["app"]


def test_a_quota_counts_what_a_native_sidecar_requests() -> None:
    full = {"metadata": {"name": "q"}, "status": {"hard": {"requests.memory": "1Gi"}, "used": {}}}

    assert quota.short([full], {"containers": [{}], "initContainers": [SETUP]}, pods=2) == ""
    assert "too little requests.memory" in quota.short(
        [full], {"containers": [{}], "initContainers": [SIDECAR]}, pods=2
    )
