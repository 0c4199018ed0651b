"""Pods that start slowly, share names of ports, are listed before they are ready, or are very many."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import pytest

from resilience.adapters.kube import parse
from resilience.api.reasons import HealthState, ReplaceStep
from resilience.core.model.context import Context
from resilience.core.model.service import Endpoint
from resilience.core.replacement.context import ReplacementContext, ReplacementRequest
from resilience.core.replacement.plan import plan_replacements
from resilience.core.restarts import policies
from resilience.core.rollouts import gates
from resilience.core.rollouts.gates import PREFIX
from tests.support.factories import (
    NOW,
    make_check,
    make_context,
    make_endpoint,
    make_pod,
    make_resource,
    make_retiring,
    make_seen,
    make_spec,
    make_view,
    make_workload,
)
from tests.variety import manifests
from tests.variety.manifests import Object

LIVE: Final = {"name": "live", "scope": "Pod", "http": {"path": "/livez", "port": "http"}}
STUCK: Final = {"policies": [{"name": "stuck", "check": {"name": "live", "failures": 3}}]}
SLOW: Final = manifests.template(
    "containers: [{name: app, image: 'shop:1', ports: [{name: http, containerPort: 8080}]}]"
)
NAMESAKES: Final = manifests.template(
    """
    containers:
    - {name: proxy, image: 'envoy:1', ports: [{name: http, containerPort: 15000}]}
    - {name: app, image: 'shop:1', ports: [{name: http, containerPort: 8080}]}
    """
)


def starting(*, initialized: str, age: timedelta) -> Object:
    """A pod of this age that was never ready; none of its containers has started."""
    born = (NOW - age).isoformat()
    raw = manifests.pod(SLOW, creationTimestamp=born)
    raw["status"]["conditions"] = [
        {"type": "Initialized", "status": initialized, "lastTransitionTime": born},
        {"type": "Ready", "status": "False", "lastTransitionTime": born},
    ]
    return raw


def fired(raw: Object) -> bool:
    """The policy fires for the pod, whose check has failed often enough."""
    pod = manifests.read_pod(raw)
    failing = make_check("policy/stuck", HealthState.UNHEALTHY, by_pod={pod.uid: HealthState.UNHEALTHY})
    spec = make_spec(health={"checks": [LIVE]}, restart=STUCK)
    return bool(policies.firing(make_context(make_resource(spec), make_seen(pod, checks={"policy/stuck": failing}))))


@pytest.mark.parametrize(
    ("initialized", "minutes", "fires"),
    [("False", 1, False), ("False", 5, False), ("True", 1, False), ("True", 5, True)],
)
def test_the_time_to_start_begins_after_the_init_containers(initialized: str, minutes: int, fires: bool) -> None:
    assert fired(starting(initialized=initialized, age=timedelta(minutes=minutes))) is fires


def gate_ports(scope: str, container: str) -> set[int]:
    check = LIVE | {"scope": scope}
    spec = make_spec(health={"checks": [check]}, container=container, rollout={"before": {"checks": ["live"]}})
    pod, workload = (
        manifests.read_pod(manifests.pod(NAMESAKES)),
        manifests.read_workload(manifests.deployment(NAMESAKES, replicas=1)),
    )
    service = parse.service(manifests.service("http"))
    context = make_context(make_resource(spec), make_seen(pod, workload=workload, services=(service,)))
    made = gates.check_targets(spec.rollout.before, spec, context.effective, context.observation, (pod,))
    assert {target.check for target in made} == {PREFIX + "live"}
    return {target.probe.target.port for target in made}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("scope", "container", "port"),
    [("Pod", "app", 8080), ("Pod", "proxy", 15000), ("Service", "app", 15000), ("Service", "proxy", 15000)],
)
def test_of_two_ports_of_one_name_a_gate_asks_the_one_that_its_check_means(
    scope: str, container: str, port: int
) -> None:
    """A Service leads to the first container that has the name; a Pod-scope check is about the one of the spec."""
    assert gate_ports(scope, container) == {port}


def test_an_unready_pod_that_is_published_all_the_same_gets_no_clients_of_ours() -> None:
    entry = {
        "addresses": ["10.0.0.7"],
        "targetRef": {"kind": "Pod", "name": "a", "uid": "uid-a"},
        # publishNotReadyAddresses: `ready` is always true, and `serving` is the pod's readiness.
        "conditions": {"ready": True, "serving": False, "terminating": False},
    }
    (found,) = parse.endpoints({"metadata": {"name": "s", "labels": {}}, "endpoints": [entry]})

    assert not found.counts


@dataclass(frozen=True, slots=True)
class Counted(Endpoint):
    """An endpoint that counts how often it is looked at."""

    @property
    def counts(self) -> bool:
        LOOKS[0] += 1
        return self.serving and not self.terminating


LOOKS: Final = [0]


@pytest.fixture
def looks() -> Iterator[list[int]]:
    LOOKS[0] = 0
    yield LOOKS


def restart_of(count: int, *, ready: bool) -> Context:
    """All pods are to be restarted; one is being replaced already."""
    usual = [make_pod(f"p{number}", ready=ready) for number in range(count)]
    pods = [*usual, make_retiring("old", ReplaceStep.REPLACING)]
    listed = tuple(
        Counted(**{name: getattr(made, name) for name in Endpoint.__slots__}) for made in map(make_endpoint, pods)
    )
    observation = replace(make_seen(*pods), endpoints=listed, workload=make_workload(replicas=count))
    return make_context(make_resource(), observation)


@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize("count", [50, 200])
def test_a_plan_looks_at_each_endpoint_a_few_times_however_many_pods_there_are(
    looks: list[int], count: int, ready: bool
) -> None:
    context = restart_of(count, ready=ready)
    view = make_view(*(context.observation.pods.pods if context.observation.pods else ()))
    for undo in (False, True):
        wish = ReplacementRequest(born_before=NOW, not_before=None, undo=undo)
        assert plan_replacements(ReplacementContext(context, view, wish)).remaining == count + 1
    assert looks[0] <= 5 * count
