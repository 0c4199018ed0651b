"""The availability guard of a rollout: it checks writes to Services, green and the target against a fresh observation.

The steps decide which writes are wanted. The guard enforces what must hold whatever they decided, and whoever changed
anything meanwhile.
"""

from resilience.api.names import LABEL_TEMPLATE_HASH
from resilience.api.reasons import RefusalReason
from resilience.core.model import held
from resilience.core.model.actions import CreateGreen, DeleteGreen, EmptyReplicaSet, Resume, Route
from resilience.core.model.observation import Observation, Pod
from resilience.core.model.service import Service
from resilience.core.model.workload import Workload
from resilience.core.replacement.availability import Refusal, is_rolling_out

# These can take capacity away, or route clients to pods: everything is read again before them.
Guarded = CreateGreen | DeleteGreen | EmptyReplicaSet | Route | Resume


def refusal(seen: Observation, fresh: Observation, action: Guarded) -> Refusal | None:
    """The reason why the action must not be done now; None when it may be."""
    workload = fresh.workload
    if workload is None or fresh.pods is None or seen.workload is None:
        return Refusal(RefusalReason.TARGET_GONE, "the target is gone")
    if workload.template.fingerprint != seen.workload.template.fingerprint:
        return Refusal(RefusalReason.TEMPLATE_CHANGED, "the template changed since it was read")
    match action:
        case CreateGreen():
            return _create(fresh, workload)
        case DeleteGreen():
            return _delete(fresh, workload)
        case EmptyReplicaSet():
            return _empty(fresh, workload, action)
        case Resume():
            return _resume(fresh, workload, action)
        case Route():
            return _route(fresh, workload, action)


def _create(fresh: Observation, workload: Workload) -> Refusal | None:
    """Green's pods carry the labels that Services select, so each Service has to be pinned first."""
    assert fresh.pods is not None
    if fresh.pods.green is not None:
        return Refusal(RefusalReason.GREEN_EXISTS, "the second Deployment is there already")
    if not is_rolling_out(fresh):
        return Refusal(RefusalReason.NOTHING_TO_RELEASE, "the template is the one that serves, or one that failed")
    unpinned = [service.name for service in fresh.selecting if not service.pin]
    if unpinned or not workload.paused:
        reason = f"Service {unpinned[0]} is not pinned" if unpinned else "the target is not paused"
        return Refusal(RefusalReason.NOT_PINNED, f"{reason}; the candidate would get traffic")
    return None


def _delete(fresh: Observation, workload: Workload) -> Refusal | None:
    """No client may be led to green, unless the target is to have no pods at all."""
    assert fresh.pods is not None
    green = fresh.pods.green
    if green is None or workload.replicas == 0:
        return None
    if fresh.unsettled:
        return Refusal(RefusalReason.UNSETTLED, "the API server was away; nodes may not have caught up")
    if green.deleting and not all(pod.deleting for pod in green.pods):
        return Refusal(RefusalReason.STILL_SERVING, "a pod of the second Deployment is not ending yet")
    uids = {pod.uid for pod in green.pods}
    if any(endpoint.counts and endpoint.pod_uid in uids for endpoint in fresh.endpoints):
        return Refusal(RefusalReason.STILL_LISTED, "Services still send new connections to the second Deployment")
    if any(service.selects(pod.labels) for service in fresh.selecting for pod in green.pods):
        return Refusal(RefusalReason.STILL_SELECTED, "a Service selects pods of the second Deployment")
    return None


def _resume(fresh: Observation, workload: Workload, action: Resume) -> Refusal | None:
    """The controller replaces pods at once, so they must not have clients, unless the user himself wants that."""
    assert fresh.pods is not None
    serving = held.serving_template(workload, fresh.pods.replica_sets)
    will_roll = held.is_held(workload) and (serving != workload.template.fingerprint or workload.stale)
    if action.give_back or not will_roll or fresh.pods.green is None:
        return None
    return _still_serving(fresh)


def _empty(fresh: Observation, workload: Workload, action: EmptyReplicaSet) -> Refusal | None:
    """Only while green serves and the target rolls to another template than the one that this ReplicaSet has."""
    assert fresh.pods is not None
    if fresh.pods.green is None or workload.paused or action.replica_set.fingerprint == workload.template.fingerprint:
        return Refusal(RefusalReason.STILL_SERVING, f"ReplicaSet {action.replica_set.name} may be needed")
    return _still_serving(fresh)


def _still_serving(fresh: Observation) -> Refusal | None:
    """The refusal while clients may still be led to the target's own pods."""
    assert fresh.pods is not None
    if fresh.unsettled:
        return Refusal(RefusalReason.UNSETTLED, "the API server was away; nodes may not have caught up")
    uids = {pod.uid for pod in fresh.pods.pods}
    is_listed = any(endpoint.counts and endpoint.pod_uid in uids for endpoint in fresh.endpoints)
    is_selected = any(service.selects(pod.labels) for service in fresh.selecting for pod in fresh.pods.pods)
    if is_listed or is_selected:
        return Refusal(RefusalReason.STILL_SERVING, "the target's own pods still get new connections")
    return None


def _route(fresh: Observation, workload: Workload, action: Route) -> Refusal | None:
    """A Service must lead to as many pods as are wanted, or as it leads to now if those are fewer."""
    assert fresh.pods is not None
    service = next((service for service in fresh.services if service.name == action.service), None)
    if service is None or not action.template_hash:
        return None
    ready = _ready(fresh, service)
    listed = {
        endpoint.pod_uid for endpoint in fresh.endpoints if endpoint.service == service.name and endpoint.counts
    } & set(ready)
    # Pods that are ready but not listed yet do not help: no client reaches them before the slices follow.
    chosen = sum(
        ready[uid].labels.get(LABEL_TEMPLATE_HASH) == action.template_hash and fresh.lists(service, ready[uid])
        for uid in listed
    )
    narrows = service.pin != action.template_hash
    if fresh.unsettled and narrows and not service.pin and len(listed) > chosen:
        return Refusal(RefusalReason.UNSETTLED, "the API server was away; nodes may not have caught up")
    required = min(len(listed), workload.replicas)
    if chosen >= required:
        return None
    return Refusal(
        RefusalReason.BELOW_FLOOR, f"Service {service.name} would lead to {chosen} pods and {required} are needed"
    )


def _ready(fresh: Observation, service: Service) -> dict[str, Pod]:
    assert fresh.pods is not None
    green = fresh.pods.green
    pods = (*fresh.pods.pods, *(green.pods if green is not None else ()))
    return {pod.uid: pod for pod in pods if pod.available and not pod.deleting and service.concerns(pod.labels)}
