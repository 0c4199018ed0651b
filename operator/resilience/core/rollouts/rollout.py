"""Rollouts of one service: the strategy that decides about them, the pending requests, and the progress for status.

The rules of each strategy are in `bluegreen` and `rolling`.
"""

from dataclasses import dataclass, replace

from resilience.api.names import ANNOTATION_FAILED, ANNOTATION_PAUSED_FOR
from resilience.api.reasons import Colour, Reason, ReleaseStep, Request, RolloutOutcome, RolloutStage
from resilience.api.status_rollout import Version
from resilience.api.v1alpha1 import Gate, ResilientServiceSpec, Strategy
from resilience.core.model import requests
from resilience.core.model.actions import Hold, MarkFailed, Resume
from resilience.core.model.context import Context
from resilience.core.model.decision import Action, Event, StepResult, earliest
from resilience.core.model.observation import Pod, PodsView
from resilience.core.model.probes import CheckTarget
from resilience.core.rollouts import (
    adoption,
    baseline,
    bluegreen,
    candidate,
    drain,
    gates,
    overdue,
    pins,
    preview,
    records,
    resumed,
    rolling,
)
from resilience.core.rollouts.context import BEFORE_TRAFFIC, Move, RolloutContext
from resilience.core.rollouts.status import Progress, update_status

# Beginning and end of each step, in percent of a rollout.
_PROGRESS = {
    RolloutStage.PREFLIGHT: (0, 5),
    RolloutStage.PREPARING: (5, 35),
    RolloutStage.SCALING: (35, 50),
    RolloutStage.SWITCHING: (50, 55),
    RolloutStage.OVERLAPPING: (55, 60),
    RolloutStage.WARM: (60, 75),
    RolloutStage.DRAINING: (75, 80),
    RolloutStage.HOPPING_BACK: (80, 92),
    RolloutStage.RETURNING: (92, 95),
    RolloutStage.DRAINING_GREEN: (95, 98),
    RolloutStage.FINISHING: (98, 99),
    RolloutStage.ROLLING_UPDATE: (0, 95),
    RolloutStage.GATE: (95, 99),
    RolloutStage.COMPLETE: (100, 100),
}
_STEPS_TOWARDS_BLUE = {
    ReleaseStep.PREPARING: RolloutStage.HOPPING_BACK,
    ReleaseStep.SCALING: RolloutStage.HOPPING_BACK,
    ReleaseStep.SWITCHING: RolloutStage.RETURNING,
    ReleaseStep.OVERLAPPING: RolloutStage.RETURNING,
    ReleaseStep.DRAINING: RolloutStage.DRAINING_GREEN,
}


@dataclass(frozen=True, slots=True)
class RolloutResult:
    """Outcome of the rollout's part of a pass. If pods were not read, nothing is in flight and `move` is empty."""

    step: StepResult
    move: Move
    checks: tuple[CheckTarget, ...] = ()
    # The reason why blue-green is not possible; empty when it is possible or not wanted.
    obstacle: str = ""


def is_blue_green(spec: ResilientServiceSpec) -> bool:
    """The strategy is blue-green: the new version is brought out beside the one that serves."""
    return spec.rollout.strategy is Strategy.BLUE_GREEN


def reconcile(base: Context, *, writing: bool) -> RolloutResult:
    """Decides the next step of a rollout. `writing`: managed fields are about to be written into the template."""
    if base.observation.pods is None:
        return RolloutResult(StepResult(base.status), Move())
    context = make_context(base, base.observation.pods, writing=writing)
    context = replace(context, base=base.with_status(records.refreshed(context)))
    context, events = _requests(context)
    blue_green = is_blue_green(context.spec)
    retry, is_retrying = _retry(context)
    move = retry or _plan(context, blue_green=blue_green)
    previews = preview.plan(context) if blue_green and not is_retrying else ()
    obstacle = adoption.obstacle(context) if blue_green and context.view.green is None else ""
    updated = update_status(context.status, progress(context, move), uid=context.resource.uid, now=context.now)
    if not context.is_adopted and any(isinstance(action, Hold) for action in move.actions):
        events.append(Event(Reason.ADOPTED, "the Deployment is held paused from now on; its releases are blue-green"))
    # By the status of this pass, for the rollout may end with it.
    moved = replace(context, base=base.with_status(updated.status))
    move = replace(move, is_overdue=overdue.is_overdue(moved, move))
    wait = earliest(move.wait, overdue.left(moved))
    result = StepResult(updated.status, (*move.actions, *previews), (*events, *updated.events), requeue_after=wait)
    return RolloutResult(result, move, gate_targets(context), obstacle)


