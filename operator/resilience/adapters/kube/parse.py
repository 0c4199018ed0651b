"""Parses raw resources, pods, Services and slices into the views of `core.model`. No I/O, no decision."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from kubernetes.utils.quantity import parse_quantity
from pydantic import BaseModel, ValidationError

from resilience.adapters.kube import parse_trouble, readable, salvage
from resilience.adapters.kube.readings import Readings
from resilience.api.names import (
    ANNOTATION_ACCEPT_PIN,
    ANNOTATION_FLAGS,
    ANNOTATION_PINNED,
    ANNOTATION_PREVIEW_OF,
    ANNOTATION_SIGNALLED,
    ANNOTATION_STEP_SINCE,
    ANNOTATION_TAKEN_AT,
    FIELD_MANAGER,
    LABEL_MANAGED,
    LABEL_MANAGED_VALUE,
    LABEL_RETIRING,
)
from resilience.api.reasons import ReplaceStep
from resilience.api.status import Status
from resilience.core.model.observation import Budget, Key, Pod, Resource
from resilience.core.model.service import Endpoint, Service, ServicePort
from resilience.core.model.workload import ContainerPort, Resources
from resilience.ports import Unavailable

Json = Mapping[str, Any]
Model = TypeVar("Model", bound=BaseModel)
_READINGS: Final = Readings()
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR: Final = 365 * 24 * 3600
# Label of an EndpointSlice with the name of its Service.
SLICE_SERVICE: Final = "kubernetes.io/service-name"


def time(text: object) -> datetime | None:
    """An RFC 3339 time as the API writes it; None when it is missing, malformed or without a time zone."""
    if not isinstance(text, str):
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None else None


def resource(raw: Json) -> Resource:
    """A ResilientService; what is wrong in its spec is in `problems`, and `spec` lacks that, or is None."""
    meta = raw["metadata"]
    raw_status = raw.get("status") or {}
    status = _status(raw_status)
    known = status.last_readable
    settings = known.model_dump() if known is not None else {}
    reading = _READINGS.of(meta["uid"], meta.get("generation", 0), raw.get("spec") or {}, settings)
    spec = reading.spec
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
        problems=reading.problems,
        status=status,
        raw_status=raw_status,
        target=None if spec is not None else salvage.target(raw.get("spec")),
        remains=None if spec is not None else salvage.remains(raw.get("spec"), name=meta["name"]),
    )


def _status(raw: Json) -> Status:
    """The readable part of a status: a newer operator, or a person, may have written the rest."""
    status, damaged = readable.read(Status, raw)
    if "handled" in damaged:
        # Not all handled requests are known: as on the first pass, existing requests are recorded and not executed.
        return status.model_copy(update={"observed_generation": None})
    return status


def specification(model: type[Model], raw: Json) -> tuple[Model | None, str]:
    """The specification of an object of ours and an empty text, or None and the first problem."""
    try:
        return model.model_validate(raw.get("spec") or {}), ""
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return None, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def container_ports(container: Json) -> tuple[ContainerPort, ...]:
    """The ports of a container."""
    return tuple(
        ContainerPort(
            port.get("name", ""),
            int(port["containerPort"]),
            bool(port.get("hostPort")),
            container.get("name", ""),
            port.get("protocol", "TCP") == "TCP",
        )
        for port in container.get("ports") or []
    )


def native_sidecars(pod_spec: Json) -> list[Json]:
    """The init containers that run as long as the pod."""
    return [entry for entry in pod_spec.get("initContainers") or [] if entry.get("restartPolicy") == "Always"]


def grace_period(pod_spec: Json) -> timedelta:
    """Time that a pod gets to terminate; the API's default when it is not set, and at most a year."""
    seconds = pod_spec.get("terminationGracePeriodSeconds")
    # The API server lets through more seconds than a timedelta holds.
    return timedelta(seconds=30 if seconds is None else min(seconds, _YEAR))


