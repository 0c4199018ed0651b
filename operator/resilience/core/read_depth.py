"""The amount that the observer has to read before a pass can decide."""

from enum import Enum

from resilience.api.names import ANNOTATION_PAUSED_FOR, ANNOTATION_SERVING
from resilience.api.reasons import Request
from resilience.api.v1alpha1 import TargetKind
from resilience.core.failures import attention
from resilience.core.model import held, requests
from resilience.core.model.observation import Resource
from resilience.core.model.workload import Workload
from resilience.core.rollouts import rollout


class Depth(Enum):
    """WATCHES: what the watches show. PODS: the pods as well. LIMITS: also what limits their replacement."""

    WATCHES = 0
    PODS = 1
    LIMITS = 2


def read_depth(resource: Resource, workload: Workload) -> Depth:
    """The least depth that this pass needs.

    Status only reports pods in trouble, their usage, and a rolling update by Kubernetes itself, so pods are enough for
    these.
    """
    if _may_replace(resource) or _adopts(resource, workload):
        return Depth.LIMITS
    in_trouble = workload.available < workload.replicas and not workload.rolling
    needs_pods = in_trouble or _rolls_out(resource, workload) or _measures_usage(resource)
    needs_pods = needs_pods or attention.includes_stuck_pods(resource.status.attention)
    return Depth.PODS if needs_pods else Depth.WATCHES


def _rolls_out(resource: Resource, workload: Workload) -> bool:
    """A template is being rolled out, or status tells of one that failed and is gone, so the observer reads pods."""
    known, wanted = resource.status.rollout, workload.template.fingerprint
    good = known.serving.hash if known.serving is not None else ""
    is_moving = known.candidate is not None or not workload.observed or workload.stale
    is_past = known.failure is not None and known.failure.version.hash != wanted
    return resource.spec is not None and (is_moving or is_past or good != wanted)


def _adopts(resource: Resource, workload: Workload) -> bool:
    """The operator has adopted, adopts or hands back the target, and has something to do about that."""
    if resource.spec is None:
        return False
    serving = workload.annotations.get(ANNOTATION_SERVING)
    if not rollout.is_blue_green(resource.spec):
        return held.is_held(workload) or ANNOTATION_PAUSED_FOR in workload.annotations
    is_at_rest = serving == workload.template.fingerprint and workload.paused and workload.replicas > 0
    return not is_at_rest or _rolls_out(resource, workload)


def _measures_usage(resource: Resource) -> bool:
    """A share of usage is of the pod's own limit, which no watch shows."""
    return resource.spec is not None and any(check.usage is not None for check in resource.spec.health.checks)


def _may_replace(resource: Resource) -> bool:
    """Pods may be replaced or notified: on request, by a policy, for a restart in flight, or at a hand-back."""
    status, spec = resource.status, resource.spec
    is_requested = any(requests.pending(resource.annotations, status, request) for request in Request)
    if resource.deleting_since is not None or status.restart is not None or (is_requested and spec is not None):
        return True
    if spec is not None and (spec.restart.policies or spec.restart.on_change):
        return True
    # Pods that are created while a flag is on have to be notified.
    return any(flag.on for flag in status.degradation)


def includes_green(resource: Resource, workload: Workload) -> bool:
    """The pods of the second colour have to be read, too."""
    return workload.kind is TargetKind.DEPLOYMENT and (
        held.is_held(workload)
        or resource.deleting_since is not None
        or (resource.spec is not None and rollout.is_blue_green(resource.spec))
    )
