"""The preview Service: leads to the candidate as soon as it is ready, and never to nothing that is."""

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.actions import DeletePreview, PutPreview
from resilience.core.model.decision import Action
from resilience.core.rollouts.context import Stage


def plan(stage: Stage) -> tuple[Action, ...]:
    """What to write about preview Services: ours under other names go."""
    wanted = None if stage.leaving else stage.settings.preview_service
    ours = [each for each in stage.seen.services if each.preview_of == stage.workload.name]
    gone: list[Action] = [DeletePreview(each.name) for each in ours if each.name != wanted]
    if wanted is None:
        return tuple(gone)
    pin = _pin(stage)
    known = next((each for each in ours if each.name == wanted), None)
    if known is None or known.pin != pin:
        gone.append(PutPreview(wanted, pin))
    return tuple(gone)


def _pin(stage: Stage) -> str:
    """Green while it is a candidate and ready; before that what serves; at rest all pods there are."""
    if stage.view.green is None or stage.green.deleting:
        return ""
    candidate = stage.green.towards is Colour.GREEN and stage.green.step is not ReleaseStep.DISCARDING
    if candidate and stage.available(Colour.GREEN):
        return stage.hash_of(Colour.GREEN)
    return stage.hash_of(Colour.BLUE) if stage.available(Colour.BLUE) else ""
