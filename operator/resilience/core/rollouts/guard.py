"""The availability guard for a release: what may be written to Services, green and the target, on a fresh look.

The steps decide what is wanted; here is what must be so whatever they decided, and whoever changed what meanwhile.
"""

from resilience.api.names import ANNOTATION_SERVING, LABEL_TEMPLATE_HASH
from resilience.core.model.actions import CreateGreen, DeleteGreen, Resume, Route
from resilience.core.model.observation import Observation, Pod
from resilience.core.model.service import Service
from resilience.core.model.workload import Workload
from resilience.core.replacement.availability import Refusal, releasing


def refusal(
    seen: Observation, fresh: Observation, action: CreateGreen | DeleteGreen | Route | Resume
) -> Refusal | None:
    """Why the action must not be done now; None when it may."""
    workload = fresh.workload
    if workload is None or fresh.pods is None or seen.workload is None:
        return Refusal("TargetGone", "the target is gone")
    if workload.template.fingerprint != seen.workload.template.fingerprint:
        return Refusal("TemplateChanged", "the template changed since it was looked at")
    match action:
        case CreateGreen():
            return _create(fresh, workload)
        case DeleteGreen():
            return _delete(fresh, workload)
        case Resume():
            return _resume(fresh, workload, action)
        case Route():
            return _route(fresh, workload, action)


def _create(fresh: Observation, workload: Workload) -> Refusal | None:
    """Its pods carry the labels that Services select: each of them has to be pinned first."""
    assert fresh.pods is not None
    if fresh.pods.green is not None:
        return Refusal("GreenExists", "the second Deployment is there already")
    if not releasing(fresh):
        return Refusal("NothingToRelease", "the template is the one that serves, or one that failed")
    loose = [each.name for each in fresh.selecting if not each.pin]
    if loose or not workload.paused:
        what = f"Service {loose[0]} is not pinned" if loose else "the target is not paused"
        return Refusal("NotPinned", f"{what}; the candidate would get traffic")
    return None


def _delete(fresh: Observation, workload: Workload) -> Refusal | None:
    """Nobody may be led to it, unless nothing is to serve at all."""
    assert fresh.pods is not None
    green = fresh.pods.green
    if green is None or workload.replicas == 0:
        return None
    if fresh.unsettled:
        return Refusal("Unsettled", "the API server was away; nodes may not have caught up")
    uids = {pod.uid for pod in green.pods}
    if any(each.counts and each.pod_uid in uids for each in fresh.endpoints):
        return Refusal("StillListed", "Services still send new connections to the second Deployment")
    if any(service.selects(pod.labels) for service in fresh.selecting for pod in green.pods):
        return Refusal("StillSelected", "a Service selects pods of the second Deployment")
    return None


def _resume(fresh: Observation, workload: Workload, action: Resume) -> Refusal | None:
    """The controller replaces pods at once: they must not have clients, or it is what the user wants by himself."""
    assert fresh.pods is not None
    serving = workload.annotations.get(ANNOTATION_SERVING)
    rolls = serving is not None and (serving != workload.template.fingerprint or workload.stale)
    if action.give_back or not rolls or fresh.pods.green is None:
        return None
    if fresh.unsettled:
        return Refusal("Unsettled", "the API server was away; nodes may not have caught up")
    uids = {pod.uid for pod in fresh.pods.pods}
    listed = any(each.counts and each.pod_uid in uids for each in fresh.endpoints)
    selected = any(service.selects(pod.labels) for service in fresh.selecting for pod in fresh.pods.pods)
    if listed or selected:
        return Refusal("StillServing", "the target's own pods still get new connections")
    return None


def _route(fresh: Observation, workload: Workload, action: Route) -> Refusal | None:
    """A Service must not lead to fewer pods than are wanted, or than it leads to now if that is less."""
    assert fresh.pods is not None
    service = next((each for each in fresh.services if each.name == action.service), None)
    if service is None or not action.template_hash:
        return None
    ready = _ready(fresh, service)
    now = {each.pod_uid for each in fresh.endpoints if each.service == service.name and each.counts} & set(ready)
    # Pods that are ready but not listed yet do not help: nobody is led to them before the slices follow.
    chosen = sum(ready[uid].labels.get(LABEL_TEMPLATE_HASH) == action.template_hash for uid in now)
    narrows = service.pin != action.template_hash
    if fresh.unsettled and narrows and not service.pin and len(now) > chosen:
        return Refusal("Unsettled", "the API server was away; nodes may not have caught up")
    least = min(len(now), workload.replicas)
    if chosen >= least:
        return None
    return Refusal("BelowFloor", f"Service {service.name} would lead to {chosen} pods and {least} are needed")


def _ready(fresh: Observation, service: Service) -> dict[str, Pod]:
    assert fresh.pods is not None
    green = fresh.pods.green
    pods = (*fresh.pods.pods, *(green.pods if green is not None else ()))
    return {pod.uid: pod for pod in pods if pod.available and not pod.deleting and service.concerns(pod.labels)}
