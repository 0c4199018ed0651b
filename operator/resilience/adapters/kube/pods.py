"""Reads the pods of a target together with the constraints on changing them, as one observation of the current state.

A failed read raises Unavailable, and no decision follows from it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import structlog

from resilience.adapters.kube import mount_failures, parse, parse_workload, quota, selectors
from resilience.adapters.kube.autoscalers import Autoscalers
from resilience.adapters.kube.listed import Json, Listed
from resilience.adapters.kube.paths import collection, green_name, is_name, named, workload_path
from resilience.adapters.kube.pod_policies import PodPolicies
from resilience.adapters.kube.shapes import BudgetShape, PodShape, ReplicaSetShape
from resilience.adapters.kube.shared_lists import SharedLists
from resilience.adapters.kube.transport import Transport
from resilience.adapters.telemetry import redaction
from resilience.api.names import (
    ANNOTATION_GREEN_OF,
    ANNOTATION_PULL_RETRIES,
    ANNOTATION_RELEASE_SINCE,
    ANNOTATION_RELEASE_STARTED,
    ANNOTATION_RELEASE_STEP,
    ANNOTATION_RELEASE_TOWARDS,
    LABEL_MANAGED,
    LABEL_MANAGED_VALUE,
    LABEL_RETIRING,
    LABEL_TRACK,
    LEFT_VALUE,
    TRACK_GREEN,
)
from resilience.api.reasons import Colour, ReleaseStep, ReplaceStep
from resilience.api.v1alpha1 import TargetKind
from resilience.core.model import held
from resilience.core.model.observation import Green, Node, Pod, PodsView
from resilience.core.model.workload import ReplicaSet, Workload
from resilience.ports import PortError, Refused

log = structlog.get_logger(__name__)

# More than a node can attach.
_MOST_CLAIMS: Final = 64
# Every green has these labels.
_IN_FLIGHT: Final = f"{LABEL_MANAGED}={LABEL_MANAGED_VALUE},{LABEL_TRACK}={TRACK_GREEN}"
_LOG_LINES: Final = "15"
_LOG_BYTES: Final = "4096"
# The kubelet answers with the status 200 and this text.
_NO_LOG: Final = "unable to retrieve container logs"


class PodsReader:
    """Reads pods and their constraints; `policies` are those of networks and meshes."""

    def __init__(self, *, transport: Transport, lists: SharedLists, policies: PodPolicies) -> None:
        self._transport = transport
        self._lists = lists
        self._autoscalers = Autoscalers(lists=lists)
        self._policies = policies

    async def view(self, workload: Workload, *, releases: bool, limits: bool) -> PodsView:
        """Pods of the target; for `limits` and `releases` see `ports.cluster`."""
        namespace = workload.namespace
        chosen, sets, green, (retiring, limited) = await asyncio.gather(
            self._selected("pods", workload, PodShape),
            self._replica_sets(workload),
            self._green(workload) if releases else _nothing(),
            self._limits(workload) if limits else _unlimited(),
        )
        own = _replica_sets(workload, sets)
        owners = {"", workload.uid, *(replica_set.uid for replica_set in own)}
        pods = await mount_failures.with_mount_failures(
            self._transport,
            _own(
                workload,
                own,
                [*chosen, *retiring.about(lambda raw: _controller_uid(raw) in owners)],
                now=self._transport.now(),
            ),
            namespace=namespace,
        )
        view = replace(limited, pods=pods, replica_sets=tuple(own))
        return await self._with_releases(workload, view, green, sets, chosen) if releases else view

    async def _limits(self, workload: Workload) -> tuple[Listed[Json], PodsView]:
        """Pods that are being replaced, and the constraints on replacing more."""

        def selects(budget: Json) -> bool:
            return selectors.matches(budget["spec"].get("selector"), labels)

        namespace, labels = workload.namespace, workload.template.labels
        retiring, budgets, policies, (exclusive, problem) = await asyncio.gather(
            self._lists.list(collection("pods", namespace), shape=PodShape, labels=LABEL_RETIRING),
            self._lists.list(collection("poddisruptionbudgets", namespace), shape=BudgetShape),
            self._policies.selecting(namespace, labels),
            self._exclusive_claims(workload),
        )
        ours = [raw for raw in budgets.about(selects) if selects(raw)]
        return retiring, PodsView(
            budgets=tuple(parse.budget(raw) for raw in ours),
            exclusive_claims=exclusive,
            claims_problem=problem,
            policy_labels=frozenset(key for policy in policies.found for key in policy.labels),
            policies=policies.found,
            unread_policies=policies.unread,
            budget_labels=frozenset(key for raw in ours for key in selectors.keys(raw["spec"].get("selector"))),
        )

    async def logs(self, *, namespace: str, pod: str) -> str:
        """Last log lines before the container ended, secrets redacted; a log that cannot be read counts as empty."""
        path = f"{named('pods', namespace, pod)}/log"
        # An ended container is the current one until the next starts; the log of the previous one is soon deleted.
        for previous in ("false", "true"):
            try:
                text = await self._transport.text(path, tailLines=_LOG_LINES, limitBytes=_LOG_BYTES, previous=previous)
            except PortError:
                continue
            if text.strip() and not text.startswith(_NO_LOG):
                return redaction.redact_text(text.strip())
        return ""

    async def _with_releases(
        self, workload: Workload, view: PodsView, raw_green: Json | None, sets: Sequence[Json], pods: Sequence[Json]
    ) -> PodsView:
        notes = ((raw_green or {}).get("metadata") or {}).get("annotations") or {}
        is_ours = notes.get(ANNOTATION_GREEN_OF) == workload.name
        now = self._transport.now()
        green = _green_view(raw_green, sets, pods, now=now) if raw_green is not None and is_ours else None
        occupied_name = green_name(workload.name) if raw_green is not None and not is_ours else ""
        if green is not None:
            green_pods = await mount_failures.with_mount_failures(
                self._transport, green.pods, namespace=workload.namespace
            )
            green = replace(green, pods=green_pods)
        view = replace(view, green=green, green_taken=occupied_name, autoscaler=await self._autoscalers.of(workload))
        serving = held.serving_template(workload, view.replica_sets)
        if green is not None or not held.is_held(workload) or serving == workload.template.fingerprint:
            return view
        nodes, short = await asyncio.gather(self._nodes(), self._quota(workload))
        return replace(view, nodes=nodes, quota_short=short)

    async def _green(self, workload: Workload) -> Json | None:
        """Green, from a list of those that are in flight; else whatever has its name, for the label may be lost."""
        path, name = collection("deployments", workload.namespace), green_name(workload.name)
        listed = await self._lists.list(path, labels=_IN_FLIGHT)
        found = listed.about(lambda raw: bool(raw["metadata"]["name"] == name))
        green = next((raw for raw in found if raw["metadata"]["name"] == name), None)
        return green or await self._transport.find(named("deployments", workload.namespace, name))

    async def _nodes(self) -> tuple[Node, ...] | None:
        """The nodes, or None with rights in namespaces only: nodes are cluster-scoped."""
        try:
            return (await self._lists.views("/api/v1/nodes", _node)).all()
        except Refused:
            return None

    async def _quota(self, workload: Workload) -> str:
        quotas = (await self._lists.list(collection("resourcequotas", workload.namespace))).all()
        if not quotas:
            return ""
        raw = await self._transport.get(workload_path(workload.kind, workload.namespace, workload.name))
        return quota.short(quotas, raw["spec"]["template"].get("spec") or {}, pods=workload.replicas)

    async def _replica_sets(self, workload: Workload) -> Sequence[Json]:
        if workload.kind is not TargetKind.DEPLOYMENT:
            return []
        return await self._selected("replicasets", workload, ReplicaSetShape)

    async def _selected(self, plural: str, workload: Workload, shape: Any) -> Sequence[Json]:
        """Objects with the labels that the target selects by."""
        path = collection(plural, workload.namespace)
        if not workload.selector:
            return (await self._lists.list(path, shape=shape)).all()
        return await self._lists.selected(path, workload.selector, shape=shape)

    async def _exclusive_claims(self, workload: Workload) -> tuple[tuple[str, ...], str]:
        """The claims that one pod or node only can mount; or none, and the reason for which none was read."""
        names, exclusive = tuple(dict.fromkeys(workload.template.claims)), []
        if len(names) > _MOST_CLAIMS:
            return (), f"the pod template has {len(names)} volume claims; the operator reads at most {_MOST_CLAIMS}"
        impossible = next((name for name in names if not is_name(name)), None)
        if impossible is not None:
            return (), f"the pod template has volume claim {impossible[:80]!r}, and no object can have that name"
        for name in names:
            raw = await self._transport.find(named("persistentvolumeclaims", workload.namespace, name))
            modes = ((raw or {}).get("spec") or {}).get("accessModes") or []
            if raw is not None and not {"ReadWriteMany", "ReadOnlyMany"}.intersection(modes):
                exclusive.append(name)
        return tuple(exclusive), ""


def _node(raw: Json) -> Node:
    return Node(raw["metadata"]["name"], bool((raw.get("spec") or {}).get("unschedulable")))


async def _nothing() -> Json | None:
    return None


async def _unlimited() -> tuple[Listed[Json], PodsView]:
    return Listed(()), PodsView(limits_read=False)


def _replica_sets(workload: Workload, sets: Sequence[Json]) -> list[ReplicaSet]:
    """The target's own ReplicaSets. Of a held target the one is current that serves, whatever its record says."""
    wanted = workload.template.fingerprint
    own = [parse_workload.replica_set(raw, kept=wanted) for raw in sets if _controller_uid(raw) == workload.uid]
    kept = held.serving_template(workload, own) if workload.paused else ""
    return [replace(replica_set, is_current=replica_set.fingerprint == (kept or wanted)) for replica_set in own]


