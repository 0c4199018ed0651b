"""Where traffic should go at a step of a release, and the writes that bring it there.

A Service is pinned by one key of its selector, so that it leads to blue, to green or, without a pin, to both. Never
to a colour that has nothing ready.
"""

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.actions import Route
from resilience.core.model.service import Service
from resilience.core.rollouts.context import RolloutContext

_EXPECTS_PINS = (ReleaseStep.PREPARING, ReleaseStep.SCALING, ReleaseStep.WARM, ReleaseStep.DRAINING)


def route(context: RolloutContext, colour: Colour | None) -> tuple[Route, ...]:
    """What to write so that every Service leads to this colour; None stands for both."""
    if colour is None:
        return tuple(Route(service.name, "") for service in context.services if service.pin)
    wanted = context.hash_of(colour)
    if not wanted:
        return ()
    return tuple(Route(service.name, wanted) for service in _of(context, colour) if service.pin != wanted)


def _of(context: RolloutContext, colour: Colour) -> tuple[Service, ...]:
    """Before green exists its Services are those of blue; a Service that would not select a colour is left alone."""
    if colour is Colour.GREEN or context.pods_of(colour):
        return context.leading_to(colour)
    return context.services


def leads_to(context: RolloutContext, colour: Colour) -> bool:
    """Whether all Services of the colour lead to it alone, and no endpoint of the other is left."""
    other = Colour.BLUE if colour is Colour.GREEN else Colour.GREEN
    return not route(context, colour) and not context.any_listed(other)


def keep(context: RolloutContext, colour: Colour) -> tuple[Route, ...]:
    """The colour serves alone; but if too few of its pods do and the other colour can help, both serve.

    A disruption budget counts both colours together, so it does not protect the one that serves.
    """
    other = Colour.BLUE if colour is Colour.GREEN else Colour.GREEN
    if (
        context.available(colour) < context.workload.replicas
        and context.available(other) > 0
        and _proved(context, other)
    ):
        return route(context, None)
    wanted = route(context, colour)
    if wanted and not context.all_listed(colour):
        # Never from one to the other at once; the guard holds the rest back until the slices list both.
        elsewhere = {service.name for service in context.services if service.pin}
        return tuple(Route(each.service, "") for each in wanted if each.service in elsewhere) or wanted
    return wanted


def _proved(context: RolloutContext, other: Colour) -> bool:
    """Whether the other colour may have clients: not while its template failed or is still to be checked."""
    hopping = context.green.towards is Colour.BLUE and context.green.step is ReleaseStep.PREPARING
    return not (other is Colour.BLUE and hopping and context.home_candidate)


def lost(context: RolloutContext, colour: Colour) -> tuple[str, ...]:
    """Services whose pin somebody's apply took away: they still carry the note that they have one."""
    if context.green.step not in _EXPECTS_PINS or context.available(colour) < context.workload.replicas:
        return ()
    return tuple(service.name for service in _of(context, colour) if service.pinned and not service.pin)
