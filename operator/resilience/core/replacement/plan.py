"""Replacing pods without losing a request: take over, replace, leave, drain, delete (docs/concepts/restarts.md).

Every step is decided from the pod (label, owner) and the EndpointSlices, never from memory, so a pass may be
interrupted after any write and the next pass continues. Pods of kinds without surge go straight to drain and are
evicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from resilience.api.reasons import RefusalReason, ReplaceStep
from resilience.core.failures import stuck_pods
from resilience.core.health.targets import signal_target
from resilience.core.model.decision import Action, Advance, DeletePod, EvictPod, TakeOver
from resilience.core.model.observation import Pod
from resilience.core.replacement import availability
from resilience.core.replacement.context import (
    GONE_POLL,
    ReplacementContext,
    Step,
    is_old,
    new_pods,
    obstacle_of,
    unfinished_replacement,
    until,
    wait_after_outage,
)
from resilience.core.replacement.pod_steps import SIGNAL_PATIENCE, grace, progress, time_to_leave

# Disruption budgets are not watched.
REFUSED_POLL = timedelta(seconds=15)
# Refusals that end with a rollout, which has deadlines and alerts of its own.
_REPORTED = (RefusalReason.RELEASE_MOVING, RefusalReason.ROLLOUT_MOVING)


@dataclass(frozen=True, slots=True)
class ReplacementPlan:
    """Actions on pods now, and the reason that there are no more."""

    actions: tuple[Action, ...]
    # The cause of waiting, for people; empty when nothing waits.
    waiting: str
    # Refusal of the guard, for status and metrics.
    refusal: availability.Refusal | None
    requeue_after: timedelta | None
    # Number of pods that still have to be replaced, or to end before others can go on.
    remaining: int
    # Uids of the pods that these actions end.
    ending: frozenset[str]
    # Uids of pods that have been replaced and only end: nothing waits for them, however long their grace period is.
    released: frozenset[str] = frozenset()
    # Uids of pods that should have ended long ago, and without which no replacement is made. Only what is still wanted
    # waits for them.
    stuck: frozenset[str] = frozenset()
    # True when a replacement did not serve in time and this pass gives up: it hands the pod back, or ends the restart.
    given_up: bool = False
    # Nothing has moved for longer than every step together may take.
    is_overdue: bool = False
    # Notes for people, which stop nothing.
    notes: tuple[str, ...] = ()


def plan_replacements(context: ReplacementContext) -> ReplacementPlan:
    """The next actions for all pods: those in flight first, then new ones as far as surge and guard allow."""
    released, ending, stuck = _ending(context)
    steps = [_stuck(context, stuck)]
    steps += [progress(context, pod) for pod in context.view.pods if pod.step is not None and not pod.deleting]
    old = _to_replace(context)
    steps.append(_begin(context, old, is_blocked=any(step.refusal is not None for step in steps)))
    waits = [step.wait for step in steps if step.wait is not None]
    if ending:
        waits.append(GONE_POLL)
    if any(step.refusal is not None for step in steps):
        waits.append(REFUSED_POLL)
    in_flight = sum(pod.step is not None and not pod.deleting for pod in context.view.pods)
    reborn = _reborn(context) if not in_flight and not ending else Step()
    steps.append(reborn)
    if reborn.wait is not None:
        waits.append(reborn.wait)
    waiting = next((step.waiting for step in steps if step.waiting), "")
    remaining = len(old) + in_flight + len(ending) + bool(reborn.waiting)
    actions = tuple(action for step in steps for action in step.actions)
    return ReplacementPlan(
        actions=actions,
        waiting=waiting or (f"pod {ending[0].name} is ending" if ending else ""),
        refusal=next((step.refusal for step in steps if step.refusal), None),
        requeue_after=min(waits, default=None),
        remaining=remaining,
        ending=frozenset(action.pod.uid for action in actions if isinstance(action, DeletePod | EvictPod)),
        released=frozenset(pod.uid for pod in released),
        stuck=frozenset(pod.uid for pod in stuck),
        is_overdue=_is_overdue(context, steps, remaining=remaining),
        given_up=any(step.given_up for step in steps),
        notes=tuple(step.note for step in steps if step.note),
    )


def _ending(context: ReplacementContext) -> tuple[list[Pod], list[Pod], list[Pod]]:
    """Replaced pods that end: those that nothing waits for, those that something waits for, and stuck ones of a kind
    without surge, which makes the next pod only when the old one is gone."""
    replaced = [pod for pod in context.view.pods if pod.deleting and (pod.step is not None or is_old(context, pod))]
    stuck = [pod for pod in replaced if stuck_pods.is_stuck(pod, context.now)]
    if context.surges:
        out = [pod for pod in replaced if pod in stuck or availability.is_out(context.observation, pod)]
        return out, [pod for pod in replaced if pod not in out], []
    return [], [pod for pod in replaced if pod not in stuck or not context.wish.undo], stuck


def _stuck(context: ReplacementContext, pods: Sequence[Pod]) -> Step:
    """The step with pods that do not end and whose place is needed: after some time they end the restart."""
    if not pods or context.wish.undo:
        return Step()
    left = until(context, pods[0].ends_by, context.spec.rollout.progress_deadline)
    return Step(waiting=stuck_pods.failure(pods[0]).message, wait=left, given_up=left is None)


def _is_overdue(context: ReplacementContext, steps: Sequence[Step], *, remaining: int) -> bool:
    """Pods are to be replaced, and nothing has moved for longer than the slowest pod may take.

    A rollout that a restart waits for is reported by itself.
    """
    running = context.status.restart
    is_moving = any(step.actions for step in steps) and context.observation.refusal is None
    if (
        is_moving
        or not remaining
        or any(step.refusal is not None and step.refusal.reason in _REPORTED for step in steps)
    ):
        return False
    moves = [running.started_at] if running is not None else []
    moves += [at for pod in context.view.pods for at in (pod.step_since, pod.taken_at) if at is not None]
    moves += [pod.created for pod in availability.staying(context.view)]
    drain = context.spec.drain
    ends = [pod.grace_period for pod in context.view.pods if pod.deleting]
    longest = time_to_leave(context.observation.selecting, context.effective) + SIGNAL_PATIENCE + drain.max_wait
    starting = context.spec.rollout.progress_deadline + timedelta(seconds=context.workload.min_ready_seconds)
    allowed = starting + max([longest, *ends])
    return bool(moves) and context.now >= max(moves) + allowed


def _to_replace(context: ReplacementContext) -> list[Pod]:
    """Pods to replace that have not begun: first those that do not serve, then the worst, then the oldest."""
    old = [pod for pod in availability.staying(context.view) if is_old(context, pod)]
    rank = {uid: number for number, uid in enumerate(context.wish.only)}
    return sorted(
        old,
        key=lambda pod: (
            availability.is_serving(context.observation, pod),
            rank.get(pod.uid, 0),
            pod.created,
            pod.name,
        ),
    )


def _begin(context: ReplacementContext, old: list[Pod], *, is_blocked: bool) -> Step:
    """The first step of the next pods. `is_blocked`: a pod in flight has to stay, so one that does not serve may go."""
    if not old or context.wish.undo:
        return Step()
    in_flight = sum(pod.step is not None and not pod.deleting for pod in context.view.pods)
    free = context.spec.restart.surge - in_flight if context.surges else 1 - in_flight
    if free <= 0:
        old = [pod for pod in old if is_blocked and not availability.is_serving(context.observation, pod)]
        free = 1
    if not old:
        return Step()
    if context.wish.not_before is not None and context.now < context.wish.not_before:
        return Step(waiting="about to begin", wait=context.wish.not_before - context.now)
    refusal = availability.may_begin(context.observation)
    if refusal is not None:
        return Step(waiting=refusal.message, refusal=refusal)
    unfinished = unfinished_replacement(context)
    if unfinished:
        return Step(waiting=unfinished)
    if context.surges:
        return _take_over(context, old[:free])
    return _end_without_twin(context, old[0])


def _take_over(context: ReplacementContext, pods: list[Pod]) -> Step:
    """Take over pods; serving pods are left alone when no number of replacements could be enough."""
    refusal = availability.too_strict(context.workload, context.view)
    if refusal is not None:
        pods = [pod for pod in pods if not availability.is_serving(context.observation, pod)]
    return Step(
        actions=tuple(TakeOver(pod, context.now) for pod in pods if pod.owner_kind == "ReplicaSet"),
        waiting=refusal.message if refusal is not None else "",
        refusal=refusal,
    )


def _end_without_twin(context: ReplacementContext, pod: Pod) -> Step:
    """End a pod of a kind without surge: signal, then evict.

    The pod must not leave its Service by a label, because its controller would drop it. A single replica has a floor of
    zero, because a person requested the restart and status states the cost.
    """
    refusal = availability.may_lose(context.observation, context.view, pod)
    if refusal is not None:
        return Step(waiting=f"pod {pod.name} stays: {refusal.message}", refusal=refusal)
    stop = wait_after_outage(context, pod)
    if stop is not None:
        return stop
    full = availability.full_budget(context.view)
    if full is not None and pod.ready:
        # The API server would refuse the eviction, so the pod need not be drained.
        return Step(waiting=f"pod {pod.name} stays: {full.message}", refusal=full)
    if signal_target(context.spec, pod) is not None:
        return Step(actions=(Advance(pod, ReplaceStep.LEFT, context.now),))
    return Step(actions=(EvictPod(pod, grace(context, pod)),))


def _reborn(context: ReplacementContext) -> Step:
    """The step with nothing in flight: a replacement that fails to serve for too long ends the restart."""
    lack = unfinished_replacement(context)
    if context.wish.born_before is None or context.wish.undo or not lack:
        return Step()
    not_counting = [pod for pod in new_pods(context) if obstacle_of(context, pod)]
    born = max((max(pod.created, pod.ready_changed or pod.created) for pod in not_counting), default=context.now)
    left = until(context, born, context.spec.rollout.progress_deadline)
    return Step(waiting=lack, wait=left, given_up=left is None)
