"""The preview Service: leads to the candidate as soon as it is ready, and never to nothing that is."""

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.actions import DeletePreview, PutPreview
from resilience.core.model.decision import Action
from resilience.core.rollouts.context import RolloutContext


def plan(context: RolloutContext) -> tuple[Action, ...]:
    """What to write about preview Services: ours under other names go."""
    wanted = None if context.leaving else context.settings.preview_service
    ours = [each for each in context.observation.services if each.preview_of == context.workload.name]
    gone: list[Action] = [DeletePreview(each.name) for each in ours if each.name != wanted]
    if wanted is None:
        return tuple(gone)
    pin = _pin(context)
    known = next((each for each in ours if each.name == wanted), None)
    if known is None or known.pin != pin:
        gone.append(PutPreview(wanted, pin))
    return tuple(gone)


def _pin(context: RolloutContext) -> str:
    """Green while it is a candidate and ready; before that what serves; at rest all pods there are."""
    if context.view.green is None or context.green.deleting:
        return ""
    candidate = context.green.towards is Colour.GREEN and context.green.step is not ReleaseStep.DISCARDING
    if candidate and context.available(Colour.GREEN):
        return context.hash_of(Colour.GREEN)
    return context.hash_of(Colour.BLUE) if context.available(Colour.BLUE) else ""
