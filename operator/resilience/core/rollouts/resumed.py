"""A Deployment that somebody resumed in the middle of its release, so that its controller replaces pods by itself.

Must not fight for the pause while the target's own pods serve: whoever resumes has decided. While green serves the
pause costs nobody anything, and keeps the pods that clients still have connections to.
"""

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.actions import AdvanceGreen, Hold
from resilience.core.rollouts import bluegreen_steps, drain, pins
from resilience.core.rollouts.context import Move, RolloutContext


def plan(context: RolloutContext) -> Move:
    """The move after somebody resumed the target, towards either colour, except while blue is prepared."""
    if context.green.towards is Colour.GREEN and context.green.step in (ReleaseStep.WARM, ReleaseStep.DRAINING):
        return _while_green_serves(context)
    message = "somebody resumed the Deployment, so it rolls by itself"
    # Its new pods need endpoints, and green must not go before they serve.
    unpin = pins.route(context, None)
    if unpin or not context.workload.settled:
        return Move(actions=unpin, waiting=message, wait=bluegreen_steps.POLL)
    return Move(
        actions=(Hold(context.wanted), AdvanceGreen(ReleaseStep.DISCARDING, Colour.GREEN, context.now)), waiting=message
    )


def is_so(context: RolloutContext) -> bool:
    """Somebody resumed the target in the middle of a release; while blue is prepared the operator does so itself."""
    if context.view.green is None or context.workload.paused or context.workload.replicas == 0:
        return False
    return not context.is_preparing_blue


def ended_pods(context: RolloutContext) -> int:
    """Pods of the previous version that the Deployment controller has ended by itself, as its ReplicaSet shows."""
    if not is_so(context) or context.green.towards is not Colour.GREEN or context.serving == context.wanted:
        return 0
    return max(context.workload.replicas - (context.blue.replicas if context.blue is not None else 0), 0)


def _while_green_serves(context: RolloutContext) -> Move:
    """Holds the target again if clients are to be drained from its pods and all of these are left.

    With fewer there is no way back to them. Their clients are signalled at once, and the way home begins.
    """
    if drain.is_wanted(context) and _is_complete(context):
        return Move(
            actions=(Hold(context.serving),), waiting="the Deployment is held again until clients have moved over"
        )
    signals = drain.signal_pods(context, Colour.BLUE, is_last=True)
    return Move(actions=(*signals, AdvanceGreen(ReleaseStep.PREPARING, Colour.BLUE, context.now)))


def _is_complete(context: RolloutContext) -> bool:
    """All pods of the previous version are left, and a paused Deployment's controller lets them be.

    Even while it is paused, its controller ends the old pods once the newest ReplicaSet has full size and is available.
    """
    size, blue = context.workload.replicas, context.blue
    others = (replica_set for replica_set in context.view.replica_sets if replica_set is not blue)
    return blue is not None and blue.replicas >= size and all(other.replicas < size for other in others)
