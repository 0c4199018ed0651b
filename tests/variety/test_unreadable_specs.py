"""A spec that cannot be read: a later operator wrote it and was rolled back, or the API server takes what we do not.

Giving a workload back needs no spec that can be read: not the pause, not the pin, not the colour that serves.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, cast

import pytest

from resilience.adapters.kube import parse
from resilience.adapters.kube.reader import KubeReader
from resilience.adapters.kube.transport import Transport
from resilience.api.names import ANNOTATION_CLAIM, ANNOTATION_SERVING, FINALIZER
from resilience.api.parts import Problem
from resilience.api.reasons import Colour, ReleaseStep
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.model.actions import Resume
from resilience.core.model.decision import Action, Decision, SetFinalizer
from resilience.core.model.observation import Resource
from resilience.core.model.profiles import resolve
from resilience.ports import ApiOutage, Drainer, Metrics
from resilience.ports.cluster import Cluster
from resilience.runtime.observer import Observer
from resilience.runtime.queue import KeyQueue
from tests.support.factories import KEY, NOW
from tests.support.operator_bench import Calm, make_state
from tests.support.preconditions import require
from tests.support.stages import OLD, Scenario, look
from tests.support.transport import TARGET, FakeTransport
from tests.support.virtual_time import VirtualClock
from tests.variety import manifests
from tests.variety.claims import decided
from tests.variety.manifests import Object

RESOURCES: Final = f"/apis/resilience.dev/v1alpha1/namespaces/{KEY.namespace}/resilientservices"
TEMPLATE: Final = "containers: [{name: app, image: 'shop:1', ports: [{name: http, containerPort: 8080}]}]"
# What this version reads; words of a later one; a word that the API server takes.
READABLE: Final = {"rollout": {"strategy": "BlueGreen"}}
LATER: Final = {"rollout": {"strategy": "Canary"}}
MATCHER: Final = READABLE | {"alerts": {"routes": [{"matchers": ['service=~"pay("'], "receiver": "team"}]}}


def deleted(spec: dict[str, Any]) -> Object:
    """A resource that is being deleted, as the API server gives it back."""
    usual = {
        "targetRef": {"kind": "Deployment", "name": "checkout"},
        "service": {"name": "checkout", "port": "http"},
        "probes": {"management": "Observe"},
    }
    meta = {
        "namespace": KEY.namespace,
        "name": KEY.name,
        "uid": "resource-uid",
        "resourceVersion": "3",
        "generation": 3,
        "finalizers": [FINALIZER],
        "deletionTimestamp": "2026-03-01T12:00:00Z",
    }
    return {"metadata": meta, "spec": usual | spec, "status": {"observedGeneration": 2, "handled": []}}


def observer(reader: KubeReader) -> Observer:
    """The real one over the real reader; nothing was watched, checked or measured yet."""
    clock = VirtualClock()
    state = make_state(KeyQueue(monotonic=clock.monotonic, workers=16), clock, cast(Metrics, None))
    return Observer(
        cluster=cast(Cluster, reader),
        drainer=cast(Drainer, None),
        state=state,
        calm=cast(ApiOutage, Calm()),
        refused=lambda name: False,
    )


async def looked(spec: dict[str, Any]) -> Decision:
    """One pass over the deleted resource; its Deployment is at rest, held paused by us."""
    made = manifests.template(TEMPLATE)
    sets = manifests.replica_set(made)
    notes = {ANNOTATION_SERVING: manifests.read_workload(manifests.deployment(made)).template.fingerprint}
    held = {
        f"{RESOURCES}/{KEY.name}": deleted(spec),
        TARGET: manifests.deployment(made, annotations=notes, paused=True),
        "/apis/apps/v1/namespaces/shop/replicasets?app=checkout": [sets],
        "/api/v1/namespaces/shop/pods?app=checkout": [manifests.pod(made, name) for name in "ab"],
        "/api/v1/namespaces/shop/services": [manifests.service("http")],
    }
    reader = KubeReader(transport=cast(Transport, FakeTransport(held=held)), namespaces=())
    resource = await reader.resource(KEY)
    if resource is None:
        raise RuntimeError("the resource is not there")
    return decided(resource, await observer(reader).observe(resource))


def given_back(actions: Sequence[Action]) -> bool:
    return any(isinstance(action, Resume) and action.give_back for action in actions)


@pytest.mark.parametrize(
    "spec",
    [READABLE, LATER, MATCHER],
    ids=["readable", "of a later version", "a wrong matcher"],
)
async def test_a_deployment_at_rest_is_given_back_before_the_resource_goes(spec: dict[str, Any]) -> None:
    assert given_back((await looked(spec)).actions)


def in_release(step: ReleaseStep, *, readable: bool) -> tuple[Resource, Decision]:
    """A pass over a resource that is deleted in the middle of a release."""
    notes = {ANNOTATION_SERVING: OLD, ANNOTATION_CLAIM: "checkout/resource-uid"}
    resource, seen = look(Scenario(step, workload={"annotations": notes}))
    require(seen.pods is not None and seen.pods.green is not None, "there is no second Deployment")
    resource = replace(resource, deleting_since=NOW)
    if not readable:
        resource = replace(resource, spec=None, problems=(Problem("targetRef", "", "spec.targetRef: Field required"),))
    return resource, decided(resource, seen)


@pytest.mark.parametrize("step", [ReleaseStep.PREPARING, ReleaseStep.WARM], ids=str)
@pytest.mark.parametrize("readable", [True, False], ids=["readable", "not"])
def test_in_a_release_the_resource_stays_until_the_second_colour_has_gone(step: ReleaseStep, readable: bool) -> None:
    resource, decision = in_release(step, readable=readable)
    require(FINALIZER in resource.finalizers, "nothing keeps the resource")

    assert SetFinalizer(present=False) not in decision.actions


BOTH_WAYS: Final = [(step, colour) for step in ReleaseStep for colour in Colour]


@pytest.mark.parametrize(("step", "towards"), BOTH_WAYS, ids=str)
def test_a_release_goes_back_by_the_same_steps_without_a_spec(step: ReleaseStep, towards: Colour) -> None:
    notes = {ANNOTATION_SERVING: OLD, ANNOTATION_CLAIM: "checkout/resource-uid"}
    resource, seen = look(Scenario(step, towards, workload={"annotations": notes}))
    resource = replace(resource, deleting_since=NOW)
    require(resource.spec is not None, "the spec cannot be read")
    status = resource.status.model_copy(update={"effective": resolve(cast(ResilientServiceSpec, resource.spec))})
    resource = replace(resource, status=status)

    assert decided(replace(resource, spec=None), seen) == decided(resource, seen)


DRAIN: Final = {"signal": {"http": {"path": "/drain", "port": "admin"}}, "maxWait": "20s"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"rollout": {"strategy": "Canary"}},
        {"slo": {"availability": "101%"}},
        {"targetRef": {"kind": "Rollout", "name": "checkout"}},
        {"targetRef": None},
        {"health": {"checks": [{"name": "a", "http": {"path": 7}}, {"http": {"path": "/"}}]}},
        {"service": "checkout"},
        {"drain": DRAIN | {"gracePeriod": "soon", "quiet": {"http": {}}}},
    ],
    ids=str,
)
def test_what_can_be_read_of_a_spec_drains_its_clients(wrong: dict[str, Any]) -> None:
    raw = deleted({"drain": DRAIN} | wrong)

    read = parse.resource(raw)

    require(bool(read.problems), "this version reads it")
    spec = read.spec or read.remains
    assert spec is not None and spec.drain.signal is not None
    assert spec.drain.max_wait == timedelta(seconds=20)
    assert (read.target_ref is None) is ("targetRef" in wrong)


@pytest.mark.parametrize("raw", [None, [], "a", {}, {"targetRef": []}, {"health": {"checks": ["a", 1, None]}}], ids=str)
def test_no_spec_is_too_strange_to_be_deleted(raw: Any) -> None:
    strange = deleted({}) | {"spec": raw}

    read = parse.resource(strange)

    assert read.spec is None and read.remains is not None
