"""The steps of a blue-green release, in either direction.

Towards green: Preparing, Scaling, Switching, Overlapping, Warm, Draining (of blue); then the target is resumed.
Towards blue: Preparing (the target's pods are replaced without traffic), Switching, Overlapping, Draining (of green);
with another template than green's, the gates and Warm come in between as they do towards green.
"""

from datetime import timedelta
from typing import assert_never

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.actions import AdvanceGreen, DeleteGreen, Hold, Resume, ScaleGreen, ScaleTarget
from resilience.core.model.decision import Action
from resilience.core.rollouts import candidate, drain, pins
from resilience.core.rollouts.context import Move, RolloutContext

# Pods are in no watch: how often they are looked at while they matter.
POLL = timedelta(seconds=1)
QUICK_POLL = timedelta(milliseconds=500)
SLOW_POLL = timedelta(seconds=5)


def step(context: RolloutContext) -> Move:
    """What is next, by the step that green carries."""
    doomed = candidate.doomed(context)
    if doomed is not None:
        return doomed
    green = context.green
    match green.step:
        case ReleaseStep.PREPARING if green.towards is Colour.BLUE:
            return _hop_back(context)
        case ReleaseStep.PREPARING:
            return _prepare(context)
        case ReleaseStep.SCALING:
            return _scale(context)
        case ReleaseStep.SWITCHING:
            return _switch(context)
        case ReleaseStep.OVERLAPPING:
            return _overlap(context)
        case ReleaseStep.WARM:
            return _warm(context)
        case ReleaseStep.DRAINING:
            return _drain(context)
        case ReleaseStep.REVERTING:
            return _revert(context)
        case ReleaseStep.DISCARDING:
            return _discard(context)
        case _:
            assert_never(green.step)


def advance(context: RolloutContext, to: ReleaseStep, towards: Colour | None = None) -> AdvanceGreen:
    """The next step, in the same direction unless another is named."""
    return AdvanceGreen(to, towards or context.green.towards, context.now)


def preview_size(context: RolloutContext, *, full: int) -> int:
    """Pods until promotion: all of them at once where nothing is asked before they get traffic."""
    settings, rollout = context.settings, context.spec.rollout
    if rollout.before is None and not candidate.promoted_by_hand(context) and not settings.promote_after:
        return full
    return min(settings.preview_replicas, full)


def _prepare(context: RolloutContext) -> Move:
    """Green at preview size, ready, through the gate and promoted."""
    if context.wanted != context.green.workload.template.fingerprint or context.leaving:
        return Move(actions=(advance(context, ReleaseStep.DISCARDING),), waiting="the template changed again")
    routes, lost = pins.route(context, Colour.BLUE), pins.lost(context, Colour.BLUE)
    size = preview_size(context, full=context.full_size)
    grow = _grow(context, size)
    if routes or grow:
        return Move(actions=(*routes, *grow), pins_lost=lost)
    if context.available(Colour.GREEN) < size:
        return candidate.starting(context, size)
    granted = candidate.granted(context)
    if granted is not None:
        return granted
    # Known to be wanted at full size, so its pods need not wait for the next pass.
    full = max(context.full_size, context.green.workload.replicas)
    return Move(actions=(AdvanceGreen(ReleaseStep.SCALING, context.green.towards, context.now, full),))


def _grow(context: RolloutContext, size: int) -> tuple[Action, ...]:
    """Green is only ever made larger: while it serves, somebody's load depends on it."""
    return (ScaleGreen(size),) if context.green.workload.replicas < size else ()


def _scale(context: RolloutContext) -> Move:
    """Green at full size, every pod through the gate."""
    if context.wanted != context.green.workload.template.fingerprint or context.leaving:
        return Move(actions=(advance(context, ReleaseStep.DISCARDING),), waiting="the template changed again")
    routes, lost = pins.route(context, Colour.BLUE), pins.lost(context, Colour.BLUE)
    grow = _grow(context, context.full_size)
    if routes or grow:
        return Move(actions=(*routes, *grow), pins_lost=lost)
    # When nothing serves, whatever is ready is better.
    size = context.full_size if context.available(Colour.BLUE) else 1
    if context.available(Colour.GREEN) < size:
        return candidate.starting(context, size)
    waits = candidate.gate_of_all(context)
    if waits is not None:
        return waits
    # Both at once: the switch begins with what the next step would write first.
    return Move(actions=(advance(context, ReleaseStep.SWITCHING), *pins.route(context, None)))


def _switch(context: RolloutContext) -> Move:
    """Both colours serve, as soon as every slice lists both."""
    writes = (*pins.route(context, None), *_grow(context, context.full_size))
    if writes:
        return Move(actions=writes)
    if not context.all_listed(context.green.towards):
        return Move(waiting="the new pods are being added to their Services", wait=QUICK_POLL)
    return Move(actions=(advance(context, ReleaseStep.OVERLAPPING),))


def _overlap(context: RolloutContext) -> Move:
    """When every node knows the new pods, they serve alone."""
    towards = context.green.towards
    left = context.left(drain.time_to_know(context))
    if left is not None:
        return Move(actions=pins.route(context, None), waiting="both versions serve until every node knows", wait=left)
    if context.observation.unsettled:
        return Move(waiting="both versions serve: the API server was away", wait=context.observation.unsettled)
    if context.available(towards) < min(context.full_size, context.workload.replicas):
        writes = (*pins.route(context, None), *_grow(context, context.full_size))
        return Move(actions=writes, waiting="both versions serve: a new pod is not ready", wait=POLL)
    if not context.all_listed(towards):
        # A write that came late, or a pod that was replaced: both have to be listed before one serves alone.
        return Move(actions=pins.route(context, None), waiting="the new pods are being added", wait=QUICK_POLL)
    if not pins.leads_to(context, towards):
        return Move(actions=pins.route(context, towards), waiting="the old pods are being taken out", wait=QUICK_POLL)
    if towards is Colour.GREEN or context.home_candidate:
        return Move(actions=(advance(context, ReleaseStep.WARM),))
    return Move(actions=(advance(context, ReleaseStep.DRAINING),))


