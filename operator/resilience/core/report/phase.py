"""The phase of a service: one word for people, made of everything else, and when time alone changes it."""

from datetime import datetime, timedelta

from resilience.api.reasons import AlertName, ConditionType, HealthState, Phase, Reason
from resilience.api.status import HealthStatus, Status
from resilience.core.failures import attention
from resilience.core.health.thresholds import NOT_RUN_YET, WELL
from resilience.core.model import conditions
from resilience.core.model.observation import Resource
from resilience.core.model.workload import Workload
from resilience.core.report.condition_rules import Facts

# Until then a candidate has no clients: whether the service is down is a matter of the target's own pods.
_WITHOUT_CLIENTS = ("Preparing", "Scaling")


def of(facts: Facts, health: HealthStatus, status: Status, now: datetime) -> Phase:
    """The phase after a pass; `status` is composed so far."""
    workload, pods = facts.base.workload, facts.base.observation.pods
    green = pods is not None and pods.green is not None
    down = is_down(workload) and (not green or status.rollout.step in _WITHOUT_CLIENTS)
    if facts.base.spec.suspend:
        return Phase.SUSPENDED
    if facts.prerequisites.status:
        return Phase.FAILED
    if down and attention.crashes(status.attention):
        return Phase.CRASHED
    if down and _told_down(facts.base.resource.status):
        # Until something serves, whatever is tried meanwhile.
        return Phase.FAILED
    if starting(facts.base.resource, status, now) and (down or health.state is HealthState.UNHEALTHY):
        return Phase.INITIALIZING
    moves = workload.rolling or not (workload.observed or workload.paused)
    if (status.rollout.candidate is not None or moves) and not (down and green):
        return Phase.DEPLOYING
    if down:
        return Phase.INITIALIZING if _patience(facts.base.resource, now) else Phase.FAILED
    if not workload.settled and not workload.paused:
        return Phase.DEPLOYING
    if health.checks and all(check.reason == NOT_RUN_YET for check in health.checks):
        return Phase.INITIALIZING
    return Phase.RUNNING


def is_down(workload: Workload) -> bool:
    """Whether pods are wanted and none is available."""
    return workload.replicas > 0 and not workload.available


def is_well(workload: Workload, health: HealthStatus) -> bool:
    """Whether it serves as it should, as far as anybody knows."""
    return workload.available > 0 and (not health.checks or health.state in WELL)


def starting(resource: Resource, status: Status, now: datetime) -> bool:
    """Whether it has yet to be well for the first time: until then what is missing is no release and no outage.

    Pods may be ready some seconds before the checks that failed while they started have passed again, and manifests are
    applied in any order. What is never well has failed when its progress deadline is over.
    """
    return status.first_healthy_at is None and _left_to_start(resource, now) > timedelta()


def appointment(resource: Resource, status: Status, workload: Workload, now: datetime) -> timedelta | None:
    """When time alone changes the phase."""
    if resource.spec is None or resource.spec.suspend:
        return None
    if starting(resource, status, now):
        return _left_to_start(resource, now)
    return _patience(resource, now) if is_down(workload) and status.phase is Phase.INITIALIZING else None


def _left_to_start(resource: Resource, now: datetime) -> timedelta:
    assert resource.spec is not None
    return resource.created + resource.spec.rollout.progress_deadline - now


def _patience(resource: Resource, now: datetime) -> timedelta | None:
    """How long all pods may still be missing because they are on their way; None when they should be there.

    So it is in a rollout that keeps none, and from zero; and nobody knows what became of a service that was suspended.
    """
    assert resource.spec is not None
    ready = conditions.find(resource.status.conditions, ConditionType.READY)
    moved = ready is not None and ready.reason in (Reason.ROLLING, Reason.SCALED_TO_ZERO)
    if resource.status.phase not in (Phase.INITIALIZING, Phase.SUSPENDED) and not moved:
        return None
    since = ready.last_transition_time if ready is not None and ready.status != "True" else now
    left = since + resource.spec.rollout.progress_deadline - now
    return left if left > timedelta() else None


def _told_down(before: Status) -> bool:
    return any(each.name == AlertName.SERVICE_DOWN for each in before.alerts.firing)
