"""The steps of a blue-green rollout, in both directions.

Towards green: Preparing, Scaling, Switching, Overlapping, Warm, Draining (of blue); then the target is resumed.
Towards blue: Preparing (the target's pods are replaced without traffic), Switching, Overlapping, Draining (of green).
If the target's template differs from green's, the gates and Warm come in between, as they do towards green.
"""

from datetime import timedelta
from typing import assert_never

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.actions import AdvanceGreen, DeleteGreen, Hold, Resume, ScaleGreen, ScaleTarget
from resilience.core.model.decision import Action
from resilience.core.rollouts import candidate, drain, pins, readiness_gates
from resilience.core.rollouts.context import Move, RolloutContext

# Intervals at which pods are observed while they matter, because no watch includes them. Deployments and slices are
# watched: their polls are only for events that are lost, except on the way back, where clients get errors meanwhile.
POLL = timedelta(seconds=1)
QUICK_POLL = timedelta(milliseconds=500)
SLOW_POLL = timedelta(seconds=5)


def step(context: RolloutContext) -> Move:
    """The next move, by the step that green carries."""
    way_back = candidate.roll_back_if_failed(context)
    if way_back is not None:
        return way_back
    green = context.green
    match green.step:
        case ReleaseStep.PREPARING if green.towards is Colour.BLUE:
            return _prepare_blue(context)
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
    """The action that marks the next step, in the same direction unless `towards` names another."""
    return AdvanceGreen(to, towards or context.green.towards, context.now)


def preview_size(context: RolloutContext, *, full: int) -> int:
    """Number of green's pods until promotion: the full size if no gate, person or delay comes before traffic."""
    settings, rollout = context.settings, context.spec.rollout
    if rollout.before is None and not candidate.promoted_by_hand(context) and not settings.promote_after:
        return full
    return min(settings.preview_replicas, full)


def _prepare(context: RolloutContext) -> Move:
    """Brings green to its preview size, and waits until it is ready, passes the gate and is promoted."""
    if context.wanted != context.green.workload.template.fingerprint or context.leaving:
        return Move(actions=(advance(context, ReleaseStep.DISCARDING),), waiting="the template changed again")
    routes, lost = pins.route(context, Colour.BLUE), pins.lost(context, Colour.BLUE)
    size = preview_size(context, full=context.full_size)
    growth = _grow(context, size)
    if routes or growth:
        return Move(actions=(*routes, *growth), pins_lost=lost)
    if context.usable(Colour.GREEN) < size:
        return candidate.starting(context, size)
    pending = candidate.wait_for_promotion(context)
    if pending is not None:
        return pending
    # The full size is already decided, so the other pods need not wait for the next pass.
    full = max(context.full_size, context.green.workload.replicas)
    return Move(actions=(AdvanceGreen(ReleaseStep.SCALING, context.green.towards, context.now, full),))


def _grow(context: RolloutContext, size: int) -> tuple[Action, ...]:
    """The action that enlarges green, if it is too small. Green never shrinks: while it serves, load depends on it."""
    return (ScaleGreen(size),) if context.green.workload.replicas < size else ()


def _scale(context: RolloutContext) -> Move:
    """Brings green to full size, and waits until every pod has passed the gate."""
    if context.wanted != context.green.workload.template.fingerprint or context.leaving:
        return Move(actions=(advance(context, ReleaseStep.DISCARDING),), waiting="the template changed again")
    routes, lost = pins.route(context, Colour.BLUE), pins.lost(context, Colour.BLUE)
    growth = _grow(context, context.full_size)
    if routes or growth:
        return Move(actions=(*routes, *growth), pins_lost=lost)
    # When blue has no pod that can serve, one ready pod of green is better.
    size = context.full_size if context.available(Colour.BLUE) else 1
    if context.usable(Colour.GREEN) < size:
        return candidate.starting(context, size)
    pending = candidate.gate_of_all(context)
    if pending is not None:
        return pending
    # One move does both: the next step would begin with these writes.
    return Move(actions=(advance(context, ReleaseStep.SWITCHING), *pins.route(context, None)))


