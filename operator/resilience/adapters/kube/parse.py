"""Raw objects of the API to the small views of `core.observation`. No I/O, no decision."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from resilience.api.names import (
    ANNOTATION_STEP_SINCE,
    ANNOTATION_TAKEN_AT,
    LABEL_MANAGED,
    LABEL_MANAGED_VALUE,
    LABEL_RETIRING,
)
from resilience.api.reasons import ReplaceStep
from resilience.api.status import Status
from resilience.api.v1alpha1 import ResilientServiceSpec, TargetKind
from resilience.core.observation import (
    TEMPLATE_FIELDS,
    Budget,
    Container,
    ContainerPort,
    Endpoint,
    Key,
    Pod,
    ReplicaSet,
    Resource,
    Service,
    ServicePort,
    Template,
    Workload,
)

Json = Mapping[str, Any]
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def time(text: object) -> datetime | None:
    """An RFC 3339 time as the API writes it; None when it is missing, odd or without a zone."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def resource(raw: Json) -> Resource:
    """A ResilientService; a spec that cannot be read leaves `spec` None and says why."""
    meta = raw["metadata"]
    spec, problem = None, ""
    try:
        spec = ResilientServiceSpec.model_validate(raw.get("spec") or {})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        problem = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    raw_status = raw.get("status") or {}
    status = _status(raw_status)
    return Resource(
        key=Key(meta["namespace"], meta["name"]),
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        generation=meta.get("generation", 0),
        created=time(meta.get("creationTimestamp")) or _LONG_AGO,
        annotations=meta.get("annotations") or {},
        finalizers=tuple(meta.get("finalizers") or ()),
        deleting_since=time(meta.get("deletionTimestamp")),
        spec=spec,
        problem=problem,
        status=status,
        raw_status=raw_status,
    )


def _status(raw: Json) -> Status:
    """What of a status can be read: a newer operator, or somebody's hand, may have written the rest."""
    try:
        return Status.model_validate(raw)
    except ValidationError:
        known = {name: value for name, value in raw.items() if _readable(name, value)}
    if "handled" not in known:
        # Which requests were handled is not known: as on the first look, what is there is noted and not executed.
        known.pop("observedGeneration", None)
    return Status.model_validate(known)


def _readable(name: str, value: object) -> bool:
    try:
        Status.model_validate({name: value})
    except ValidationError:
        return False
    return True


def workload(kind: TargetKind, raw: Json) -> Workload:
    """A Deployment, StatefulSet or DaemonSet."""
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status") or {}
    replicas, current, updated, ready, available = _counts(kind, spec, status)
    strategy = (spec.get("strategy") or spec.get("updateStrategy") or {}).get("type", "RollingUpdate")
    return Workload(
        kind=kind,
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        generation=meta.get("generation", 0),
        observed_generation=status.get("observedGeneration", 0),
        labels=meta.get("labels") or {},
        annotations=meta.get("annotations") or {},
        selector=(spec.get("selector") or {}).get("matchLabels") or {},
        template=_template(spec["template"], meta.get("managedFields") or []),
        replicas=replicas,
        current=current,
        # With OnDelete nobody rolls: old pods stay until somebody ends them.
        updated=current if strategy == "OnDelete" else updated,
        ready=ready,
        available=available,
        strategy=strategy,
        min_ready_seconds=spec.get("minReadySeconds", 0),
        trouble=_failure(status),
    )


def _failure(status: Json) -> str:
    """What a Deployment says when a quota or an admission check keeps its ReplicaSet from making pods."""
    conditions = status.get("conditions") or []
    return next(
        (
            str(each.get("message", ""))[:300]
            for each in conditions
            if each["type"] == "ReplicaFailure" and each["status"] == "True"
        ),
        "",
    )