def make_context(base: Context, view: PodsView, *, writing: bool = False, leaving: bool = False) -> RolloutContext:
    """The context of this pass. Without the blue-green strategy the target is to be handed back."""
    return RolloutContext(base, view, leaving=leaving or not is_blue_green(base.spec), writing=writing)


def _plan(context: RolloutContext, *, blue_green: bool) -> Move:
    """The strategy's next move. Whatever the strategy, the rules of blue-green bring back a target still adopted."""
    if (
        blue_green
        or context.is_adopted
        or context.view.green is not None
        or any(service.pin for service in context.services)
    ):
        return bluegreen.plan(context)
    return rolling.plan(replace(context, leaving=False))


def _retry(context: RolloutContext) -> tuple[Move | None, bool]:
    """The move that tries a failed template again when a person asks, and true; else None and false.

    The failure mark is removed first, then the request is handled.
    """
    is_going_back = context.view.green is not None and not bluegreen.stays_on_green(context)
    if not rolling.retried(context) or is_going_back:
        return None, False
    paused_for = context.workload.annotations.get(ANNOTATION_PAUSED_FOR)
    resume: tuple[Action, ...] = (Resume(),) if paused_for == context.wanted else ()
    return Move(actions=(MarkFailed(""), *resume), waiting="the failed template is tried again"), True


def _requests(context: RolloutContext) -> tuple[RolloutContext, list[Event]]:
    """Records promote and retry as handled once they are done, or when there is nothing to do."""
    events: list[Event] = []
    status = context.status
    value = requests.pending(context.resource.annotations, status, Request.RETRY)
    if value is not None and not context.failed(context.wanted):
        is_retried = status.rollout.failure is not None and status.rollout.failure.version.hash == context.wanted
        note = "the template is tried again" if is_retried else "no failed template to try again"
        status = requests.handle(status, Request.RETRY, value, now=context.now, note=note)
        status = status.model_copy(update={"rollout": status.rollout.model_copy(update={"failure": None})})
        if not is_retried:
            events.append(Event(Reason.REQUEST_IGNORED, f"retry: {note}"))
    value = requests.pending(context.resource.annotations, status, Request.PROMOTE)
    if value is not None and not _may_promote(context):
        is_promoted = context.view.green is not None
        note = "promoted" if is_promoted else "no candidate waits for promotion"
        status = requests.handle(status, Request.PROMOTE, value, now=context.now, note=note)
        if not is_promoted:
            events.append(Event(Reason.REQUEST_IGNORED, f"promote: {note}"))
    return replace(context, base=context.base.with_status(status)), events


def _may_promote(context: RolloutContext) -> bool:
    """A promotion can still have an effect at this step."""
    if context.view.green is None:
        return bluegreen.wants_rollout(context)
    if context.green.towards is Colour.BLUE and not context.blue_is_candidate:
        return False
    is_late = context.green.step is ReleaseStep.SCALING and overdue.is_late(context)
    return context.green.step in (ReleaseStep.PREPARING, ReleaseStep.WARM) or is_late


def gate_targets(context: RolloutContext) -> tuple[CheckTarget, ...]:
    """Targets of the checks that belong to this step's gate."""
    gate, pods = _gate(context)
    return gates.check_targets(gate, context.spec, context.effective, context.observation, pods)


def _gate(context: RolloutContext) -> tuple[Gate | None, tuple[Pod, ...]]:
    rollout = context.spec.rollout
    if context.view.green is None:
        is_waiting = not context.is_adopted and rolling.in_flight(context) and context.workload.settled
        return (rollout.after, rolling.current_pods(context)) if is_waiting else (None, ())
    # A pod that is still starting would fail a check that it will pass later.
    pods = context.usable_pods(context.green.towards)
    if context.green.towards is Colour.BLUE and not context.blue_is_candidate:
        return None, ()
    if context.green.step in BEFORE_TRAFFIC:
        return rollout.before, pods
    if context.green.step in (ReleaseStep.OVERLAPPING, ReleaseStep.WARM):
        # Its checks run early, so that its verdict is there when the candidate serves alone.
        return rollout.after, pods
    return None, ()


