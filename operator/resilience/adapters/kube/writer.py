"""Writes to the cluster. They have a precondition on what was read, so that a stale decision changes nothing."""

import asyncio
import math
from datetime import datetime, timedelta
from typing import Final

from resilience.adapters.kube import parse
from resilience.adapters.kube.listed import Json
from resilience.adapters.kube.paths import collection, named, resources_path, workload_path
from resilience.adapters.kube.transport import APPLY_PATCH, STRATEGIC_PATCH, NotFound, Transport
from resilience.api.names import (
    ANNOTATION_CLAIM,
    ANNOTATION_STEP_SINCE,
    ANNOTATION_TAKEN_AT,
    ANNOTATION_TRACE,
    FIELD_MANAGER,
    FINALIZER,
    GROUP,
    KIND,
    LABEL_MANAGED,
    LABEL_MANAGED_VALUE,
    LABEL_RETIRING,
    VERSION,
)
from resilience.api.reasons import ReplaceStep
from resilience.api.status import Status
from resilience.api.status_base import format_micro_time, format_time
from resilience.core.model.decision import Advance, ApplyTemplate, DeletePod, Event, EvictPod, GiveBack, TakeOver
from resilience.core.model.observation import Key, Pod, Resource
from resilience.core.model.workload import Workload

_MANAGED: Final = {"fieldManager": FIELD_MANAGER}


class KubeWriter:
    """Implements `ports.cluster.ClusterWriter`. `instance` names this process in Events."""

    def __init__(self, *, transport: Transport, instance: str) -> None:
        self._transport = transport
        self._instance = instance

    async def claim(self, workload: Workload, *, owner: str) -> None:
        """Label and annotate the target, only if it has not changed since it was read."""
        meta: Json = {
            "resourceVersion": workload.resource_version,
            "labels": {LABEL_MANAGED: LABEL_MANAGED_VALUE},
            "annotations": {ANNOTATION_CLAIM: owner},
        }
        await self._patch_workload(workload, {"metadata": meta})

    async def unclaim(self, workload: Workload) -> None:
        """Remove the label and the annotation."""
        meta = {"labels": {LABEL_MANAGED: None}, "annotations": {ANNOTATION_CLAIM: None}}
        await self._patch_workload(workload, {"metadata": meta})

    async def mark_service(self, *, namespace: str, name: str, managed: bool) -> None:
        """Set or remove our label on a Service; a Service that no longer exists is no error."""
        value = LABEL_MANAGED_VALUE if managed else None
        try:
            await self._transport.patch(
                named("services", namespace, name), {"metadata": {"labels": {LABEL_MANAGED: value}}}, **_MANAGED
            )
        except NotFound:
            return

    async def set_finalizer(self, resource: Resource, *, present: bool) -> None:
        """Add or remove our finalizer; a resource that no longer exists is no error."""
        kept = [finalizer for finalizer in resource.finalizers if finalizer != FINALIZER]
        meta = {"finalizers": [*kept, FINALIZER] if present else kept, "resourceVersion": resource.resource_version}
        try:
            await self._transport.patch(_path(resource), {"metadata": meta}, **_MANAGED)
        except NotFound:
            return

    async def apply_template(self, workload: Workload, action: ApplyTemplate) -> None:
        """Server-side apply without force; fields that we owned and omit are released. Raises Refused on a conflict."""
        containers = [{"name": action.container, **action.fields}] if action.fields else []
        body: Json = {
            "apiVersion": "apps/v1",
            "kind": workload.kind.value,
            # A precondition: the rollout that this write was to be part of may have ended since the read.
            "metadata": {
                "name": workload.name,
                "namespace": workload.namespace,
                "resourceVersion": workload.resource_version,
            },
        }
        if containers:
            body["spec"] = {"template": {"spec": {"containers": containers}}}
        path = workload_path(workload.kind, workload.namespace, workload.name)
        await self._transport.patch(path, body, content_type=APPLY_PATCH, force="false", **_MANAGED)

    async def take_over(self, workload: Workload, action: TakeOver) -> None:
        """Replace the ReplicaSet's owner reference by the Deployment's, and mark the step, in one patch."""
        pod, at = action.pod, format_time(action.at)
        reference = {
            "apiVersion": "apps/v1",
            "kind": workload.kind.value,
            "name": workload.name,
            "uid": workload.uid,
            "controller": True,
            # True would need the right to set finalizers on the Deployment, and has no use here.
            "blockOwnerDeletion": False,
        }
        meta = {
            "labels": {LABEL_RETIRING: ReplaceStep.REPLACING.value},
            "annotations": {ANNOTATION_TAKEN_AT: at, ANNOTATION_STEP_SINCE: at},
        }
        await self._reown(workload.namespace, pod, reference, meta)

    async def give_back(self, action: GiveBack, *, namespace: str) -> None:
        """Hand the pod back to its ReplicaSet: the reverse of `take_over`."""
        reference = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": action.replica_set.name,
            "uid": action.replica_set.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
        meta = {
            "labels": {LABEL_RETIRING: None},
            "annotations": {ANNOTATION_TAKEN_AT: None, ANNOTATION_STEP_SINCE: None},
        }
        await self._reown(namespace, action.pod, reference, meta)

    async def advance(self, action: Advance, *, namespace: str) -> None:
        """Mark the pod's next step, and overwrite labels if the pod is to leave its Services."""
        meta = {
            "resourceVersion": action.pod.resource_version,
            "labels": {LABEL_RETIRING: action.step.value, **action.labels},
            "annotations": {ANNOTATION_STEP_SINCE: format_time(action.at)},
        }
        await self._transport.patch(named("pods", namespace, action.pod.name), {"metadata": meta}, **_MANAGED)

    async def delete_pod(self, action: DeletePod, *, namespace: str) -> None:
        """Delete exactly this pod; a pod that no longer exists is no error."""
        try:
            await self._transport.delete(named("pods", namespace, action.pod.name), _options(action.pod, action.grace))
        except NotFound:
            return

    async def evict_pod(self, action: EvictPod, *, namespace: str) -> None:
        """Evict exactly this pod; raises Refused with the message of the disruption budget."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": action.pod.name, "namespace": namespace},
            "deleteOptions": _options(action.pod, action.grace),
        }
        try:
            await self._transport.post(f"{named('pods', namespace, action.pod.name)}/eviction", body)
        except NotFound:
            return

    async def write_status(self, resource: Resource, status: Status) -> Resource:
        """Merge-patch the whole status, with null for removed fields, on the version that was read."""
        changed = merged(dict(resource.raw_status), status.to_api())
        body = {"metadata": {"resourceVersion": resource.resource_version}, "status": changed}
        return parse.resource(await self._transport.patch(f"{_path(resource)}/status", body, **_MANAGED))

    async def emit(self, resource: Resource, event: Event) -> None:
        """Write an Event on the resource."""
        now = self._transport.now()
        body = event_body(event, kind=KIND, key=resource.key, uid=resource.uid, instance=self._instance, now=now)
        await self._transport.post(collection("events", resource.key.namespace), body)

    async def stop_deployment(self, *, namespace: str, name: str) -> None:
        """Scale the operator's own Deployment to zero and wait until its pods are gone; no error without one."""
        path = named("deployments", namespace, name)
        try:
            raw = await self._transport.patch(f"{path}/scale", {"spec": {"replicas": 0}}, **_MANAGED)
        except NotFound:
            return
        selector = raw["status"]["selector"]
        pods = await self._transport.list(collection("pods", namespace), labels=selector)
        while pods:
            await asyncio.sleep(1)
            pods = await self._transport.list(collection("pods", namespace), labels=selector)

    async def _patch_workload(self, workload: Workload, body: Json) -> None:
        path = workload_path(workload.kind, workload.namespace, workload.name)
        try:
            await self._transport.patch(path, body, **_MANAGED)
        except NotFound:
            return

    async def _reown(self, namespace: str, pod: Pod, reference: Json, meta: Json) -> None:
        removed = {"$patch": "delete", "uid": pod.owner_uid}
        metadata = {"resourceVersion": pod.resource_version, "ownerReferences": [removed, reference], **meta}
        await self._transport.patch(
            named("pods", namespace, pod.name), {"metadata": metadata}, content_type=STRATEGIC_PATCH, **_MANAGED
        )


