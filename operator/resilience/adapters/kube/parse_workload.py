"""Parses raw workloads and ReplicaSets into views. No I/O, no decision."""

import hashlib
import json
from collections.abc import Iterable, Mapping

from resilience.adapters.kube import selectors
from resilience.adapters.kube.parse import Json, container_ports, grace_period, native_sidecars, resources
from resilience.adapters.kube.parse_configs import configs
from resilience.api.names import FIELD_MANAGER, LABEL_TEMPLATE_HASH, LABEL_TRACK
from resilience.api.v1alpha1 import TargetKind
from resilience.core.model.workload import TEMPLATE_FIELDS, Container, ReplicaSet, Template, Workload


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
        # With OnDelete no controller rolls pods: old ones stay until somebody deletes them.
        updated=current if strategy == "OnDelete" else updated,
        ready=ready,
        available=available,
        strategy=strategy,
        min_ready_seconds=spec.get("minReadySeconds", 0),
        trouble=_failure(status),
        newest_labels=_newest_labels(kind, meta, status),
        paused=bool(spec.get("paused")),
        paused_by_operator=_owns(meta.get("managedFields") or [], "paused"),
        deadline_by_operator=_owns(meta.get("managedFields") or [], "progressDeadlineSeconds"),
        changed_by=_changed_by(meta.get("managedFields") or []),
        progress_deadline_seconds=int(spec.get("progressDeadlineSeconds") or 600),
        deadline_exceeded=any(
            condition.get("reason") == "ProgressDeadlineExceeded" for condition in status.get("conditions") or []
        ),
    )


def face(raw: Json) -> int:
    """Hash of everything that a decision may depend on. Between equal hashes only times or messages differ."""
    meta, status = raw["metadata"], raw.get("status") or {}
    owners = [
        (entry.get("manager"), entry.get("fieldsV1"))
        for entry in meta.get("managedFields") or []
        if entry.get("subresource") != "status"
    ]
    conditions = [(entry["type"], entry["status"], entry.get("reason")) for entry in status.get("conditions") or []]
    counts = {key: value for key, value in status.items() if key != "conditions"}
    known = [meta.get(key) for key in ("uid", "generation", "labels", "annotations", "deletionTimestamp")]
    return hash(json.dumps([known, owners, conditions, counts, _failure(status)], sort_keys=True))


def _owns(managed: Iterable[Json], field: str) -> bool:
    """This field of the specification is as the operator set it. Replaced annotations do not change who owns it."""
    return any(
        entry.get("manager") == FIELD_MANAGER and f"f:{field}" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
        for entry in managed
        if not entry.get("subresource")
    )


def _changed_by(managed: Iterable[Json]) -> str:
    """Field manager of the newest change of the specification; empty when that was the operator, or nothing tells."""
    of_spec = [
        (str(entry.get("time", "")), entry.get("manager") != FIELD_MANAGER, str(entry.get("manager", "")))
        for entry in managed
        if not entry.get("subresource") and "f:spec" in (entry.get("fieldsV1") or {})
    ]
    _, is_foreign, manager = max(of_spec, default=("", False, ""))
    return manager if is_foreign else ""


def _newest_labels(kind: TargetKind, meta: Json, status: Json) -> dict[str, str]:
    """Labels that identify pods of the newest template of a StatefulSet or DaemonSet; empty when there are none."""
    if kind is TargetKind.STATEFUL_SET and status.get("updateRevision"):
        return {"controller-revision-hash": status["updateRevision"]}
    generation = (meta.get("annotations") or {}).get("deprecated.daemonset.template.generation")
    if kind is TargetKind.DAEMON_SET and generation:
        # Deprecated for clients. The hash itself is only in the controller's revisions, which need one more right.
        return {"pod-template-generation": generation}
    return {}