def pod(raw: Json, *, min_ready_seconds: int, now: datetime) -> Pod:
    """A pod. `now` is needed for minReadySeconds only."""
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status") or {}
    owner: Json = next((ref for ref in meta.get("ownerReferences") or [] if ref.get("controller")), {})
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    conditions: Mapping[str, Json] = {entry["type"]: entry for entry in status.get("conditions") or []}

    def has_lasted(since: datetime | None) -> bool:
        return min_ready_seconds == 0 or (since is not None and (now - since).total_seconds() >= min_ready_seconds)

    ready, since = _is_true(conditions, "Ready"), _since(conditions, "Ready")
    containers_since = _since(conditions, "ContainersReady") if _is_true(conditions, "ContainersReady") else None
    gates = [gate["conditionType"] for gate in spec.get("readinessGates") or []]
    open_gates = tuple(gate for gate in gates if not _is_true(conditions, gate))
    step = labels.get(LABEL_RETIRING)
    fault, trouble = ("", "") if ready else parse_trouble.of(raw)
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        labels=labels,
        created=time(meta.get("creationTimestamp")) or _LONG_AGO,
        ready=ready,
        available=ready and has_lasted(since),
        open_gates=open_gates,
        awaits_gates=bool(open_gates) and containers_since is not None and has_lasted(containers_since),
        containers_ready_since=containers_since,
        ready_changed=since,
        started=_started(status),
        deleting="deletionTimestamp" in meta,
        # The API server adds the grace period to the time of the request.
        ends_by=time(meta.get("deletionTimestamp")),
        finalizers=tuple(meta.get("finalizers") or ()),
        owner_kind=owner.get("kind", ""),
        owner_uid=owner.get("uid", ""),
        ip=status.get("podIP", ""),
        ports=tuple(
            port
            for container in (*(spec.get("containers") or []), *native_sidecars(spec))
            for port in container_ports(container)
        ),
        grace_period=grace_period(spec),
        trouble=trouble,
        fault=fault,
        restarts=parse_trouble.restarts(status),
        node=spec.get("nodeName", ""),
        pull_secrets=tuple(secret.get("name", "") for secret in spec.get("imagePullSecrets") or []),
        signalled_at=time(annotations.get(ANNOTATION_SIGNALLED)),
        flags=annotations.get(ANNOTATION_FLAGS, ""),
        families=frozenset(_family(entry["ip"]) for entry in status.get("podIPs") or [] if entry.get("ip")),
        initialized=conditions.get("Initialized", {}).get("status") != "False",
        resources=_resources(spec, status),
        step=ReplaceStep(step) if step in tuple(ReplaceStep) else None,
        step_since=time(annotations.get(ANNOTATION_STEP_SINCE)),
        taken_at=time(annotations.get(ANNOTATION_TAKEN_AT)),
    )


def _is_true(conditions: Mapping[str, Json], kind: str) -> bool:
    return conditions.get(kind, {}).get("status") == "True"


def _since(conditions: Mapping[str, Json], kind: str) -> datetime | None:
    return time(conditions.get(kind, {}).get("lastTransitionTime"))


def _started(status: Json) -> datetime | None:
    running = [(entry.get("state") or {}).get("running") or {} for entry in status.get("containerStatuses") or []]
    return max(filter(None, (time(state.get("startedAt")) for state in running)), default=None)


def _family(ip: str) -> str:
    return "IPv6" if ":" in ip else "IPv4"


def _resources(spec: Json, status: Json) -> dict[str, Resources]:
    """Resources by container: as the kubelet reports them, where it does, else as the pod's specification has them.

    While a resize is deferred or infeasible, the specification contains what is wanted and not what the pod has.
    """
    reported = {entry.get("name"): entry.get("resources") or {} for entry in status.get("containerStatuses") or []}
    return {
        container["name"]: resources(container.get("resources") or {}, reported.get(container["name"], {}))
        for container in spec.get("containers") or []
    }


def resources(*raws: Json) -> Resources:
    """Resources of a container, in cores and bytes; a later one overwrites an earlier one."""
    limits: dict[str, float] = {}
    requests: dict[str, float] = {}
    for raw in raws:
        limits |= _amounts(raw.get("limits") or {})
        requests |= _amounts(raw.get("requests") or {})
    return Resources(limits, requests)


