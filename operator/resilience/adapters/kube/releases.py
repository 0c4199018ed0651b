"""Writes of a blue-green rollout: the target's pause, green, the pins of Services, the preview.

Writes have a precondition on what was read, so that a stale decision changes nothing.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from resilience.adapters.kube import autoscalers, parse_workload
from resilience.adapters.kube.listed import Json
from resilience.adapters.kube.paths import collection, green_name, named, workload_path
from resilience.adapters.kube.transport import JSON_PATCH, NotFound, Transport
from resilience.api.names import (
    ANNOTATION_DEADLINE,
    ANNOTATION_FAILED,
    ANNOTATION_GREEN_OF,
    ANNOTATION_LEFT,
    ANNOTATION_PAUSED_FOR,
    ANNOTATION_PINNED,
    ANNOTATION_PREVIEW_OF,
    ANNOTATION_PULL_RETRIES,
    ANNOTATION_RELEASE_SINCE,
    ANNOTATION_RELEASE_STARTED,
    ANNOTATION_RELEASE_STEP,
    ANNOTATION_RELEASE_TOWARDS,
    ANNOTATION_SERVING,
    ANNOTATION_SIGNALLED,
    FIELD_MANAGER,
    LABEL_MANAGED,
    LABEL_MANAGED_VALUE,
    LABEL_TEMPLATE_HASH,
    LABEL_TRACK,
    TRACK_GREEN,
)
from resilience.api.reasons import Colour, ReleaseStep
from resilience.api.status_base import format_time
from resilience.core.model.actions import AdvanceGreen, CreateGreen, PutPreview, RestoreTemplate, Resume, RetryPull
from resilience.core.model.autoscaler import Autoscaler
from resilience.core.model.observation import Green, Pod
from resilience.core.model.service import Service
from resilience.core.model.workload import ReplicaSet, Workload
from resilience.ports import Conflict, Refused

# A JSON pointer escapes a slash in a key as `~1`. A Deployment always has annotations: its revision is one of them.
_FAILED_POINTER: Final = ANNOTATION_FAILED.replace("/", "~1")
_MANAGED: Final = {"fieldManager": FIELD_MANAGER}
# Without it a paused Deployment never counts as current for tools that read conditions (kstatus).
_NO_DEADLINE: Final = 2147483647
# The API server's default.
_USUAL_DEADLINE: Final = 600


class KubeRollouts:
    """Implements `ports.cluster.RolloutWriter`."""

    def __init__(self, *, transport: Transport) -> None:
        self._releases = transport

    async def hold(self, workload: Workload, *, serving: str) -> None:
        """Pause the target, and record which template serves; the user's progress deadline is kept in an annotation."""
        annotations: dict[str, str | None] = {
            ANNOTATION_SERVING: serving,
            ANNOTATION_PAUSED_FOR: None,
            ANNOTATION_LEFT: None,
        }
        spec: Json = {"paused": True}
        if ANNOTATION_DEADLINE not in workload.annotations:
            # Without the record a deadline that is ours was never the user's: the record was lost.
            is_ours = workload.deadline_by_operator and workload.progress_deadline_seconds == _NO_DEADLINE
            before = _USUAL_DEADLINE if is_ours else workload.progress_deadline_seconds
            annotations[ANNOTATION_DEADLINE] = str(before)
            spec["progressDeadlineSeconds"] = _NO_DEADLINE
        await self._patch_target(workload, annotations=annotations, spec=spec)

    async def resume(self, workload: Workload, action: Resume) -> None:
        """Resume the target. Handing it back restores its progress deadline, unless somebody changed it meanwhile."""
        annotations: dict[str, str | None] = {ANNOTATION_PAUSED_FOR: None}
        spec: Json = {} if action.stay_paused else {"paused": None}
        if action.give_back:
            annotations |= {ANNOTATION_SERVING: None, ANNOTATION_DEADLINE: None}
            before = workload.annotations.get(ANNOTATION_DEADLINE, "")
            if before.isdecimal() and workload.progress_deadline_seconds == _NO_DEADLINE:
                spec["progressDeadlineSeconds"] = int(before)
        await self._patch_target(workload, annotations=annotations, spec=spec)

    async def pause_failed(self, workload: Workload, *, fingerprint: str) -> None:
        """Pause the target in the middle of a rolling update, and record the template as failed."""
        annotations = {ANNOTATION_PAUSED_FOR: fingerprint, ANNOTATION_FAILED: fingerprint}
        await self._patch_target(workload, annotations=annotations, spec={"paused": True})

    async def annotate_failed(self, workload: Workload, *, fingerprint: str) -> None:
        """Record the template that failed; an empty fingerprint removes the record."""
        await self._patch_target(workload, annotations={ANNOTATION_FAILED: fingerprint or None}, is_exact=False)

    async def annotate_left(self, workload: Workload, *, reason: str) -> None:
        """Record why something of ours stays behind."""
        await self._patch_target(workload, annotations={ANNOTATION_LEFT: reason}, is_exact=False)

    async def scale_target(self, workload: Workload, *, replicas: int) -> None:
        """Set the target's replicas."""
        await self._patch_target(workload, annotations={}, spec={"replicas": replicas})

    async def limit_autoscaler(self, autoscaler: Autoscaler, *, namespace: str, limited: bool) -> None:
        """Switch scaling up off, or back to what it was before."""
        path = named("horizontalpodautoscalers", namespace, autoscaler.name)
        await self._releases.patch(path, autoscalers.limit_patch(autoscaler, limited=limited), **_MANAGED)

    async def empty_replica_set(self, workload: Workload, replica_set: ReplicaSet) -> None:
        """Scale exactly this ReplicaSet of the target to zero; another one of its name is a conflict."""
        path = f"{named('replicasets', workload.namespace, replica_set.name)}/scale"
        body = {"metadata": {"uid": replica_set.uid}, "spec": {"replicas": 0}}
        await self._releases.patch(path, body, **_MANAGED)

    async def restore_template(self, workload: Workload, action: RestoreTemplate) -> None:
        """Restore the template of one of the target's ReplicaSets, and record the other template as failed."""
        path = named("replicasets", workload.namespace, action.replica_set.name)
        raw = await self._releases.get(path)
        template = raw["spec"]["template"]
        labels = (template.get("metadata") or {}).get("labels") or {}
        labels.pop(LABEL_TEMPLATE_HASH, None)
        patch: list[Json] = [
            # An old resourceVersion is a conflict, as in a merge patch.
            {"op": "add", "path": "/metadata/resourceVersion", "value": workload.resource_version},
            {"op": "add", "path": f"/metadata/annotations/{_FAILED_POINTER}", "value": action.failed},
            {"op": "replace", "path": "/spec/template", "value": template},
        ]
        await self._releases.patch(_target(workload), patch, content_type=JSON_PATCH, **_MANAGED)

    async def create_green(self, workload: Workload, action: CreateGreen) -> None:
        """Create green from the target as it is now; raises Conflict when its template is not the one decided on."""
        raw = await self._releases.get(_target(workload))
        if parse_workload.fingerprint(raw["spec"]["template"]) != workload.template.fingerprint:
            raise Conflict("the template changed since it was read")
        body = _green(workload, raw["spec"], action)
        await self._releases.post(collection("deployments", workload.namespace), body)

    async def scale_green(self, green: Green, *, replicas: int) -> None:
        """Set green's replicas."""
        await self._patch_green(green, {"spec": {"replicas": replicas}})

    async def advance_green(self, green: Green, action: AdvanceGreen) -> None:
        """Mark the next step on green, and set its replicas if the action has them."""
        body: Json = {"metadata": {"annotations": _step(action.step, action.towards, action.at)}}
        if action.replicas is not None:
            body["spec"] = {"replicas": action.replicas}
        await self._patch_green(green, body)

    async def retry_pull(self, green: Green, action: RetryPull) -> None:
        """Count the retry, then delete the pods; in this order, so that retries never exceed the limit."""
        await self._patch_green(green, {"metadata": {"annotations": {ANNOTATION_PULL_RETRIES: str(action.tries)}}})
        for pod in action.pods:
            options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": pod.uid}}
            try:
                await self._releases.delete(named("pods", green.workload.namespace, pod.name), options)
            except NotFound:
                continue

    async def delete_green(self, green: Green) -> None:
        """Delete green in the foreground: it exists until its pods end, and no client is routed to them meanwhile.

        Once it is being deleted, in the background: the API server then takes back the finalizer that makes the
        Deployment wait for its pods, and they end by themselves.
        """
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background" if green.deleting else "Foreground",
            "preconditions": {"uid": green.workload.uid},
        }
        path = named("deployments", green.workload.namespace, green.workload.name)
        try:
            await self._releases.delete(path, options)
        except NotFound:
            return

    async def route(self, service: Service, *, template_hash: str) -> None:
        """Pin a Service; an empty hash removes its pin."""
        body = {
            "metadata": {
                "resourceVersion": service.resource_version,
                "annotations": {ANNOTATION_PINNED: "true" if template_hash else None},
            },
            "spec": {"selector": {LABEL_TEMPLATE_HASH: template_hash or None}},
        }
        await self._releases.patch(named("services", service.namespace, service.name), body, **_MANAGED)

    async def put_preview(self, workload: Workload, action: PutPreview, *, like: Service) -> None:
        """Create the preview Service or change its selector; raises Refused when somebody else's has its name."""
        path = named("services", workload.namespace, action.name)
        selector = dict(like.base) | ({LABEL_TEMPLATE_HASH: action.template_hash} if action.template_hash else {})
        raw = await self._releases.find(path)
        if raw is None:
            body = await self._preview(workload, action.name, like=like, selector=selector)
            await self._releases.post(collection("services", workload.namespace), body)
            return
        if (raw["metadata"].get("annotations") or {}).get(ANNOTATION_PREVIEW_OF) != workload.name:
            raise Refused(
                f"Service {action.name} exists and is not the operator's; delete it or name another previewService"
            )
        patch: list[Json] = [
            {"op": "add", "path": "/metadata/resourceVersion", "value": raw["metadata"]["resourceVersion"]},
            {"op": "replace", "path": "/spec/selector", "value": selector},
        ]
        await self._releases.patch(path, patch, content_type=JSON_PATCH, **_MANAGED)

    async def delete_preview(self, *, namespace: str, name: str) -> None:
        """Delete the preview Service; no error when it does not exist."""
        try:
            await self._releases.delete(
                named("services", namespace, name), {"apiVersion": "v1", "kind": "DeleteOptions"}
            )
        except NotFound:
            return

    async def note_signal(self, pod: Pod, *, namespace: str, at: datetime | None) -> None:
        """Record on the pod that it was sent the drain signal; None removes the record."""
        value = format_time(at) if at is not None else None
        meta = {"resourceVersion": pod.resource_version, "annotations": {ANNOTATION_SIGNALLED: value}}
        await self._releases.patch(named("pods", namespace, pod.name), {"metadata": meta}, **_MANAGED)

    async def _patch_target(
        self,
        workload: Workload,
        *,
        annotations: Mapping[str, str | None],
        spec: Json | None = None,
        is_exact: bool = True,
    ) -> None:
        meta: Json = {"annotations": dict(annotations)} | (
            {"resourceVersion": workload.resource_version} if is_exact else {}
        )
        body: Json = {"metadata": meta} | ({"spec": spec} if spec else {})
        await self._releases.patch(_target(workload), body, **_MANAGED)

    async def _patch_green(self, green: Green, body: Json) -> None:
        """Patch green only as it was read: a step decided late would move the rollout back."""
        path = named("deployments", green.workload.namespace, green.workload.name)
        exact = {"resourceVersion": green.workload.resource_version}
        await self._releases.patch(path, body | {"metadata": body.get("metadata", {}) | exact}, **_MANAGED)

    async def _preview(self, workload: Workload, name: str, *, like: Service, selector: Mapping[str, str]) -> Json:
        raw = await self._releases.find(named("services", like.namespace, like.name)) or {"spec": {}}
        kept = ("name", "port", "targetPort", "protocol", "appProtocol")
        ports = [{key: port[key] for key in kept if key in port} for port in raw["spec"].get("ports") or []]
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": name,
                "labels": {LABEL_MANAGED: LABEL_MANAGED_VALUE},
                "annotations": {ANNOTATION_PREVIEW_OF: workload.name},
                "ownerReferences": [_owner(workload)],
            },
            "spec": {"selector": dict(selector), "ports": ports},
        }


