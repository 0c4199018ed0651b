"""Pods and Deployments as the API server shows them, read by the product's own parsers.

A test writes the part of a manifest that it is about, as YAML; what every object has is filled in here.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import yaml

from resilience.adapters.kube import parse, parse_workload
from resilience.adapters.kube.parse import Json
from resilience.api.names import ANNOTATION_CLAIM, LABEL_MANAGED, LABEL_MANAGED_VALUE, LABEL_TEMPLATE_HASH
from resilience.api.v1alpha1 import TargetKind
from resilience.core.model.observation import Pod
from resilience.core.model.workload import Template, Workload
from tests.support.factories import HASH, KEY, LABELS, NOW

Object = dict[str, Any]
_LONG_AGO = "2026-02-28T12:00:00Z"


def template(spec: str) -> Object:
    """A pod template with this spec, in YAML."""
    return {"metadata": {"labels": dict(LABELS)}, "spec": yaml.safe_load(spec)}


def deployment(made: Json, *, replicas: int = 2, annotations: Mapping[str, str] | None = None, **spec: Any) -> Object:
    """A Deployment that is claimed and at full size."""
    notes = {ANNOTATION_CLAIM: f"{KEY.name}/resource-uid"} | dict(annotations or {})
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    return {
        "metadata": _meta(KEY.name, uid="workload-uid", generation=1, annotations=notes)
        | {"labels": {LABEL_MANAGED: LABEL_MANAGED_VALUE}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": dict(LABELS)}, "template": made} | spec,
        "status": {"observedGeneration": 1} | dict.fromkeys(counts, replicas),
    }


def replica_set(made: Json, *, template_hash: str = HASH, replicas: int = 2) -> Object:
    """The Deployment's ReplicaSet with this template."""
    labels = made["metadata"]["labels"] | {LABEL_TEMPLATE_HASH: template_hash}
    owner = {"kind": "Deployment", "uid": "workload-uid", "controller": True}
    own = {"metadata": {**made["metadata"], "labels": labels}, "spec": made["spec"]}
    return {
        "metadata": _meta(f"{KEY.name}-{template_hash}", uid="rs-uid") | {"ownerReferences": [owner]},
        "spec": {"replicas": replicas, "template": own},
    }


def pod(made: Json, name: str = "a", *, ip: str = "10.0.0.7", **meta: Any) -> Object:
    """A pod of that ReplicaSet that serves; `meta` overwrites its labels and annotations."""
    owner = {"kind": "ReplicaSet", "uid": "rs-uid", "controller": True}
    labels = made["metadata"]["labels"] | {LABEL_TEMPLATE_HASH: HASH}
    return {
        "metadata": _meta(name, uid=f"uid-{name}", labels=labels, ownerReferences=[owner]) | meta,
        "spec": dict(made["spec"]),
        "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": _LONG_AGO}]},
    }


def service(target_port: int | str, **meta: Any) -> Object:
    """The Service that clients use; its one port leads to this one."""
    ports = [{"name": "http", "port": 80, "targetPort": target_port}]
    return {
        "metadata": _meta(KEY.name, labels={LABEL_MANAGED: LABEL_MANAGED_VALUE}) | meta,
        "spec": {"clusterIP": "10.96.0.1", "selector": dict(LABELS), "ports": ports},
    }


def read_workload(raw: Json) -> Workload:
    """The Deployment as the core sees it."""
    return parse_workload.workload(TargetKind.DEPLOYMENT, raw)


def read_pod(raw: Json) -> Pod:
    """The pod as the core sees it."""
    return parse.pod(raw, min_ready_seconds=0, now=NOW)


def without_identity(read: Template) -> dict[str, Any]:
    """All that was read of a template but its labels and identity, for a stage that has its own."""
    own = ("labels", "fingerprint")
    return {item.name: getattr(read, item.name) for item in fields(read) if item.name not in own}


def _meta(name: str, **more: Any) -> Object:
    usual = {"namespace": KEY.namespace, "name": name, "resourceVersion": "1", "creationTimestamp": _LONG_AGO}
    return usual | more