def _green_view(raw: Json, sets: Sequence[Json], raw_pods: Sequence[Json], *, now: datetime) -> Green:
    workload = parse_workload.workload(TargetKind.DEPLOYMENT, raw)
    meta, fingerprint = raw["metadata"], workload.template.fingerprint
    own = [
        parse_workload.replica_set(entry, kept=fingerprint) for entry in sets if _controller_uid(entry) == workload.uid
    ]
    notes = workload.annotations
    step, towards = notes.get(ANNOTATION_RELEASE_STEP), notes.get(ANNOTATION_RELEASE_TOWARDS)
    created = parse.time(meta.get("creationTimestamp")) or now
    return Green(
        workload=workload,
        template_hash=next((replica_set.template_hash for replica_set in own if replica_set.is_current), ""),
        pods=_own(workload, own, raw_pods, now=now),
        # Annotations edited by hand, or by a newer operator, must not stop a rollout; `core/rollouts/unknown_step.py`.
        step=ReleaseStep(step) if step in tuple(ReleaseStep) else ReleaseStep.PREPARING,
        towards=Colour(towards) if towards in tuple(Colour) else Colour.GREEN,
        is_step_known=step in tuple(ReleaseStep) and towards in tuple(Colour),
        since=parse.time(notes.get(ANNOTATION_RELEASE_SINCE)) or created,
        started=parse.time(notes.get(ANNOTATION_RELEASE_STARTED)) or created,
        pull_retries=int(notes.get(ANNOTATION_PULL_RETRIES, "0"))
        if notes.get(ANNOTATION_PULL_RETRIES, "0").isdecimal()
        else 0,
        deleting="deletionTimestamp" in meta,
    )