def _target(workload: Workload) -> str:
    return workload_path(workload.kind, workload.namespace, workload.name)


def _owner(workload: Workload) -> Json:
    """Owner reference to the target, not to our resource: deleting our resource must not delete what serves."""
    return {
        "apiVersion": "apps/v1",
        "kind": workload.kind.value,
        "name": workload.name,
        "uid": workload.uid,
        "controller": False,
        "blockOwnerDeletion": False,
    }


def _step(step: ReleaseStep, towards: Colour, at: datetime) -> dict[str, str]:
    return {
        ANNOTATION_RELEASE_STEP: step.value,
        ANNOTATION_RELEASE_TOWARDS: towards.value,
        ANNOTATION_RELEASE_SINCE: format_time(at),
    }


def _green(workload: Workload, spec: Json, action: CreateGreen) -> Json:
    """Manifest of green, without the target's metadata: tools that track the target by it would claim green, too."""
    track = {LABEL_TRACK: TRACK_GREEN}
    template = dict(spec["template"])
    meta = dict(template.get("metadata") or {})
    meta["labels"] = dict(meta.get("labels") or {}) | track
    selector = dict(spec["selector"])
    selector["matchLabels"] = dict(selector.get("matchLabels") or {}) | track
    annotations = {ANNOTATION_GREEN_OF: workload.name, ANNOTATION_RELEASE_STARTED: format_time(action.at)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": green_name(workload.name),
            "namespace": workload.namespace,
            "labels": {LABEL_MANAGED: LABEL_MANAGED_VALUE} | track,
            "annotations": annotations | _step(ReleaseStep.PREPARING, Colour.GREEN, action.at),
            "ownerReferences": [_owner(workload)],
        },
        "spec": {
            "replicas": action.replicas,
            "selector": selector,
            "minReadySeconds": int(spec.get("minReadySeconds") or 0),
            "revisionHistoryLimit": 0,
            "template": template | {"metadata": meta},
        },
    }
