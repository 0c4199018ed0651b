"""The routes of traffic at a step of a rollout, and the writes that establish them.

A pin is one key in a Service's selector. With it, the Service leads to blue or to green; without it, to both. A Service
is never pinned to a colour that has nothing ready.
"""

from resilience.api.names import LABEL_TEMPLATE_HASH
from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.actions import Route
from resilience.core.model.service import Service
from resilience.core.rollouts.context import RolloutContext

_STEPS_WITH_PINS = (ReleaseStep.PREPARING, ReleaseStep.SCALING, ReleaseStep.WARM, ReleaseStep.DRAINING)


def route(context: RolloutContext, colour: Colour | None) -> tuple[Route, ...]:
    """Writes that make every Service lead to this colour; None stands for both."""
    if colour is None:
        return tuple(Route(service.name, "") for service in context.services if service.pin)
    wanted = context.hash_of(colour)
    if not wanted:
        return ()
    return tuple(Route(service.name, wanted) for service in _services_of(context, colour) if service.pin != wanted)


def _services_of(context: RolloutContext, colour: Colour) -> tuple[Service, ...]:
    """The Services to pin for the colour; all Services if it is blue and has no pods.

    A Service that would not select the colour's pods is left alone.
    """
    if colour is Colour.GREEN or context.pods_of(colour):
        return context.leading_to(colour)
    return context.services


def leads_to(context: RolloutContext, colour: Colour) -> bool:
    """All Services of the colour lead to it alone, and no endpoint of the other colour is left."""
    other = Colour.BLUE if colour is Colour.GREEN else Colour.GREEN
    return not route(context, colour) and not context.any_listed(other)


def keep(context: RolloutContext, colour: Colour) -> tuple[Route, ...]:
    """Writes that let the colour serve alone, or both colours if too few of its pods serve and the other can help.

    A disruption budget counts both colours together, so it does not protect the one that serves.
    """
    other = Colour.BLUE if colour is Colour.GREEN else Colour.GREEN
    if context.available(colour) < context.workload.replicas and context.able(other) > 0 and _may_serve(context, other):
        return route(context, None)
    writes = route(context, colour)
    if writes and not context.all_listed(colour):
        # Never from one colour to the other at once; the guard refuses the other writes until the slices list both.
        pinned = {service.name for service in context.services if service.pin}
        return tuple(Route(write.service, "") for write in writes if write.service in pinned) or writes
    return writes


def keeps_apart(context: RolloutContext) -> bool:
    """The target has pods of the template that failed beside those that serve, so the pins stay without green.

    They come from a time in which somebody had resumed it. Its next template ends them.
    """
    if context.leaving or not context.workload.paused or not context.failed(context.wanted):
        return False
    hashes = {pod.labels.get(LABEL_TEMPLATE_HASH) for pod in context.view.pods if not pod.deleting}
    return bool(context.available(Colour.BLUE)) and bool(hashes - {context.hash_of(Colour.BLUE)})


def _may_serve(context: RolloutContext, other: Colour) -> bool:
    """The other colour may have clients: its template has not failed and needs no further check."""
    return not (other is Colour.BLUE and context.is_preparing_blue and context.blue_is_candidate)


def lost(context: RolloutContext, colour: Colour) -> tuple[str, ...]:
    """Names of the Services whose pin somebody's apply removed: they still carry the note that they have one."""
    if context.green.step not in _STEPS_WITH_PINS or context.available(colour) < context.workload.replicas:
        return ()
    return tuple(service.name for service in _services_of(context, colour) if service.pinned and not service.pin)