def _switch(context: RolloutContext) -> Move:
    """Lets both colours serve, and waits until every EndpointSlice lists the new pods, too."""
    writes = (*pins.route(context, None), *_grow(context, context.full_size))
    if writes:
        return Move(actions=writes)
    waiting = readiness_gates.waiting(context, context.green.towards)
    if waiting or not context.all_listed(context.green.towards):
        return Move(waiting=waiting or "the new pods are being added to their Services", wait=SLOW_POLL)
    return Move(actions=(advance(context, ReleaseStep.OVERLAPPING),))


def _overlap(context: RolloutContext) -> Move:
    """Lets both colours serve until every node knows the new pods; then the new pods serve alone."""
    towards = context.green.towards
    left = context.left(drain.time_to_know(context))
    if left is not None:
        return Move(actions=pins.route(context, None), waiting="both versions serve until every node knows", wait=left)
    if context.observation.unsettled:
        return Move(waiting="both versions serve: the API server was away", wait=context.observation.unsettled)
    if context.available(towards) < min(context.full_size, context.workload.replicas):
        writes = (*pins.route(context, None), *_grow(context, context.full_size))
        waiting = readiness_gates.waiting(context, towards) or "both versions serve: a new pod is not ready"
        return Move(actions=writes, waiting=waiting, wait=POLL)
    if not context.all_listed(towards):
        # A write came late, or a pod was replaced. Both colours have to be listed before one serves alone.
        return Move(actions=pins.route(context, None), waiting="the new pods are being added", wait=SLOW_POLL)
    if not pins.leads_to(context, towards):
        return Move(
            actions=pins.route(context, towards), waiting="the old pods are leaving their Services", wait=SLOW_POLL
        )
    if towards is Colour.GREEN or context.blue_is_candidate:
        return Move(actions=(advance(context, ReleaseStep.WARM),))
    return Move(actions=(advance(context, ReleaseStep.DRAINING),))


def _warm(context: RolloutContext) -> Move:
    """Keeps the previous version ready while the candidate serves, until the gate has passed for the whole time."""
    towards = context.green.towards
    routes, lost = pins.keep(context, towards), pins.lost(context, towards)
    growth = _grow(context, context.full_size)
    if routes or growth:
        # Growth comes first: the guard lets no Service lead to a colour that is too small, so it would never grow.
        return Move(actions=(*growth, *routes), pins_lost=lost, wait=POLL)
    if _wants_previous(context):
        return Move(actions=(advance(context, ReleaseStep.REVERTING), *pins.route(context, None)))
    is_superseded = towards is Colour.GREEN and context.wanted != context.green.workload.template.fingerprint
    if is_superseded or context.leaving:
        return Move(actions=(advance(context, ReleaseStep.DRAINING),))
    pending = candidate.wait_for_acceptance(context)
    if pending is not None:
        return pending
    return Move(actions=(advance(context, ReleaseStep.DRAINING),))


def _wants_previous(context: RolloutContext) -> bool:
    """The user wants the previous version again, which is still ready."""
    return context.green.towards is Colour.GREEN and context.wanted == context.serving


def _drain(context: RolloutContext) -> Move:
    """Drains the clients that stayed with the previous colour; then replaces its pods (blue) or deletes it (green)."""
    towards = context.green.towards
    other = Colour.BLUE if towards is Colour.GREEN else Colour.GREEN
    routes = pins.keep(context, towards)
    if routes:
        return Move(actions=routes, pins_lost=pins.lost(context, towards))
    if _wants_previous(context):
        return Move(actions=(advance(context, ReleaseStep.REVERTING), *pins.route(context, None)))
    pending = drain.drain_colour(context, other)
    if pending is not None:
        return pending
    if other is Colour.GREEN:
        return Move(actions=(DeleteGreen(),))
    return Move(actions=(advance(context, ReleaseStep.PREPARING, Colour.BLUE),))