def _failure(status: Json) -> str:
    """Message of a Deployment whose ReplicaSet cannot create pods, due to a quota or an admission check, or empty."""
    conditions = status.get("conditions") or []
    return next(
        (
            str(condition.get("message", ""))[:300]
            for condition in conditions
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True"
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
        # Its status counts terminating pods as existing, but not as updated.
        updated = current
    return desired, current, updated, ready, available


def _stateful_set_rolls(desired: int, spec: Json, status: Json) -> bool:
    """The controller is going to replace pods by itself; it does not replace those below the partition."""
    partition = int(((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition") or 0)
    is_current = status.get("currentRevision") == status.get("updateRevision")
    return not is_current and int(status.get("updatedReplicas", 0)) < desired - partition


def _template(raw: Json, managed: Iterable[Json]) -> Template:
    spec = raw.get("spec") or {}
    owners = _owners(managed)
    volumes = spec.get("volumes") or []
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume]
    return Template(
        labels=(raw.get("metadata") or {}).get("labels") or {},
        containers=tuple(
            _container(container, owners.get(container["name"], {})) for container in spec.get("containers") or []
        ),
        fingerprint=fingerprint(raw),
        needs_separate_nodes=_apart(spec, (raw.get("metadata") or {}).get("labels") or {}),
        host_network=bool(spec.get("hostNetwork")),
        grace_period=grace_period(spec),
        claims=tuple(claims),
        sidecar_ports=tuple(port for sidecar in native_sidecars(spec) for port in container_ports(sidecar)),
        configs=configs(spec),
    )


def _container(raw: Json, owners: Mapping[str, frozenset[str]]) -> Container:
    fields = {name: raw[name] for name in TEMPLATE_FIELDS if raw.get(name)}
    hook = fields.get("lifecycle", {}).get("preStop")
    if hook is None:
        # Only the preStop hook can be ours; with a postStart hook alone, preStop is still free.
        fields.pop("lifecycle", None)
    else:
        fields["lifecycle"] = {"preStop": hook}
    own = resources(raw.get("resources") or {})
    return Container(
        name=raw["name"],
        image=raw.get("image", ""),
        ports=container_ports(raw),
        limits=own.limits,
        requests=own.requests,
        fields=fields,
        owners=owners,
    )


def _owners(managed: Iterable[Json]) -> dict[str, dict[str, frozenset[str]]]:
    """Container name → template field → field managers, read from `metadata.managedFields`."""
    owners: dict[str, dict[str, frozenset[str]]] = {}
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
                of_container = owners.setdefault(name, {})
                of_container[field] = of_container.get(field, frozenset()) | {entry.get("manager", "unknown")}
    return owners


def _container_name(key: str) -> str | None:
    prefix = 'k:{"name":"'
    return key[len(prefix) : -2] if key.startswith(prefix) and key.endswith('"}') else None


def fingerprint(template: Json) -> str:
    """Identity of a pod template, in any workload: without the labels that are added to distinguish sets of pods."""
    meta = template.get("metadata") or {}
    own = (LABEL_TEMPLATE_HASH, LABEL_TRACK)
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key not in own}
    content = json.dumps([labels, meta.get("annotations") or {}, template.get("spec") or {}], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:10]


def _apart(spec: Json, labels: Mapping[str, str]) -> bool:
    """The scheduler must not place two pods with these labels on one node."""
    terms = ((spec.get("affinity") or {}).get("podAntiAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or []
    return any(
        term.get("topologyKey") == "kubernetes.io/hostname" and selectors.matches(term.get("labelSelector"), labels)
        for term in terms
    )


def replica_set(raw: Json, *, kept: str) -> ReplicaSet:
    """A ReplicaSet; `kept` is the fingerprint of the template that its Deployment keeps now."""
    template, meta = raw["spec"]["template"], raw["metadata"]
    template_fingerprint = fingerprint(template)
    return ReplicaSet(
        name=meta["name"],
        uid=meta["uid"],
        template_hash=((template.get("metadata") or {}).get("labels") or {}).get(LABEL_TEMPLATE_HASH, ""),
        replicas=int(raw["spec"].get("replicas") or 0),
        is_current=template_fingerprint == kept,
        fingerprint=template_fingerprint,
        images={
            entry["name"]: entry.get("image", "") for entry in (template.get("spec") or {}).get("containers") or []
        },
        configs=configs(template.get("spec") or {}),
    )
