"""Builders of the core's views with sensible defaults: a test names only what it is about."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from resilience.api.names import ANNOTATION_CLAIM, FIELD_MANAGER, FINALIZER, LABEL_MANAGED
from resilience.api.reasons import HealthState
from resilience.api.status import Status
from resilience.api.v1alpha1 import ResilientServiceSpec, TargetKind
from resilience.core.model.check_state import CheckState
from resilience.core.model.context import Context
from resilience.core.model.observation import Key, Observation, Pod, PodsView, Resource
from resilience.core.model.profiles import resolve
from resilience.core.model.service import Endpoint, Service, ServicePort
from resilience.core.model.workload import Container, ContainerPort, ReplicaSet, Template, Workload

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=1)
KEY = Key("shop", "checkout")
LABELS = {"app": "checkout"}
HASH = "5d4c"
RS = ReplicaSet(name=f"checkout-{HASH}", uid="rs-uid", template_hash=HASH, replicas=3, is_current=True)
READY_CHECK = {"name": "ready", "http": {"path": "/readyz"}}
LIVE_CHECK = {"name": "live", "scope": "Pod", "http": {"path": "/livez", "port": "http"}}


def make_spec(**fields: Any) -> ResilientServiceSpec:
    """A Deployment behind a Service, nothing managed; fields by their API names."""
    raw: dict[str, Any] = {
        "profile": "Test",
        "targetRef": {"kind": "Deployment", "name": "checkout"},
        "service": {"name": "checkout", "port": "http"},
        "probes": {"management": "Observe"},
    }
    return ResilientServiceSpec.model_validate(raw | fields)


def make_resource(
    spec: ResilientServiceSpec | None = None,
    *,
    status: Status | None = None,
    annotations: Mapping[str, str] | None = None,
    **fields: Any,
) -> Resource:
    made = Resource(
        key=KEY,
        uid="resource-uid",
        resource_version="1",
        generation=1,
        created=LONG_AGO,
        annotations=annotations or {},
        finalizers=(FINALIZER,),
        deleting_since=None,
        spec=spec or make_spec(),
        status=status or Status(observed_generation=1),
        raw_status={},
    )
    return replace(made, **fields)


def make_container(**fields: Any) -> Container:
    return replace(Container(name="app", image="shop:1", ports=(ContainerPort("http", 8080),)), **fields)


def make_workload(*, replicas: int = 3, containers: Iterable[Container] | None = None, **fields: Any) -> Workload:
    """A settled and claimed workload at full size."""
    made = Workload(
        kind=TargetKind.DEPLOYMENT,
        namespace=KEY.namespace,
        name="checkout",
        uid="workload-uid",
        resource_version="1",
        generation=1,
        observed_generation=1,
        labels={LABEL_MANAGED: "true"},
        annotations={ANNOTATION_CLAIM: f"{KEY.name}/resource-uid"},
        selector=LABELS,
        template=Template(labels=LABELS, containers=tuple(containers or (make_container(),))),
        replicas=replicas,
        current=replicas,
        updated=replicas,
        ready=replicas,
        available=replicas,
        strategy="RollingUpdate",
        min_ready_seconds=0,
    )
    return replace(made, **fields)


def make_pod(name: str = "a", *, ready: bool = True, **fields: Any) -> Pod:
    """An old pod of the current ReplicaSet that serves."""
    made = Pod(
        name=name,
        uid=f"uid-{name}",
        resource_version="1",
        labels=LABELS | {"pod-template-hash": HASH},
        created=LONG_AGO,
        ready=ready,
        available=ready,
        deleting=False,
        owner_kind="ReplicaSet",
        owner_uid=RS.uid,
        ip=f"10.0.0.{len(name) + ord(name[-1]) % 200}",
        ports=(ContainerPort("http", 8080),),
        trouble="",
    )
    return replace(made, **fields)


def make_retiring(name: str, step: Any, *, since: datetime = NOW, taken: datetime | None = None, **fields: Any) -> Pod:
    """A pod that was taken over."""
    return make_pod(
        name,
        step=step,
        step_since=since,
        taken_at=taken or since,
        owner_kind="Deployment",
        owner_uid="workload-uid",
        **fields,
    )


def make_service(name: str = "checkout", **fields: Any) -> Service:
    made = Service(
        namespace=KEY.namespace,
        name=name,
        selector=LABELS,
        cluster_ip="10.96.0.1",
        ports=(ServicePort("http", 80, "http"),),
        managed=True,
    )
    return replace(made, **fields)


def make_endpoint(pod: Pod, *, service: str = "checkout", **fields: Any) -> Endpoint:
    made = Endpoint(
        service=service,
        pod_name=pod.name,
        pod_uid=pod.uid,
        ip=pod.ip,
        serving=pod.ready,
        terminating=pod.deleting,
        ports={"http": 8080},
    )
    return replace(made, **fields)


def make_view(*pods: Pod, **fields: Any) -> PodsView:
    return replace(PodsView(pods=pods, replica_sets=(RS,)), **fields)


def make_seen(*pods: Pod, view: PodsView | None = None, quiet: bool = False, **fields: Any) -> Observation:
    """An observation in which every Service lists the pods that it selects. `quiet`: pods were not read."""
    view = view or make_view(*pods)
    services = fields.pop("services", (make_service(),))
    listed = tuple(
        make_endpoint(pod, service=service.name)
        for service in services
        for pod in view.pods
        if service.selects(pod.labels)
    )
    made = Observation(
        workload=make_workload(replicas=sum(pod.step is None and not pod.deleting for pod in view.pods)),
        services=services,
        endpoints=listed,
        pods=None if quiet else view,
    )
    return replace(made, **fields)


def make_check(name: str = "ready", state: HealthState = HealthState.HEALTHY, **fields: Any) -> CheckState:
    return replace(CheckState(name, state, "Passed", "GET /readyz answered 200", LONG_AGO, 0.01), **fields)


def owned(*fields: str, by: str = FIELD_MANAGER) -> dict[str, frozenset[str]]:
    """Owners of template fields."""
    return {field: frozenset({by}) for field in fields}


def make_context(
    resource: Resource, observation: Observation, *, status: Status | None = None, now: datetime = NOW
) -> Context:
    """A pass over a resource whose target exists; its status is the resource's unless another is given."""
    assert resource.spec is not None
    workload, known = observation.workload or make_workload(), status or resource.status
    return Context(resource, resource.spec, resolve(resource.spec), observation, workload, known, now)
