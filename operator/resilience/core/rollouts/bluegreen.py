"""A blue-green release, decided from what exists: the target's template, green and its step, and the Services.

The steps are in docs/concepts/releases.md. They run towards green, which takes over with the new template, and then
towards blue, when the target's own pods have it too and take over again. Nothing is remembered between two passes;
green carries the step, so a release goes on wherever it was left.
"""

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.failures import classify
from resilience.core.failures.classify import Failure
from resilience.core.model.actions import AdvanceGreen, CreateGreen, DeleteGreen, Hold, MarkFailed, Resume, Route
from resilience.core.rollouts import adoption, bluegreen_steps, candidate, pins, preflight
from resilience.core.rollouts.context import Move, RolloutContext

# How the executor words that the API server will not have green; what follows are the server's own words.
CREATE_REFUSED = "the candidate cannot be made: "


def plan(context: RolloutContext) -> Move:
    """What to do about the release, or about having one."""
    if context.view.green is None:
        return _without_green(context)
    if context.green.deleting:
        return Move(waiting="the last pods of the second Deployment end", wait=bluegreen_steps.POLL)
    if context.workload.replicas == 0:
        # Nothing is to serve; and from zero a paused Deployment would start the wrong ReplicaSet.
        return Move(actions=(*pins.route(context, None), DeleteGreen()))
    hopping = context.green.towards is Colour.BLUE and context.green.step is ReleaseStep.PREPARING
    if not context.workload.paused and not hopping:
        return _resumed_by_somebody(context)
    return bluegreen_steps.step(context)


def stays_on_green(context: RolloutContext) -> bool:
    """Whether green serves and the target's own pods have nothing to take over with: its newest template failed."""
    green = context.view.green
    return (
        green is not None
        and green.towards is Colour.BLUE
        and green.step is ReleaseStep.PREPARING
        and context.failed(context.wanted)
    )


def wants_release(context: RolloutContext) -> bool:
    """Whether the target has a template that is to be brought out."""
    return (
        context.held
        and context.workload.paused
        and context.workload.replicas > 0
        and context.wanted != context.serving
        and not context.failed(context.wanted)
        and not context.leaving
    )


def _without_green(context: RolloutContext) -> Move:
    if wants_release(context):
        return _begin(context)
    unpin = pins.route(context, None)
    if unpin:
        # A target whose pods are all of one template leads to the same pods with and without a pin.
        return Move(actions=unpin)
    if context.leaving:
        return adoption.give_back(context)
    if context.held and context.workload.replicas == 0:
        return Move(actions=(Resume(give_back=True),))
    if not (context.held and context.workload.paused):
        return adoption.adopt(context)
    return Move()


def _begin(context: RolloutContext) -> Move:
    """Preflight, pins, then green: its pods carry the labels that the Services select."""
    if context.aborted(context.wanted):
        return fail(context, candidate.aborted())
    refused = context.observation.refusal.removeprefix(CREATE_REFUSED)
    if refused != context.observation.refusal:
        failure = classify.of_refusal(refused)
        if not failure.patient:
            return fail(context, failure)
    lack = preflight.lack(context) or adoption.obstacle(context)
    if not context.hash_of(Colour.BLUE):
        lack = lack or "the ReplicaSet that serves is gone; nothing could be kept beside the new version"
    rollout = context.status.rollout
    known = rollout.candidate is not None and rollout.candidate.hash == context.wanted
    started = rollout.started_at if known else None
    if lack and started is not None and context.now >= started + context.spec.rollout.progress_deadline:
        return fail(context, classify.never_began(lack, deadline=context.spec.rollout.progress_deadline))
    if lack:
        return Move(waiting=lack, wait=bluegreen_steps.SLOW_POLL)
    routes = pins.route(context, Colour.BLUE)
    size = bluegreen_steps.preview_size(context, full=max(context.workload.replicas, 1))
    # The guard lets green be made only when a fresh look shows every pin.
    return Move(actions=(*routes, CreateGreen(size, started or context.now)))


def fail(context: RolloutContext, failure: Failure) -> Move:
    """A release that failed before green was there: the template is not tried again."""
    return Move(actions=(MarkFailed(context.wanted),), failure=failure, waiting=failure.message)


def _resumed_by_somebody(context: RolloutContext) -> Move:
    """The user had the Deployment roll by itself: its new pods need endpoints, and green must not go before they serve.

    When green serves already, this only begins the hop back early.
    """
    if context.green.towards is Colour.GREEN and context.green.step in (ReleaseStep.WARM, ReleaseStep.DRAINING):
        return Move(actions=(AdvanceGreen(ReleaseStep.PREPARING, Colour.BLUE, context.now),))
    words = "somebody resumed the Deployment, so it rolls by itself"
    unpin: tuple[Route, ...] = pins.route(context, None)
    if unpin or not context.workload.settled:
        return Move(actions=unpin, waiting=words, wait=bluegreen_steps.POLL)
    return Move(
        actions=(Hold(context.wanted), AdvanceGreen(ReleaseStep.DISCARDING, Colour.GREEN, context.now)), waiting=words
    )
