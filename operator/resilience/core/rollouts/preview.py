"""The preview Service leads to the candidate while that is ready, else to other pods that are ready."""

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.actions import DeletePreview, PutPreview
from resilience.core.model.decision import Action
from resilience.core.rollouts.context import RolloutContext


def plan(context: RolloutContext) -> tuple[Action, ...]:
    """Writes for the preview Service; the operator's own preview Services under other names are deleted."""
    wanted = None if context.leaving else context.settings.preview_service
    own_services = [service for service in context.observation.services if service.preview_of == context.workload.name]
    writes: list[Action] = [DeletePreview(service.name) for service in own_services if service.name != wanted]
    if wanted is None:
        return tuple(writes)
    pin = _pin(context)
    current = next((service for service in own_services if service.name == wanted), None)
    if current is None or current.pin != pin:
        writes.append(PutPreview(wanted, pin))
    return tuple(writes)


def _pin(context: RolloutContext) -> str:
    """Template hash of green while it is a ready candidate, else of blue; empty for all pods, as at rest."""
    if context.view.green is None or context.green.deleting:
        return ""
    is_candidate = context.green.towards is Colour.GREEN and context.green.step is not ReleaseStep.DISCARDING
    if is_candidate and context.available(Colour.GREEN):
        return context.hash_of(Colour.GREEN)
    return context.hash_of(Colour.BLUE) if context.available(Colour.BLUE) else ""
