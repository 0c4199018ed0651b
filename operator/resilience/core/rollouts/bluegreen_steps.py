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
from resilience.core.rollouts.context import Move, Stage

# Pods are in no watch: how often they are looked at while they matter.
POLL = timedelta(seconds=1)
QUICK_POLL = timedelta(milliseconds=500)
SLOW_POLL = timedelta(seconds=5)


def step(stage: Stage) -> Move:
    """What is next, by the step that green carries."""
    doomed = candidate.doomed(stage)
    if doomed is not None:
        return doomed
    green = stage.green
    match green.step:
        case ReleaseStep.PREPARING if green.towards is Colour.BLUE:
            return _hop_back(stage)
        case ReleaseStep.PREPARING:
            return _prepare(stage)
        case ReleaseStep.SCALING:
            return _scale(stage)
        case ReleaseStep.SWITCHING:
            return _switch(stage)
        case ReleaseStep.OVERLAPPING:
            return _overlap(stage)
        case ReleaseStep.WARM:
            return _warm(stage)
        case ReleaseStep.DRAINING:
            return _drain(stage)
        case ReleaseStep.REVERTING:
            return _revert(stage)
        case ReleaseStep.DISCARDING:
            return _discard(stage)
        case _:
            assert_never(green.step)


def advance(stage: Stage, to: ReleaseStep, towards: Colour | None = None) -> AdvanceGreen:
    """The next step, in the same direction unless another is named."""
    return AdvanceGreen(to, towards or stage.green.towards, stage.now)


def preview_size(stage: Stage, *, full: int) -> int:
    """Pods until promotion: all of them at once where nothing is asked before they get traffic."""
    settings, rollout = stage.settings, stage.spec.rollout
    if rollout.before is None and not candidate.promoted_by_hand(stage) and not settings.promote_after:
        return full
    return min(settings.preview_replicas, full)


def _prepare(stage: Stage) -> Move:
    """Green at preview size, ready, through the gate and promoted."""
    if stage.wanted != stage.green.workload.template.fingerprint or stage.leaving:
        return Move(actions=(advance(stage, ReleaseStep.DISCARDING),), waiting="the template changed again")
    routes, lost = pins.route(stage, Colour.BLUE), pins.lost(stage, Colour.BLUE)
    size = preview_size(stage, full=stage.full_size)
    grow = _grow(stage, size)
    if routes or grow:
        return Move(actions=(*routes, *grow), pins_lost=lost)
    if stage.available(Colour.GREEN) < size:
        return candidate.starting(stage, size)
    granted = candidate.granted(stage)
    if granted is not None:
        return granted
    # Known to be wanted at full size, so its pods need not wait for the next pass.
    full = max(stage.full_size, stage.green.workload.replicas)
    return Move(actions=(AdvanceGreen(ReleaseStep.SCALING, stage.green.towards, stage.now, full),))


def _grow(stage: Stage, size: int) -> tuple[Action, ...]:
    """Green is only ever made larger: while it serves, somebody's load depends on it."""
    return (ScaleGreen(size),) if stage.green.workload.replicas < size else ()


def _scale(stage: Stage) -> Move:
    """Green at full size, every pod through the gate."""
    if stage.wanted != stage.green.workload.template.fingerprint or stage.leaving:
        return Move(actions=(advance(stage, ReleaseStep.DISCARDING),), waiting="the template changed again")
    routes, lost = pins.route(stage, Colour.BLUE), pins.lost(stage, Colour.BLUE)
    grow = _grow(stage, stage.full_size)
    if routes or grow:
        return Move(actions=(*routes, *grow), pins_lost=lost)
    # When nothing serves, whatever is ready is better.
    size = stage.full_size if stage.available(Colour.BLUE) else 1
    if stage.available(Colour.GREEN) < size:
        return candidate.starting(stage, size)
    waits = candidate.gate_of_all(stage)
    if waits is not None:
        return waits
    # Both at once: the switch begins with what the next step would write first.
    return Move(actions=(advance(stage, ReleaseStep.SWITCHING), *pins.route(stage, None)))


def _switch(stage: Stage) -> Move:
    """Both colours serve, as soon as every slice lists both."""
    writes = (*pins.route(stage, None), *_grow(stage, stage.full_size))
    if writes:
        return Move(actions=writes)
    if not stage.all_listed(stage.green.towards):
        return Move(waiting="the new pods are being added to their Services", wait=QUICK_POLL)
    return Move(actions=(advance(stage, ReleaseStep.OVERLAPPING),))


def _overlap(stage: Stage) -> Move:
    """When every node knows the new pods, they serve alone."""
    towards = stage.green.towards
    left = stage.left(drain.time_to_know(stage))
    if left is not None:
        return Move(actions=pins.route(stage, None), waiting="both versions serve until every node knows", wait=left)
    if stage.seen.unsettled:
        return Move(waiting="both versions serve: the API server was away", wait=stage.seen.unsettled)
    if stage.available(towards) < min(stage.full_size, stage.workload.replicas):
        writes = (*pins.route(stage, None), *_grow(stage, stage.full_size))
        return Move(actions=writes, waiting="both versions serve: a new pod is not ready", wait=POLL)
    if not stage.all_listed(towards):
        # A write that came late, or a pod that was replaced: both have to be listed before one serves alone.
        return Move(actions=pins.route(stage, None), waiting="the new pods are being added", wait=QUICK_POLL)
    if not pins.leads_to(stage, towards):
        return Move(actions=pins.route(stage, towards), waiting="the old pods are being taken out", wait=QUICK_POLL)
    if towards is Colour.GREEN or stage.home_candidate:
        return Move(actions=(advance(stage, ReleaseStep.WARM),))
    return Move(actions=(advance(stage, ReleaseStep.DRAINING),))


