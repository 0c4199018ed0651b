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
from resilience.core.rollouts.context import Move, Stage

# How the executor words that the API server will not have green; what follows are the server's own words.
CREATE_REFUSED = "the candidate cannot be made: "


def plan(stage: Stage) -> Move:
    """What to do about the release, or about having one."""
    if stage.view.green is None:
        return _without_green(stage)
    if stage.green.deleting:
        return Move(waiting="the last pods of the second Deployment end", wait=bluegreen_steps.POLL)
    if stage.workload.replicas == 0:
        # Nothing is to serve; and from zero a paused Deployment would start the wrong ReplicaSet.
        return Move(actions=(*pins.route(stage, None), DeleteGreen()))
    hopping = stage.green.towards is Colour.BLUE and stage.green.step is ReleaseStep.PREPARING
    if not stage.workload.paused and not hopping:
        return _resumed_by_somebody(stage)
    return bluegreen_steps.step(stage)


def stays_on_green(stage: Stage) -> bool:
    """Whether green serves and the target's own pods have nothing to take over with: its newest template failed."""
    green = stage.view.green
    return (
        green is not None
        and green.towards is Colour.BLUE
        and green.step is ReleaseStep.PREPARING
        and stage.failed(stage.wanted)
    )


def wants_release(stage: Stage) -> bool:
    """Whether the target has a template that is to be brought out."""
    return (
        stage.held
        and stage.workload.paused
        and stage.workload.replicas > 0
        and stage.wanted != stage.serving
        and not stage.failed(stage.wanted)
        and not stage.leaving
    )


def _without_green(stage: Stage) -> Move:
    if wants_release(stage):
        return _begin(stage)
    unpin = pins.route(stage, None)
    if unpin:
        # A target whose pods are all of one template leads to the same pods with and without a pin.
        return Move(actions=unpin)
    if stage.leaving:
        return adoption.give_back(stage)
    if stage.held and stage.workload.replicas == 0:
        return Move(actions=(Resume(give_back=True),))
    if not (stage.held and stage.workload.paused):
        return adoption.adopt(stage)
    return Move()


def _begin(stage: Stage) -> Move:
    """Preflight, pins, then green: its pods carry the labels that the Services select."""
    if stage.aborted(stage.wanted):
        return fail(stage, candidate.aborted())
    refused = stage.seen.refusal.removeprefix(CREATE_REFUSED)
    if refused != stage.seen.refusal:
        failure = classify.of_refusal(refused)
        if not failure.patient:
            return fail(stage, failure)
    lack = preflight.lack(stage) or adoption.obstacle(stage)
    if not stage.hash_of(Colour.BLUE):
        lack = lack or "the ReplicaSet that serves is gone; nothing could be kept beside the new version"
    rollout = stage.status.rollout
    known = rollout.candidate is not None and rollout.candidate.hash == stage.wanted
    started = rollout.started_at if known else None
    if lack and started is not None and stage.now >= started + stage.spec.rollout.progress_deadline:
        return fail(stage, classify.never_began(lack, deadline=stage.spec.rollout.progress_deadline))
    if lack:
        return Move(waiting=lack, wait=bluegreen_steps.SLOW_POLL)
    routes = pins.route(stage, Colour.BLUE)
    size = bluegreen_steps.preview_size(stage, full=max(stage.workload.replicas, 1))
    # The guard lets green be made only when a fresh look shows every pin.
    return Move(actions=(*routes, CreateGreen(size, started or stage.now)))


def fail(stage: Stage, failure: Failure) -> Move:
    """A release that failed before green was there: the template is not tried again."""
    return Move(actions=(MarkFailed(stage.wanted),), failure=failure, waiting=failure.message)


def _resumed_by_somebody(stage: Stage) -> Move:
    """The user had the Deployment roll by itself: its new pods need endpoints, and green must not go before they serve.

    When green serves already, this only begins the hop back early.
    """
    if stage.green.towards is Colour.GREEN and stage.green.step in (ReleaseStep.WARM, ReleaseStep.DRAINING):
        return Move(actions=(AdvanceGreen(ReleaseStep.PREPARING, Colour.BLUE, stage.now),))
    words = "somebody resumed the Deployment, so it rolls by itself"
    unpin: tuple[Route, ...] = pins.route(stage, None)
    if unpin or not stage.workload.settled:
        return Move(actions=unpin, waiting=words, wait=bluegreen_steps.POLL)
    return Move(
        actions=(Hold(stage.wanted), AdvanceGreen(ReleaseStep.DISCARDING, Colour.GREEN, stage.now)), waiting=words
    )