def _own(workload: Workload, sets: Sequence[ReplicaSet], raws: Sequence[Json], *, now: datetime) -> tuple[Pod, ...]:
    """Pods of the workload, of its ReplicaSets or, taken over, of the Deployment itself, without duplicates."""
    owners = {workload.uid, *(replica_set.uid for replica_set in sets)}
    pods = {
        raw["metadata"]["uid"]: parse.pod(raw, min_ready_seconds=workload.min_ready_seconds, now=now)
        for raw in raws
        if _controller_uid(raw) in owners and not _left_over(raw)
    }
    with_steps = [_with_step(workload, pod) for pod in pods.values()]
    return tuple(sorted(with_steps, key=lambda pod: (pod.created, pod.name)))


def _left_over(raw: Json) -> bool:
    """The pod has ended and is kept for inspection. A pod that is being deleted does not count: it is terminating."""
    has_ended = (raw.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return has_ended and "deletionTimestamp" not in raw["metadata"]


def _with_step(workload: Workload, pod: Pod) -> Pod:
    """The pod with its step: one that the Deployment itself owns was taken over, whatever our label says now.

    Somebody may have removed the label, and a newer operator may have marked a step that this one does not know.
    """
    if workload.kind is TargetKind.DEPLOYMENT and pod.owner_uid == workload.uid and pod.step is None:
        return replace(pod, step=ReplaceStep.LEAVING if _has_left(workload, pod) else ReplaceStep.REPLACING)
    return pod


def _has_left(workload: Workload, pod: Pod) -> bool:
    """A label of the pod was overwritten to take it out of a Service; its ReplicaSet would not take it back."""
    own = workload.template.labels
    return any(value == LEFT_VALUE and own.get(key) != LEFT_VALUE for key, value in pod.labels.items())


def _controller_uid(raw: Json) -> str:
    references = raw["metadata"].get("ownerReferences") or []
    return next((str(reference["uid"]) for reference in references if reference.get("controller")), "")
