"""The phase of a service: one word for people that sums up everything else, and the time until it changes by itself."""

from datetime import datetime, timedelta

from resilience.api.reasons import AlertName, ConditionType, HealthState, Phase, Reason, RolloutStage
from resilience.api.status import HealthStatus, Status
from resilience.core.failures import attention
from resilience.core.health.thresholds import NOT_RUN_YET, WELL
from resilience.core.model import conditions
from resilience.core.model.observation import PodsView, Resource
from resilience.core.model.workload import Workload
from resilience.core.report.condition_rules import Facts

# In these steps a candidate has no clients: the target's own pods decide whether the service is down.
_WITHOUT_CLIENTS = (RolloutStage.PREPARING, RolloutStage.SCALING)


def of(facts: Facts, health: HealthStatus, status: Status) -> Phase:
    """The phase after a pass; `status` is what has been composed so far."""
    workload, pods = facts.base.workload, facts.base.observation.pods
    has_green = pods is not None and pods.green is not None
    down = is_down(workload) and (not has_green or status.rollout.step in _WITHOUT_CLIENTS)
    down = down and not _is_replaced_while_it_serves(pods)
    if facts.base.spec.suspend:
        return Phase.SUSPENDED
    if facts.prerequisites.status and facts.prerequisites.reason is not Reason.INVALID_SPEC:
        return Phase.FAILED
    if down and attention.crashes(status.attention):
        return Phase.CRASHED
    if down and _is_reported_down(facts.base.resource.status):
        # Until something serves, whatever is attempted meanwhile.
        return Phase.FAILED
    if starting(facts.base.resource, status, facts.base.now) and (down or health.state is HealthState.UNHEALTHY):
        return Phase.INITIALIZING
    is_moving = workload.rolling or not (workload.observed or workload.paused)
    if (status.rollout.candidate is not None or is_moving) and not (down and has_green):
        return Phase.DEPLOYING
    if down:
        return Phase.INITIALIZING if _patience(facts.base.resource, facts.base.now) else Phase.FAILED
    if not workload.settled and not workload.paused:
        return Phase.DEPLOYING
    if health.checks and all(check.reason == NOT_RUN_YET for check in health.checks):
        return Phase.INITIALIZING
    return Phase.RUNNING


def _is_replaced_while_it_serves(pods: PodsView | None) -> bool:
    """A pod that the operator replaces still serves, although its Deployment no longer counts it."""
    return pods is not None and any(pod.step is not None and pod.available and not pod.deleting for pod in pods.pods)


def is_down(workload: Workload) -> bool:
    """Pods are wanted and none is available."""
    return workload.replicas > 0 and not workload.available


def is_well(workload: Workload, health: HealthStatus) -> bool:
    """The service serves as it should, as far as is known."""
    return workload.available > 0 and (not health.checks or health.state in WELL)


def starting(resource: Resource, status: Status, now: datetime) -> bool:
    """The service has yet to be well for the first time: until then, missing parts mean neither rollout nor outage.

    Pods may be ready some seconds before the checks that failed while they started have passed again, and manifests are
    applied in any order. A service that is never well has failed when its progress deadline is over.
    """
    return status.first_healthy_at is None and _left_to_start(resource, now) > timedelta()


def next_change(resource: Resource, status: Status, workload: Workload, now: datetime) -> timedelta | None:
    """Time until the phase changes by itself; None when it does not."""
    if resource.spec is None or resource.spec.suspend:
        return None
    if starting(resource, status, now):
        return _left_to_start(resource, now)
    return _patience(resource, now) if is_down(workload) and status.phase is Phase.INITIALIZING else None


def _left_to_start(resource: Resource, now: datetime) -> timedelta:
    assert resource.spec is not None
    return resource.created + resource.spec.rollout.progress_deadline - now


def _patience(resource: Resource, now: datetime) -> timedelta | None:
    """Time that all pods may still be missing because they are being created; None when they should be there.

    It applies in a rollout that keeps no pods, in a scale-up from zero, and after a suspension, because the fate of the
    service meanwhile is not known.
    """
    assert resource.spec is not None
    ready = conditions.find(resource.status.conditions, ConditionType.READY)
    moved = ready is not None and ready.reason in (Reason.ROLLING, Reason.SCALED_TO_ZERO)
    if resource.status.phase not in (Phase.INITIALIZING, Phase.SUSPENDED) and not moved:
        return None
    since = ready.last_transition_time if ready is not None and ready.status != "True" else now
    left = since + resource.spec.rollout.progress_deadline - now
    return left if left > timedelta() else None


def _is_reported_down(before: Status) -> bool:
    return any(alert.name == AlertName.SERVICE_DOWN for alert in before.alerts.firing)