def _prepare_blue(context: RolloutContext) -> Move:
    """Gives the target's own pods the template that green serves with, or a newer one, without traffic."""
    if context.failed(context.wanted):
        hold = () if context.workload.paused else (Hold(context.serving),)
        message = "the new version stays on the second Deployment, because the newest template failed; change it"
        # It serves as long as that lasts, so it follows the size of the target.
        growth = _grow(context, context.full_size)
        return Move(actions=(*growth, *pins.keep(context, Colour.GREEN), *hold), waiting=message)
    routes, lost = pins.keep(context, Colour.GREEN), pins.lost(context, Colour.GREEN)
    growth = _grow(context, context.full_size)
    if routes or growth:
        # Growth comes first, as in `_warm`.
        return Move(actions=(*growth, *routes), pins_lost=lost)
    if context.workload.paused and (context.wanted != context.serving or context.workload.stale):
        if not pins.leads_to(context, Colour.GREEN):
            return Move(waiting="the old pods are leaving their Services", wait=SLOW_POLL)
        # The candidate's time starts now.
        return Move(actions=(Resume(), advance(context, ReleaseStep.PREPARING)))
    if context.blue is None or not (context.workload.settled or readiness_gates.has_own_pods(context)):
        return readiness_gates.replace_own_pods(context) or candidate.wait_for_own_pods(context)
    scale_up = _scale_up_target(context)
    if scale_up:
        return Move(actions=scale_up, waiting="the Deployment grows to the load that the second one carries", wait=POLL)
    if context.blue_is_candidate and not context.leaving:
        pending = candidate.wait_for_promotion(context)
        if pending is not None:
            return pending
    # Paused before it gets traffic: a template that changes from now on must not roll pods that serve.
    if not (context.workload.paused and context.serving == context.wanted):
        return Move(actions=(Hold(context.wanted),))
    return Move(actions=(advance(context, ReleaseStep.SWITCHING), *pins.route(context, None)))


def _scale_up_target(context: RolloutContext) -> tuple[Action, ...]:
    """The action that scales the target up to the load that green carries.

    An autoscaler observes both colours, so the one that has no traffic may have shrunk meanwhile.
    """
    serving_count = context.available(Colour.GREEN)
    if context.view.autoscaler is None or serving_count <= context.workload.replicas:
        return ()
    return (ScaleTarget(serving_count),)


def _revert(context: RolloutContext) -> Move:
    """Switches back to the previous colour. A bad version serves no longer than the EndpointSlices need."""
    towards = context.green.towards
    back = Colour.BLUE if towards is Colour.GREEN else Colour.GREEN
    signal_removals = drain.cancel_signals(context, back)
    scale_up = _scale_up_target(context) if back is Colour.BLUE else ()
    if not candidate.can_carry(context, back):
        return Move(
            actions=(*signal_removals, *pins.route(context, None), *scale_up),
            waiting="both versions serve until the old one can carry all",
            wait=QUICK_POLL,
        )
    if not (candidate.carries(context, back) and context.all_listed(back)):
        waiting = readiness_gates.waiting(context, back) or "rolling back"
        return Move(actions=(*signal_removals, *pins.route(context, None)), waiting=waiting, wait=QUICK_POLL)
    if not pins.leads_to(context, back):
        return Move(actions=(*signal_removals, *pins.route(context, back)), waiting="rolling back", wait=QUICK_POLL)
    if back is Colour.BLUE:
        return Move(actions=(*signal_removals, advance(context, ReleaseStep.DISCARDING)))
    return Move(actions=(*signal_removals, advance(context, ReleaseStep.PREPARING)))


def _discard(context: RolloutContext) -> Move:
    """Takes the traffic from green, drains its clients, if it had any, and deletes it."""
    routes = pins.route(context, Colour.BLUE)
    if routes:
        return Move(actions=routes)
    if context.any_listed(Colour.GREEN):
        return Move(waiting="the second Deployment's pods are leaving their Services", wait=SLOW_POLL)
    pending = drain.drain_colour(context, Colour.GREEN)
    if pending is not None:
        return pending
    return Move(actions=(DeleteGreen(),))
