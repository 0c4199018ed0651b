"""The time after which a rollout that still waits is reported: every wait has a deadline of its own, or this one.

docs/reference/waits.md lists the waits. Only moves and new pods count as progress, not pods that become ready again and
again (argoproj/argo-rollouts#3765).
"""

from datetime import datetime, timedelta

from resilience.api.reasons import Colour, ReleaseStep
from resilience.api.v1alpha1 import Gate
from resilience.core.replacement.pod_steps import SIGNAL_PATIENCE
from resilience.core.rollouts import drain
from resilience.core.rollouts.context import Move, RolloutContext


def is_overdue(context: RolloutContext, move: Move) -> bool:
    """The rollout in flight has waited in one place for longer than that may take, and nobody else reports it.

    A person who has to promote it is reported as such, and a failure as such.
    """
    if move.awaits_promotion or move.failure is not None or context.status.rollout.candidate is None:
        return False
    # The guard may refuse to make the second Deployment as long as a Service would lead to it.
    is_moving = bool(move.actions) and context.observation.refusal is None and context.view.green is not None
    return not is_moving and is_late(context)


def is_late(context: RolloutContext) -> bool:
    """The step has lasted for longer than it may."""
    return context.now >= _limit(context)


def left(context: RolloutContext) -> timedelta | None:
    """Time until the rollout in flight is late; None when it is, or when none is in flight."""
    remaining = _limit(context) - context.now
    return remaining if context.status.rollout.candidate is not None and remaining > timedelta() else None


def _limit(context: RolloutContext) -> datetime:
    return _last_progress(context) + context.spec.rollout.progress_deadline + _expected(context)


def _last_progress(context: RolloutContext) -> datetime:
    """The latest of: the beginning of the step, the pods of the rollout, and its beginning if it has no step."""
    green, rollout = context.view.green, context.status.rollout
    if green is not None:
        pods = (*context.pods_of(Colour.GREEN), *context.pods_of(Colour.BLUE))
        return max([green.since, *(pod.created for pod in pods)])
    began = rollout.steps[-1].since if rollout.steps else rollout.started_at or context.now
    return max([began, *(pod.created for pod in context.view.pods if not pod.deleting)])


def _expected(context: RolloutContext) -> timedelta:
    """Time that the step takes on purpose, when nothing is late."""
    settings, rollout = context.settings, context.spec.rollout
    if context.view.green is None:
        return timedelta(seconds=context.workload.min_ready_seconds) + _length(rollout.after)
    if context.green.deleting:
        return _draining(context)
    match context.green.step:
        case ReleaseStep.PREPARING:
            return _length(rollout.before) + (settings.promote_after or timedelta())
        case ReleaseStep.OVERLAPPING:
            return drain.time_to_know(context)
        case ReleaseStep.WARM:
            return max(settings.warm_period, _length(rollout.after))
        case ReleaseStep.DRAINING | ReleaseStep.DISCARDING:
            return _draining(context)
        case _:
            return timedelta()


def _length(gate: Gate | None) -> timedelta:
    return gate.for_ if gate is not None else timedelta()


def _draining(context: RolloutContext) -> timedelta:
    return drain.time_to_know(context) + SIGNAL_PATIENCE + context.spec.drain.max_wait