def event_body(event: Event, *, kind: str, key: Key, uid: str, instance: str, now: datetime) -> Json:
    """An Event on an object of ours; `instance` names this process."""
    regarding = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": kind,
        "name": key.name,
        "namespace": key.namespace,
        "uid": uid,
    }
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "generateName": f"{key.name}-",
            "namespace": key.namespace,
            **({"annotations": {ANNOTATION_TRACE: event.trace}} if event.trace else {}),
        },
        "eventTime": format_micro_time(now),
        "reportingController": f"{GROUP}/operator",
        "reportingInstance": instance[:128],
        "action": event.reason.value,
        "reason": event.reason.value,
        # The limit is in bytes.
        "note": event.message.encode()[:1024].decode(errors="ignore"),
        "type": "Warning" if event.warning else "Normal",
        "regarding": regarding,
    }


def _path(resource: Resource) -> str:
    return resources_path(resource.key.namespace, resource.key.name)


def _options(pod: Pod, grace: timedelta) -> Json:
    """Delete options for exactly this pod as it was read: a pod that changed meanwhile has to be observed again."""
    return {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": math.ceil(grace.total_seconds()),
        "preconditions": {"uid": pod.uid, "resourceVersion": pod.resource_version},
    }


def merged(before: object, after: object) -> object:
    """Merge patch from `before` to `after`: removed fields are set to null, because omitted fields would stay."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return after
    removed = {name: None for name in before if name not in after}
    return {name: merged(before.get(name), value) for name, value in after.items()} | removed
