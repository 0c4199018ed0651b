"""Keeps an autoscaler from running up the replicas while two colours exist.

A HorizontalPodAutoscaler takes the mean over all pods that the target's selector finds, and multiplies it by their
number. The idle colour uses no CPU, so it lowers the one by as much as it raises the other. It does use memory: six
pods at 80 % of the target ask for five replicas where the target has three. Green follows, and so on up to the maximum.
So scaling up is switched off, and back when green is gone.
"""

from resilience.core.model.actions import LimitAutoscaler
from resilience.core.model.autoscaler import SCALING_UP_OFF
from resilience.core.rollouts import overdue
from resilience.core.rollouts.context import Move, RolloutContext


def limits(context: RolloutContext, move: Move) -> tuple[LimitAutoscaler, ...]:
    """The write that switches scaling up off or back, if one is due.

    Once written it is not written again: somebody who undoes it meanwhile has decided.
    """
    scaler = context.view.autoscaler
    if scaler is None:
        return ()
    is_limited, is_due = scaler.scale_up_before is not None, _is_due(context, move)
    if is_due and scaler.runs_up and not is_limited and scaler.scale_up != SCALING_UP_OFF:
        return (LimitAutoscaler(scaler, limited=True),)
    if is_limited and not is_due:
        return (LimitAutoscaler(scaler, limited=False),)
    return ()


def _is_due(context: RolloutContext, move: Move) -> bool:
    """Two colours exist and the rollout moves.

    One that waits for a person, or takes too long, must not keep the load from its pods for hours.
    """
    return context.view.green is not None and not move.awaits_promotion and not overdue.is_late(context)