def _amounts(raw: Json) -> dict[str, float]:
    return {name: float(parse_quantity(str(raw[name]))) for name in ("cpu", "memory") if name in raw}


def service(raw: Json) -> Service:
    """A Service."""
    meta, spec = raw["metadata"], raw.get("spec") or {}
    annotations = meta.get("annotations") or {}
    address = spec.get("clusterIP") or ""
    return Service(
        namespace=meta["namespace"],
        name=meta["name"],
        # An ExternalName Service has no endpoints, even when it still contains a selector.
        selector={} if spec.get("type") == "ExternalName" else spec.get("selector") or {},
        cluster_ip="" if address == "None" else address,
        ports=tuple(
            ServicePort(port.get("name", ""), int(port["port"]), port.get("targetPort", int(port["port"])))
            for port in spec.get("ports") or []
        ),
        managed=(meta.get("labels") or {}).get(LABEL_MANAGED) == LABEL_MANAGED_VALUE,
        resource_version=meta.get("resourceVersion", ""),
        pinned=annotations.get(ANNOTATION_PINNED) == "true" or ANNOTATION_PREVIEW_OF in annotations,
        preview_of=annotations.get(ANNOTATION_PREVIEW_OF, ""),
        selector_owner=_selector_owner(meta),
        families=tuple(spec.get("ipFamilies") or ()),
    )


def unread_service(raw: Json, *, why: str) -> Service:
    """A Service that is not as its kind is, as far as it tells whom it concerns.

    Raises:
        Unavailable: it does not tell that: it may lead to anybody's pods.
    """
    try:
        meta, selector = raw["metadata"], (raw.get("spec") or {}).get("selector") or {}
        usual = service({"metadata": {"namespace": meta["namespace"], "name": meta["name"]}})
        return replace(usual, selector={str(key): str(value) for key, value in selector.items()}, unread=why)
    except (KeyError, TypeError, AttributeError) as error:
        raise Unavailable(f"a Service cannot be read: {why}") from error


def _selector_owner(meta: Json) -> str:
    """The server-side apply manager of the selector; empty when there is none but us, or the owner accepts pins."""
    if (meta.get("annotations") or {}).get(ANNOTATION_ACCEPT_PIN) == "true":
        return ""
    for entry in meta.get("managedFields") or []:
        fields = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        if entry.get("operation") == "Apply" and "f:selector" in fields and entry.get("manager") != FIELD_MANAGER:
            return str(entry.get("manager", "unknown"))
    return ""


def slice_service(raw: Json) -> str:
    """Name of the Service that an EndpointSlice belongs to; empty when it belongs to none."""
    return str((raw["metadata"].get("labels") or {}).get(SLICE_SERVICE, ""))


def endpoints(raw: Json) -> tuple[Endpoint, ...]:
    """Endpoints that one EndpointSlice lists; only those of pods."""
    name = slice_service(raw)
    ports = {port.get("name") or "": int(port["port"]) for port in raw.get("ports") or [] if port.get("port")}
    parsed = []
    for entry in raw.get("endpoints") or []:
        target, conditions = entry.get("targetRef") or {}, entry.get("conditions") or {}
        if target.get("kind") != "Pod" or not entry.get("addresses"):
            continue
        parsed.append(
            Endpoint(
                service=name,
                pod_name=target.get("name", ""),
                pod_uid=target.get("uid", ""),
                ip=entry["addresses"][0],
                # `serving` is the pod's readiness, even where unready addresses are published.
                serving=conditions.get("serving", conditions.get("ready")) is True,
                terminating=conditions.get("terminating") is True,
                ports=ports,
                family=str(raw.get("addressType") or ""),
            )
        )
    return tuple(parsed)


def budget(raw: Json) -> Budget:
    """A PodDisruptionBudget."""
    status = raw.get("status") or {}
    return Budget(raw["metadata"]["name"], int(status.get("desiredHealthy", 0)), int(status.get("currentHealthy", 0)))