def _warm(stage: Stage) -> Move:
    """The candidate serves; what served before is kept until the gate has passed for the whole time."""
    towards = stage.green.towards
    routes, lost = pins.keep(stage, towards), pins.lost(stage, towards)
    grow = _grow(stage, stage.full_size)
    if routes or grow:
        # Grown first: the guard lets no Service lead to a colour that is too small, and it would never grow.
        return Move(actions=(*grow, *routes), pins_lost=lost, wait=POLL)
    if _taken_back(stage):
        return Move(actions=(advance(stage, ReleaseStep.REVERTING), *pins.route(stage, None)))
    superseded = towards is Colour.GREEN and stage.wanted != stage.green.workload.template.fingerprint
    if superseded or stage.leaving:
        return Move(actions=(advance(stage, ReleaseStep.DRAINING),))
    waits = candidate.accepted(stage)
    if waits is not None:
        return waits
    return Move(actions=(advance(stage, ReleaseStep.DRAINING),))


def _taken_back(stage: Stage) -> bool:
    """Whether the user wants again what is still kept ready."""
    return stage.green.towards is Colour.GREEN and stage.wanted == stage.serving


def _drain(stage: Stage) -> Move:
    """The clients that stayed with what served before move over; then it is replaced, or ends."""
    towards = stage.green.towards
    other = Colour.BLUE if towards is Colour.GREEN else Colour.GREEN
    routes = pins.keep(stage, towards)
    if routes:
        return Move(actions=routes, pins_lost=pins.lost(stage, towards))
    if _taken_back(stage):
        return Move(actions=(advance(stage, ReleaseStep.REVERTING), *pins.route(stage, None)))
    waits = drain.say(stage, other)
    if waits is not None:
        return waits
    if other is Colour.GREEN:
        return Move(actions=(DeleteGreen(),))
    return Move(actions=(advance(stage, ReleaseStep.PREPARING, Colour.BLUE),))


def _hop_back(stage: Stage) -> Move:
    """The target's own pods get the template that green serves with, or a newer one, without traffic."""
    if stage.failed(stage.wanted):
        hold = () if stage.workload.paused else (Hold(stage.serving),)
        words = "the new version stays on the second Deployment, for the newest template failed; change it"
        return Move(actions=(*pins.keep(stage, Colour.GREEN), *hold), waiting=words)
    routes, lost = pins.keep(stage, Colour.GREEN), pins.lost(stage, Colour.GREEN)
    grow = _grow(stage, stage.full_size)
    if routes or grow:
        # Grown first, as above.
        return Move(actions=(*grow, *routes), pins_lost=lost)
    if stage.workload.paused and (stage.wanted != stage.serving or stage.workload.stale):
        if not pins.leads_to(stage, Colour.GREEN):
            return Move(waiting="the old pods are being taken out", wait=QUICK_POLL)
        # The candidate's time begins now.
        return Move(actions=(Resume(), advance(stage, ReleaseStep.PREPARING)))
    if not stage.workload.settled or stage.blue is None:
        return candidate.hopping(stage)
    raised = _raised(stage)
    if raised:
        return Move(actions=raised, waiting="the Deployment grows to the load that the second one carries", wait=POLL)
    if stage.home_candidate and not stage.leaving:
        waits = candidate.granted(stage)
        if waits is not None:
            return waits
    # Paused before it gets traffic: a template that changes now must not roll pods that serve.
    if not (stage.workload.paused and stage.serving == stage.wanted):
        return Move(actions=(Hold(stage.wanted),))
    return Move(actions=(advance(stage, ReleaseStep.SWITCHING), *pins.route(stage, None)))


def _raised(stage: Stage) -> tuple[Action, ...]:
    """With an autoscaler, which looks at both colours, the one that has no traffic may have shrunk meanwhile."""
    carries = stage.available(Colour.GREEN)
    if stage.view.autoscaler is None or carries <= stage.workload.replicas:
        return ()
    return (ScaleTarget(carries),)


def _revert(stage: Stage) -> Move:
    """The same switch backwards; what serves badly is not waited for longer than the slices need."""
    towards = stage.green.towards
    back = Colour.BLUE if towards is Colour.GREEN else Colour.GREEN
    greeted = drain.take_back(stage, back)
    raised = _raised(stage) if back is Colour.BLUE else ()
    if not candidate.can_carry(stage, back):
        return Move(
            actions=(*greeted, *pins.route(stage, None), *raised),
            waiting="both versions serve until the old one can carry all",
            wait=QUICK_POLL,
        )
    if not stage.all_listed(back):
        return Move(actions=(*greeted, *pins.route(stage, None)), waiting="going back", wait=QUICK_POLL)
    if not pins.leads_to(stage, back):
        return Move(actions=(*greeted, *pins.route(stage, back)), waiting="going back", wait=QUICK_POLL)
    if back is Colour.BLUE:
        return Move(actions=(*greeted, advance(stage, ReleaseStep.DISCARDING)))
    return Move(actions=(*greeted, advance(stage, ReleaseStep.PREPARING)))


def _discard(stage: Stage) -> Move:
    """Green goes, and its clients, if it had any, move over first."""
    routes = pins.route(stage, Colour.BLUE)
    if routes:
        return Move(actions=routes)
    if stage.any_listed(Colour.GREEN):
        return Move(waiting="the second Deployment's pods are being taken out", wait=QUICK_POLL)
    waits = drain.say(stage, Colour.GREEN)
    if waits is not None:
        return waits
    return Move(actions=(DeleteGreen(),))
