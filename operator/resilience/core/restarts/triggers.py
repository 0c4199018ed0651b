"""Restarts that nobody requested: firing policies and changed configuration, until a restart begins.

Status lists what fires, even when it may not restart anything, the blocker and the time at which that ends. Pods are
then replaced as in every other restart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from math import ceil
from typing import Final

from resilience.api.reasons import BlockReason, HealthState, Reason
from resilience.api.restarts import Policy
from resilience.api.status import Status
from resilience.api.status_restarts import FiringPolicy, PastRestart, PodReference, RestartStatus
from resilience.api.v1alpha1 import TargetKind
from resilience.core.model import trace_ids
from resilience.core.model.context import Context
from resilience.core.model.decision import SOON, Event, StepResult, earliest
from resilience.core.model.observation import Pod, Ticket
from resilience.core.model.probes import CheckTarget
from resilience.core.replacement import availability
from resilience.core.restarts import content, limits, policies
from resilience.core.restarts.content import Change
from resilience.core.restarts.limits import Blocker
from resilience.core.restarts.policies import Firing

# A requested turn is answered with the next pass, at the latest after this time.
_TURN_WAIT: Final = timedelta(seconds=2)
# A blocker without a known end may end unobserved.
_RECHECK: Final = timedelta(seconds=15)
# A new pod has no figures at first, which is not reported.
FIGURES_COME: Final = timedelta(minutes=1)
_MOST_PODS: Final = 50


@dataclass(frozen=True, slots=True)
class _Cause:
    """The reason for a restart. `pods` is empty when all of them are to be replaced."""

    words: str
    names: tuple[str, ...] = ()
    pods: tuple[Pod, ...] = ()
    change: Change | None = None


def not_judged(context: Context) -> tuple[str, ...]:
    """Messages about policies and content that cannot be judged, and so never restart anything, with the fix."""
    reasons = [reason] if (reason := policies.unmeasurable(context)) else []
    reasons.extend(content.not_judged(context))
    for policy in context.spec.restart.policies:
        state = context.observation.checks.get(policies.PREFIX + policy.name)
        is_silent = state is not None and state.state is HealthState.UNKNOWN and state.silent
        if state is not None and is_silent and context.now > state.since + FIGURES_COME:
            reasons.append(f"policy {policy.name} cannot be judged: {state.message}")
    return tuple(reasons)


def targets(context: Context) -> tuple[CheckTarget, ...]:
    """The checks that policies and restart.onChange need."""
    return (*policies.targets(context), *content.targets(context))


def reconcile(context: Context) -> StepResult:
    """Begin a restart for what fires, if nothing blocks it; report what fires and what blocks it."""
    if context.observation.pods is None:
        # Pods are read whenever something may fire.
        return StepResult(_blocked(_with_firing(context.with_status(content.remember(context)), ()), None))
    firing = policies.firing(context)
    acting = [entry for entry in firing if not entry.policy.dry_run]
    context = context.with_status(content.remember(context))
    status, loops = limits.note_loops(context, acting)
    events = (*_dry_runs(status, firing), *_loops(loops))
    context = context.with_status(_with_firing(context.with_status(status), firing))
    result = StepResult(context.status, events=events, requeue_after=policies.next_due(context))
    if status.restart is not None:
        return replace(result, status=_blocked(context.status, None))
    change, wait = content.settled(context)
    result = replace(result, requeue_after=earliest(result.requeue_after, wait))
    if change is None and not acting:
        return replace(result, status=_blocked(context.status, None))
    free, block = _allowed(context, acting, content_changed=change is not None)
    if block is not None:
        return _postpone(context, result, block, before=status)
    cause = _of_content(change) if change is not None else _of_policies(free)
    return _in_turn(context, result, cause)


def _allowed(
    context: Context, acting: Sequence[Firing], *, content_changed: bool
) -> tuple[Sequence[Firing], Blocker | None]:
    if context.spec.suspend:
        return (), Blocker(BlockReason.SUSPENDED, "spec.suspend is set")
    block = _impossible(context)
    if block is not None:
        return (), block
    if content_changed:
        return acting, limits.replacement_blocker(context.observation)
    return limits.allowed(context, acting)


def _in_turn(context: Context, result: StepResult, cause: _Cause) -> StepResult:
    turn = context.observation.turn
    if turn is not None and turn.granted:
        return _begin(context, result, cause)
    result = replace(result, ticket=Ticket(context.resource.key, context.spec.restart.priority, context.now))
    if turn is None or turn.expected is None:
        # Requested with this pass; the next one has the answer.
        wait = earliest(result.requeue_after, _TURN_WAIT)
        return replace(result, status=_blocked(context.status, None), requeue_after=wait)
    expected = timedelta(seconds=ceil(turn.expected.total_seconds()))
    # Without the place in the queue: it changes with every restart of another service, and a changed text is a write.
    words = "a few services restart pods at a time, and others go before it"
    status = _blocked(context.status, Blocker(BlockReason.QUEUED, words, context.now + expected), ahead=turn.ahead)
    return replace(result, status=status, requeue_after=earliest(result.requeue_after, max(expected, _TURN_WAIT)))


def _postpone(context: Context, result: StepResult, block: Blocker, *, before: Status) -> StepResult:
    events = result.events
    if block.reason not in (before.restarts.blocked_by, BlockReason.RESTART_LOOP):
        events = (*events, Event(Reason.POLICY_BLOCKED, block.message))
    wait = block.until - context.now if block.until is not None else _RECHECK
    status = _blocked(context.status, block)
    return replace(result, status=status, events=events, requeue_after=earliest(result.requeue_after, wait))


def _begin(context: Context, result: StepResult, cause: _Cause) -> StepResult:
    assert context.observation.pods is not None
    now, pods = context.now, availability.staying(context.observation.pods)
    born_before = max((pod.created for pod in pods), default=now)
    if cause.change is not None:
        # Pods that were created later have the changed content.
        born_before = min(born_before, cause.change.since)
    begun = RestartStatus(
        reason=cause.words[:1024],
        policies=list(cause.names),
        only=[PodReference(name=pod.name, uid=pod.uid) for pod in cause.pods],
        trace_id=trace_ids.new(context.resource.uid, now),
        started_at=now,
        born_before=born_before,
        total=len(cause.pods) or sum(pod.created <= born_before for pod in pods),
    )
    restarts = context.status.restarts
    if cause.names:
        entry = PastRestart(at=now, policies=list(cause.names))
        restarts = restarts.model_copy(update={"recent": [*restarts.recent, entry][-limits.MOST :]})
    if cause.change is not None:
        new = {(entry.kind, entry.name): entry for entry in cause.change.contents}
        contents = [new.get((entry.kind, entry.name), entry) for entry in restarts.contents]
        restarts = restarts.model_copy(update={"contents": contents})
    words = f"restart of {begun.total} pod{'s' if begun.total != 1 else ''} began: {cause.words}"
    status = _blocked(context.status.model_copy(update={"restart": begun, "restarts": restarts}), None)
    event = Event(Reason.RESTART_STARTED, f"{words} (trace {begun.trace_id})")
    return replace(result, status=status, events=(*result.events, event), requeue_after=SOON)


def _of_policies(acting: Sequence[Firing]) -> _Cause:
    """One restart for all policies: the pod that most policies fire for goes first, then the oldest."""
    pods = {entry.pod.uid: entry.pod for entry in acting}
    count = {uid: sum(entry.pod.uid == uid for entry in acting) for uid in pods}
    worst = sorted(pods.values(), key=lambda pod: (-count[pod.uid], pod.created, pod.name))[:_MOST_PODS]
    first = {entry.policy.name: entry.message for entry in reversed(acting)}
    names = tuple(dict.fromkeys(entry.policy.name for entry in acting))
    return _Cause("; ".join(f"policy {name}: {first[name]}" for name in names), names, tuple(worst))


def _of_content(change: Change) -> _Cause:
    named = ", ".join(f"{entry.kind} {entry.name}" for entry in change.contents)
    return _Cause(f"the content of {named} changed", change=change)


def _impossible(context: Context) -> Blocker | None:
    """The blocker of restarts that no policy may cause at any time, though a person may; None when there is none.

    No policy may force a replacement beside a pod that cannot have one, or end the last pod of a kind without surge.
    """
    workload, view = context.workload, context.observation.pods
    assert view is not None
    refusal = availability.drain_refusal(context.spec, workload)
    if refusal is not None:
        return Blocker(refusal.reason, refusal.message)
    if workload.kind is TargetKind.DEPLOYMENT:
        refusal = availability.replacement_refusal(workload, view) or availability.too_strict(workload, view)
        return Blocker(refusal.reason, refusal.message) if refusal is not None else None
    full = availability.full_budget(view)
    if full is not None:
        return Blocker(full.reason, full.message)
    if workload.replicas == 1:
        words = f"a {workload.kind} cannot surge and this is its only pod: only a person may restart it"
        return Blocker(BlockReason.LAST_REPLICA, words)
    return None


def _with_firing(context: Context, firing: Sequence[Firing]) -> Status:
    """The status with one entry for each policy that fires."""
    by_policy: dict[str, list[Firing]] = {}
    for entry in firing:
        by_policy.setdefault(entry.policy.name, []).append(entry)
    entries = [_entry(pods[0].policy, pods) for pods in by_policy.values()]
    update = {"firing": entries, "recent": limits.recent(context)}
    return context.status.model_copy(update={"restarts": context.status.restarts.model_copy(update=update)})


def _entry(policy: Policy, pods: Sequence[Firing]) -> FiringPolicy:
    return FiringPolicy(name=policy.name, pods=len(pods), message=pods[0].message[:1024], dry_run=policy.dry_run)


def _loops(names: Sequence[str]) -> tuple[Event, ...]:
    return (Event(Reason.RESTART_LOOP, limits.loop_words(names), warning=True),) if names else ()


def _dry_runs(before: Status, firing: Sequence[Firing]) -> tuple[Event, ...]:
    """One Event for each policy with dryRun that begins to fire."""
    known = {entry.name for entry in before.restarts.firing}
    dry = [entry for entry in reversed(firing) if entry.policy.dry_run and entry.policy.name not in known]
    return tuple(
        Event(Reason.WOULD_RESTART, f"policy {name} (dryRun) would restart: {message}")
        for name, message in sorted({entry.policy.name: entry.message for entry in dry}.items())
    )


def _blocked(status: Status, block: Blocker | None, *, ahead: int | None = None) -> Status:
    update = {
        "ahead": ahead,
        "blocked_by": block.reason if block is not None else "",
        "message": block.message[:1024] if block is not None else "",
        "next_allowed_at": block.until if block is not None else None,
    }
    return status.model_copy(update={"restarts": status.restarts.model_copy(update=update)})