def _counts(kind: TargetKind, spec: Json, status: Json) -> tuple[int, int, int, int, int]:
    """Desired, existing, updated, ready and available pods."""
    if kind is TargetKind.DAEMON_SET:
        names = ("currentNumberScheduled", "updatedNumberScheduled", "numberReady", "numberAvailable")
        current, updated, ready, available = (int(status.get(name, 0)) for name in names)
        return int(status.get("desiredNumberScheduled", 0)), current, updated, ready, available
    names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    current, updated, ready, available = (int(status.get(name, 0)) for name in names)
    desired = 1 if spec.get("replicas") is None else int(spec["replicas"])
    if kind is TargetKind.STATEFUL_SET and not _stateful_set_rolls(desired, spec, status):
        # Its status counts ending pods among the existing ones and not among the updated ones.
        updated = current
    return desired, current, updated, ready, available


def _stateful_set_rolls(desired: int, spec: Json, status: Json) -> bool:
    """Whether its controller is going to replace pods by itself: those below the partition stay as they are."""
    partition = int(((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition") or 0)
    same = status.get("currentRevision") == status.get("updateRevision")
    return not same and int(status.get("updatedReplicas", 0)) < desired - partition


def _template(raw: Json, managed: Iterable[Json]) -> Template:
    spec = raw.get("spec") or {}
    owners = _owners(managed)
    volumes = spec.get("volumes") or []
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume]
    return Template(
        labels=(raw.get("metadata") or {}).get("labels") or {},
        containers=tuple(_container(each, owners.get(each["name"], {})) for each in spec.get("containers") or []),
        host_network=bool(spec.get("hostNetwork")),
        grace_period=_grace_period(spec),
        claims=tuple(claims),
    )


def _container(raw: Json, owners: Mapping[str, frozenset[str]]) -> Container:
    fields = {name: raw[name] for name in TEMPLATE_FIELDS if raw.get(name)}
    hook = fields.get("lifecycle", {}).get("preStop")
    if hook is None:
        # Only the preStop hook is ever ours; a postStart alone leaves the place free.
        fields.pop("lifecycle", None)
    else:
        fields["lifecycle"] = {"preStop": hook}
    return Container(name=raw["name"], image=raw.get("image", ""), ports=_ports(raw), fields=fields, owners=owners)


def _ports(container: Json) -> tuple[ContainerPort, ...]:
    return tuple(
        ContainerPort(port.get("name", ""), int(port["containerPort"]), bool(port.get("hostPort")))
        for port in container.get("ports") or []
    )


def _grace_period(pod_spec: Json) -> timedelta:
    seconds = pod_spec.get("terminationGracePeriodSeconds")
    return timedelta(seconds=30 if seconds is None else seconds)


def _owners(managed: Iterable[Json]) -> dict[str, dict[str, frozenset[str]]]:
    """Container name → template field → field managers, read from `metadata.managedFields`."""
    found: dict[str, dict[str, frozenset[str]]] = {}
    for entry in managed:
        if entry.get("subresource"):
            continue
        pod = ((entry.get("fieldsV1") or {}).get("f:spec") or {}).get("f:template") or {}
        for key, fields in ((pod.get("f:spec") or {}).get("f:containers") or {}).items():
            name = _container_name(key)
            if name is None:
                continue
            for field in TEMPLATE_FIELDS:
                inside = fields.get(f"f:{field}")
                if inside is None or (field == "lifecycle" and inside and "f:preStop" not in inside):
                    continue
                of_container = found.setdefault(name, {})
                of_container[field] = of_container.get(field, frozenset()) | {entry.get("manager", "unknown")}
    return found


def _container_name(key: str) -> str | None:
    prefix = 'k:{"name":"'
    return key[len(prefix) : -2] if key.startswith(prefix) and key.endswith('"}') else None


def replica_set(raw: Json, template: Json) -> ReplicaSet:
    """A ReplicaSet; it is current when its template is the Deployment's, its own hash label aside."""
    own = raw["spec"]["template"]
    labels = dict((own.get("metadata") or {}).get("labels") or {})
    template_hash = labels.pop("pod-template-hash", "")
    wanted = template.get("metadata") or {}
    same = (
        labels == (wanted.get("labels") or {})
        and ((own.get("metadata") or {}).get("annotations") or {}) == (wanted.get("annotations") or {})
        and own.get("spec") == template.get("spec")
    )
    meta = raw["metadata"]
    return ReplicaSet(meta["name"], meta["uid"], template_hash, int(raw["spec"].get("replicas") or 0), same)


def pod(raw: Json, *, min_ready_seconds: int, now: datetime) -> Pod:
    """A pod. `now` is needed for minReadySeconds only."""
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status") or {}
    owner: Json = next((each for each in meta.get("ownerReferences") or [] if each.get("controller")), {})
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    condition: Json = next((each for each in status.get("conditions") or [] if each["type"] == "Ready"), {})
    ready = condition.get("status") == "True"
    since = time(condition.get("lastTransitionTime"))
    long_enough = min_ready_seconds == 0 or (since is not None and (now - since).total_seconds() >= min_ready_seconds)
    step = labels.get(LABEL_RETIRING)
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        labels=labels,
        created=time(meta.get("creationTimestamp")) or _LONG_AGO,
        ready=ready,
        available=ready and long_enough,
        deleting="deletionTimestamp" in meta,
        owner_kind=owner.get("kind", ""),
        owner_uid=owner.get("uid", ""),
        ip=status.get("podIP", ""),
        ports=tuple(port for container in spec.get("containers") or [] for port in _ports(container)),
        grace_period=_grace_period(spec),
        trouble="" if ready else _trouble(status),
        step=ReplaceStep(step) if step in tuple(ReplaceStep) else None,
        step_since=time(annotations.get(ANNOTATION_STEP_SINCE)),
        taken_at=time(annotations.get(ANNOTATION_TAKEN_AT)),
    )


def _trouble(status: Json) -> str:
    """Why a pod is not ready, in the words of who knows: scheduler, kubelet, or the containers."""
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason', 'Unschedulable')}: {condition.get('message', '')}"[:300]
    for container in status.get("containerStatuses") or []:
        state = container.get("state") or {}
        waiting = state.get("waiting") or state.get("terminated")
        if waiting and waiting.get("reason") not in ("ContainerCreating", "PodInitializing"):
            return f"{waiting.get('reason', '')}: {waiting.get('message', '')}".rstrip(": ")[:300]
        if container.get("started") and not container.get("ready"):
            return f"container {container['name']} runs, but its readiness probe fails"
    return ""


def service(raw: Json) -> Service:
    """A Service."""
    meta, spec = raw["metadata"], raw.get("spec") or {}
    address = spec.get("clusterIP") or ""
    return Service(
        namespace=meta["namespace"],
        name=meta["name"],
        # An ExternalName Service has no endpoints, whatever selector was left in it.
        selector={} if spec.get("type") == "ExternalName" else spec.get("selector") or {},
        cluster_ip="" if address == "None" else address,
        ports=tuple(
            ServicePort(port.get("name", ""), int(port["port"]), port.get("targetPort", int(port["port"])))
            for port in spec.get("ports") or []
        ),
        managed=(meta.get("labels") or {}).get(LABEL_MANAGED) == LABEL_MANAGED_VALUE,
    )


def slice_service(raw: Json) -> str:
    """Name of the Service that an EndpointSlice belongs to; empty when it belongs to none."""
    return str((raw["metadata"].get("labels") or {}).get("kubernetes.io/service-name", ""))


def endpoints(raw: Json) -> tuple[Endpoint, ...]:
    """What one EndpointSlice lists; only entries that are pods."""
    name = slice_service(raw)
    ports = {port.get("name") or "": int(port["port"]) for port in raw.get("ports") or [] if port.get("port")}
    found = []
    for each in raw.get("endpoints") or []:
        target, conditions = each.get("targetRef") or {}, each.get("conditions") or {}
        if target.get("kind") != "Pod" or not each.get("addresses"):
            continue
        found.append(
            Endpoint(
                service=name,
                pod_name=target.get("name", ""),
                pod_uid=target.get("uid", ""),
                ip=each["addresses"][0],
                # Serving is the pod's readiness even where unready addresses are published.
                serving=conditions.get("serving", conditions.get("ready")) is True,
                terminating=conditions.get("terminating") is True,
                ports=ports,
            )
        )
    return tuple(found)


def budget(raw: Json) -> Budget:
    """A PodDisruptionBudget."""
    status = raw.get("status") or {}
    return Budget(raw["metadata"]["name"], int(status.get("desiredHealthy", 0)), int(status.get("currentHealthy", 0)))
