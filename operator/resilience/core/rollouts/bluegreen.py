"""A blue-green rollout, decided from what exists: the target's template, green and its step, and the Services.

docs/concepts/releases.md describes the steps. First they run towards green, which takes over with the new template.
Then they run towards blue: the target's own pods get the template too, and take over again. Nothing is remembered
between two passes; green carries the step, so a rollout continues from where it stopped.
"""

from dataclasses import replace

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.failures import classify
from resilience.core.failures.classify import Failure
from resilience.core.model.actions import CreateGreen, DeleteGreen, Hold, MarkFailed, Resume, ScaleGreen
from resilience.core.rollouts import (
    adoption,
    autoscaling,
    bluegreen_steps,
    candidate,
    pins,
    preflight,
    records,
    resumed,
    unknown_step,
)
from resilience.core.rollouts.context import Move, RolloutContext


def plan(context: RolloutContext) -> Move:
    """The next move of the rollout; without green, of its start, of adoption or of the hand-back."""
    move = _plan(context)
    # Last: whether the autoscaler grows is never as urgent as the rest.
    return replace(move, actions=(*move.actions, *autoscaling.limits(context, move)))


def _plan(context: RolloutContext) -> Move:
    if context.view.green is None:
        return _without_green(context)
    if context.green.deleting:
        return _while_green_ends(context)
    if context.workload.replicas == 0:
        return _at_zero(context)
    if not context.green.is_step_known:
        return unknown_step.recover(context)
    if resumed.is_so(context):
        return resumed.plan(context)
    return bluegreen_steps.step(context)


def _while_green_ends(context: RolloutContext) -> Move:
    """Waits until green is gone; neither a hand-back nor a Deployment that somebody resumed waits for that."""
    pods = context.green.pods
    only_end = all(context.is_out(pod) for pod in pods)
    # Pods that ignore SIGTERM may take long to end; the next release must not wait for them.
    delete = (DeleteGreen(),) if pods and only_end else ()
    if context.leaving and only_end:
        # No client is led to it again, so it may end when nobody looks any more.
        move = _without_green(context)
        return replace(move, actions=(*move.actions, *delete)) if move.actions else move
    # Somebody may resume the target meanwhile. Its new pods need endpoints, and green's are in no slice any more.
    unpin = () if context.workload.paused else pins.route(context, None)
    # Once green is gone, the pods that are out get no client by the Services without a pin.
    last = pins.route(context, None) if delete and context.workload.paused else ()
    message = "the last pods of the second Deployment end"
    return Move(actions=(*unpin, *delete, *last), waiting=message, wait=bluegreen_steps.POLL)


def stays_on_green(context: RolloutContext) -> bool:
    """Green serves, and the target's own pods have no template to take over with: the newest one failed."""
    green = context.view.green
    return (
        green is not None
        and green.towards is Colour.BLUE
        and green.step is ReleaseStep.PREPARING
        and context.failed(context.wanted)
    )


def _at_zero(context: RolloutContext) -> Move:
    """Removes green: no pod is to serve.

    Green stays, without pods, when nothing else has the version that serves: a paused Deployment that grows from zero
    starts its newest ReplicaSet, and that is the failed one.
    """
    if not stays_on_green(context) or context.leaving:
        return Move(actions=(*pins.route(context, None), DeleteGreen()))
    hold = () if context.workload.paused else (Hold(context.serving),)
    shrink = (ScaleGreen(0),) if context.green.workload.replicas else ()
    return Move(actions=(*hold, *shrink), waiting="the version that serves is kept on the second Deployment, at zero")


def wants_rollout(context: RolloutContext) -> bool:
    """The target has a template that is to be rolled out."""
    return (
        context.is_adopted
        and context.workload.paused
        and context.workload.replicas > 0
        and context.wanted != context.serving
        and not context.failed(context.wanted)
        and not context.leaving
    )


def may_begin(context: RolloutContext) -> bool:
    """The rollout that is wanted counts as one: its settings can be read, or it was in flight before they changed."""
    return not context.unread or context.status.rollout.candidate is not None


def _without_green(context: RolloutContext) -> Move:
    correction = records.correction(context)
    if correction:
        return Move(actions=correction)
    if wants_rollout(context):
        return _begin(context)
    if pins.keeps_apart(context):
        return Move(actions=pins.route(context, Colour.BLUE))
    unpin = pins.route(context, None)
    if unpin:
        # When all pods of the target have one template, its Services reach the same pods with and without a pin.
        return Move(actions=unpin)
    if context.leaving:
        return adoption.hand_back(context)
    if context.is_adopted and context.workload.replicas == 0:
        if context.failed(context.wanted) and context.workload.paused:
            # Resumed, it would start the failed template ungated. Held, it starts the ReplicaSet that it had last.
            return Move()
        return Move(actions=(Resume(give_back=True),))
    if not (context.is_adopted and context.workload.paused):
        return adoption.adopt(context)
    return Move()


def _begin(context: RolloutContext) -> Move:
    """Runs the preflight, pins the Services, then creates green.

    In this order, because green's pods carry the labels that the Services select.
    """
    if context.aborted(context.wanted):
        return fail(context, candidate.aborted())
    if context.unread:
        # Nothing that the candidate did: its deadline has not begun.
        return Move(waiting=f"no release begins: {context.unread}")
    refusal = context.observation.refusal
    if refusal is not None and refusal.of_candidate:
        failure = classify.of_refusal(refusal.message)
        if not failure.may_clear:
            return fail(context, failure)
    blocker = preflight.blocker(context) or adoption.obstacle(context)
    if not context.hash_of(Colour.BLUE):
        blocker = blocker or "the ReplicaSet that serves is gone; nothing could be kept beside the new version"
    rollout = context.status.rollout
    is_known = rollout.candidate is not None and rollout.candidate.hash == context.wanted
    started_at = rollout.started_at if is_known else None
    if blocker and started_at is not None and context.now >= started_at + context.spec.rollout.progress_deadline:
        return fail(context, classify.never_began(blocker, deadline=context.spec.rollout.progress_deadline))
    if blocker:
        return Move(waiting=blocker, wait=bluegreen_steps.SLOW_POLL)
    routes = pins.route(context, Colour.BLUE)
    size = bluegreen_steps.preview_size(context, full=max(context.workload.replicas, 1))
    # The guard allows the creation of green only when a fresh observation shows every pin.
    return Move(actions=(*routes, CreateGreen(size, started_at or context.now)))


def fail(context: RolloutContext, failure: Failure) -> Move:
    """Marks the template as failed, so that it is not tried again; for a rollout that failed before green existed."""
    return Move(actions=(MarkFailed(context.wanted),), failure=failure, waiting=failure.message)
