"""The step of a rollout whose mark cannot be read: another version of the operator wrote it, or a person removed it.

The step follows from where traffic goes. Beginning anew would lead all clients to blue, which may have been drained, or
whose pods may be in the middle of their replacement.
"""

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.actions import AdvanceGreen
from resilience.core.rollouts.context import Move, RolloutContext


def recover(context: RolloutContext) -> Move:
    """Marks the last step that changes nothing about where traffic goes now; the rollout continues from there."""
    towards = _towards(context)
    step = _step(context, towards)
    message = f"the step of the release cannot be read; it continues from {step}, as traffic goes now"
    return Move(actions=(AdvanceGreen(step, towards, context.now),), waiting=message)


def _towards(context: RolloutContext) -> Colour:
    """Blue once its own pods have, or are getting without traffic, the template that green serves with."""
    has_template = context.serving == context.green.workload.template.fingerprint
    gets_template = not context.workload.paused and _is_alone(context, Colour.GREEN)
    # A direction that cannot be read is given as green.
    is_blue = context.green.towards is Colour.BLUE or has_template or gets_template
    return Colour.BLUE if is_blue else Colour.GREEN


def _step(context: RolloutContext, towards: Colour) -> ReleaseStep:
    kept = context.green.workload.template.fingerprint
    if towards is Colour.GREEN and context.failed(kept):
        return ReleaseStep.REVERTING
    if _is_alone(context, Colour.GREEN):
        return ReleaseStep.WARM if towards is Colour.GREEN else ReleaseStep.PREPARING
    if not _is_alone(context, Colour.BLUE):
        return ReleaseStep.SWITCHING
    if towards is Colour.GREEN:
        return ReleaseStep.PREPARING
    return ReleaseStep.DRAINING if context.serving == kept else ReleaseStep.WARM


def _is_alone(context: RolloutContext, colour: Colour) -> bool:
    """Every Service of the colour is pinned to it."""
    if colour is Colour.GREEN:
        template_hash = context.hash_of(colour)
    else:
        # The step decides which of the target's ReplicaSets is blue; without it, the one that was noted as serving.
        sets = context.view.replica_sets
        template_hash = next((owner.template_hash for owner in sets if owner.fingerprint == context.serving), "")
    services = context.leading_to(colour) or context.services
    return bool(template_hash and services) and all(service.pin == template_hash for service in services)