def progress(context: RolloutContext, move: Move) -> Progress:
    """The progress of what is in flight, for status."""
    if context.view.green is None and not context.is_adopted:
        return _rolling_progress(context, move)
    step, moving_version = _in_flight(context)
    is_failed_again = records.is_failed_again(context)
    low, high = _PROGRESS.get(step, (0, 0))
    return Progress(
        serving=_serving(context),
        candidate=moving_version,
        step=step,
        percent=round(low + (high - low) * move.share),
        message=move.waiting,
        failure=move.failure,
        failed=context.wanted if is_failed_again else context.workload.annotations.get(ANNOTATION_FAILED, ""),
        unwanted=rolling.version(context) if context.failed(context.wanted) else None,
        cleared=not context.failed(context.wanted) and not is_failed_again,
        kept_connections=drain.kept_connections(context) if context.view.green is not None else None,
        pins_lost=len(move.pins_lost),
        resumed_by=(context.workload.changed_by or "somebody") if resumed.is_so(context) else "",
        pods_ended=resumed.ended_pods(context),
        traffic=context.observation.traffic,
        failed_before=baseline.beside(context, moving_version),
    )


def _in_flight(context: RolloutContext) -> tuple[RolloutStage, Version | None]:
    """The name of the step, and the version that is being rolled out; None when there is none."""
    if context.view.green is None:
        if bluegreen.wants_rollout(context) and not records.is_failed_again(context):
            return RolloutStage.PREFLIGHT, rolling.version(context) if bluegreen.may_begin(context) else None
        is_pinned = any(service.pin for service in context.services) and not pins.keeps_apart(context)
        if is_pinned and context.status.rollout.candidate is not None:
            return RolloutStage.FINISHING, context.status.rollout.candidate
        return (RolloutStage.ROLLED_BACK if context.failed(context.wanted) else RolloutStage.COMPLETE), None
    green = context.green
    green_version = Version(
        hash=green.workload.template.fingerprint, image=green.workload.template.image(context.spec.container)
    )
    if green.towards is Colour.GREEN:
        return RolloutStage(green.step), green_version
    if context.failed(context.wanted) and green.step is ReleaseStep.PREPARING:
        return RolloutStage.ROLLED_BACK, None
    step = _STEPS_TOWARDS_BLUE.get(green.step) or RolloutStage(green.step)
    if not context.blue_is_candidate:
        return step, green_version
    return step, Version(hash=candidate.fingerprint(context), image=context.image_of(candidate.fingerprint(context)))


def _serving(context: RolloutContext) -> Version | None:
    """The version that clients reach."""
    if context.view.green is not None:
        step, green = context.green.step, context.green.workload.template
        green_took_over = context.green.towards is Colour.GREEN and step in (ReleaseStep.WARM, ReleaseStep.DRAINING)
        green_still_serves = context.green.towards is Colour.BLUE and step not in (
            ReleaseStep.WARM,
            ReleaseStep.DRAINING,
        )
        if green_took_over or green_still_serves:
            return Version(hash=green.fingerprint, image=green.image(context.spec.container))
    return Version(hash=context.serving, image=context.image_of(context.serving))


def _rolling_progress(context: RolloutContext, move: Move) -> Progress:
    good, failed = context.status.rollout.serving, context.workload.annotations.get(ANNOTATION_FAILED, "")
    version, workload = rolling.version(context), context.workload
    complete = rolling.complete(context) and not rolling.ended_unseen(context)
    is_in_flight = rolling.in_flight(context) and not complete and failed != version.hash and move.failure is None
    is_same = good is not None and good.hash == version.hash
    if move.failure is not None:
        # Recorded together with the version that failed; the next pass ends it.
        is_in_flight = True
    if complete:
        step = RolloutStage.COMPLETE
    elif failed == version.hash:
        step = RolloutStage.PAUSED if workload.paused else RolloutStage.FAILED
    elif workload.settled:
        step = RolloutStage.GATE
    else:
        step = (
            RolloutStage.ROLLING_UPDATE if workload.rolling or not workload.observed else RolloutStage.WAITING_FOR_PODS
        )
    low, high = _PROGRESS.get(step, (0, 99))
    return Progress(
        serving=version if complete else good,
        candidate=version if is_in_flight and not is_same else None,
        step=step,
        percent=round(low + (high - low) * move.share),
        message=move.waiting,
        failure=move.failure,
        failed=failed,
        unwanted=version if context.failed(version.hash) else None,
        traffic=context.observation.traffic,
        failed_before=baseline.at_start(context, version, rolling.current_pods(context)),
        stays=None if rolling.outcome(context) is RolloutOutcome.ROLLED_BACK else rolling.outcome(context),
    )