def _warm(context: RolloutContext) -> Move:
    """The candidate serves; what served before is kept until the gate has passed for the whole time."""
    towards = context.green.towards
    routes, lost = pins.keep(context, towards), pins.lost(context, towards)
    grow = _grow(context, context.full_size)
    if routes or grow:
        # Grown first: the guard lets no Service lead to a colour that is too small, and it would never grow.
        return Move(actions=(*grow, *routes), pins_lost=lost, wait=POLL)
    if _taken_back(context):
        return Move(actions=(advance(context, ReleaseStep.REVERTING), *pins.route(context, None)))
    superseded = towards is Colour.GREEN and context.wanted != context.green.workload.template.fingerprint
    if superseded or context.leaving:
        return Move(actions=(advance(context, ReleaseStep.DRAINING),))
    waits = candidate.accepted(context)
    if waits is not None:
        return waits
    return Move(actions=(advance(context, ReleaseStep.DRAINING),))


def _taken_back(context: RolloutContext) -> bool:
    """Whether the user wants again what is still kept ready."""
    return context.green.towards is Colour.GREEN and context.wanted == context.serving


def _drain(context: RolloutContext) -> Move:
    """The clients that stayed with what served before move over; then it is replaced, or ends."""
    towards = context.green.towards
    other = Colour.BLUE if towards is Colour.GREEN else Colour.GREEN
    routes = pins.keep(context, towards)
    if routes:
        return Move(actions=routes, pins_lost=pins.lost(context, towards))
    if _taken_back(context):
        return Move(actions=(advance(context, ReleaseStep.REVERTING), *pins.route(context, None)))
    waits = drain.say(context, other)
    if waits is not None:
        return waits
    if other is Colour.GREEN:
        return Move(actions=(DeleteGreen(),))
    return Move(actions=(advance(context, ReleaseStep.PREPARING, Colour.BLUE),))


def _hop_back(context: RolloutContext) -> Move:
    """The target's own pods get the template that green serves with, or a newer one, without traffic."""
    if context.failed(context.wanted):
        hold = () if context.workload.paused else (Hold(context.serving),)
        words = "the new version stays on the second Deployment, for the newest template failed; change it"
        return Move(actions=(*pins.keep(context, Colour.GREEN), *hold), waiting=words)
    routes, lost = pins.keep(context, Colour.GREEN), pins.lost(context, Colour.GREEN)
    grow = _grow(context, context.full_size)
    if routes or grow:
        # Grown first, as above.
        return Move(actions=(*grow, *routes), pins_lost=lost)
    if context.workload.paused and (context.wanted != context.serving or context.workload.stale):
        if not pins.leads_to(context, Colour.GREEN):
            return Move(waiting="the old pods are being taken out", wait=QUICK_POLL)
        # The candidate's time begins now.
        return Move(actions=(Resume(), advance(context, ReleaseStep.PREPARING)))
    if not context.workload.settled or context.blue is None:
        return candidate.hopping(context)
    raised = _raised(context)
    if raised:
        return Move(actions=raised, waiting="the Deployment grows to the load that the second one carries", wait=POLL)
    if context.home_candidate and not context.leaving:
        waits = candidate.granted(context)
        if waits is not None:
            return waits
    # Paused before it gets traffic: a template that changes now must not roll pods that serve.
    if not (context.workload.paused and context.serving == context.wanted):
        return Move(actions=(Hold(context.wanted),))
    return Move(actions=(advance(context, ReleaseStep.SWITCHING), *pins.route(context, None)))


def _raised(context: RolloutContext) -> tuple[Action, ...]:
    """With an autoscaler, which looks at both colours, the one that has no traffic may have shrunk meanwhile."""
    carries = context.available(Colour.GREEN)
    if context.view.autoscaler is None or carries <= context.workload.replicas:
        return ()
    return (ScaleTarget(carries),)


def _revert(context: RolloutContext) -> Move:
    """The same switch backwards; what serves badly is not waited for longer than the slices need."""
    towards = context.green.towards
    back = Colour.BLUE if towards is Colour.GREEN else Colour.GREEN
    greeted = drain.take_back(context, back)
    raised = _raised(context) if back is Colour.BLUE else ()
    if not candidate.can_carry(context, back):
        return Move(
            actions=(*greeted, *pins.route(context, None), *raised),
            waiting="both versions serve until the old one can carry all",
            wait=QUICK_POLL,
        )
    if not context.all_listed(back):
        return Move(actions=(*greeted, *pins.route(context, None)), waiting="going back", wait=QUICK_POLL)
    if not pins.leads_to(context, back):
        return Move(actions=(*greeted, *pins.route(context, back)), waiting="going back", wait=QUICK_POLL)
    if back is Colour.BLUE:
        return Move(actions=(*greeted, advance(context, ReleaseStep.DISCARDING)))
    return Move(actions=(*greeted, advance(context, ReleaseStep.PREPARING)))


def _discard(context: RolloutContext) -> Move:
    """Green goes, and its clients, if it had any, move over first."""
    routes = pins.route(context, Colour.BLUE)
    if routes:
        return Move(actions=routes)
    if context.any_listed(Colour.GREEN):
        return Move(waiting="the second Deployment's pods are being taken out", wait=QUICK_POLL)
    waits = drain.say(context, Colour.GREEN)
    if waits is not None:
        return waits
    return Move(actions=(DeleteGreen(),))
