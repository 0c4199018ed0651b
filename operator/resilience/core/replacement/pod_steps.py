"""The steps of one pod that is being replaced: replace, leave, left, drain, delete.

Every step is decided from the pod (label, owner) and the EndpointSlices, never from memory, so a pass may be
interrupted after any write and the next pass continues.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from resilience.api.names import LABEL_TEMPLATE_HASH
from resilience.api.reasons import ReplaceStep
from resilience.api.status import Effective
from resilience.core.health.targets import signal_target
from resilience.core.model.decision import Advance, DeletePod, EvictPod, GiveBack, SendSignal
from resilience.core.model.observation import Pod
from resilience.core.model.service import Service
from resilience.core.model.workload import ReplicaSet
from resilience.core.replacement import availability
from resilience.core.replacement.context import (
    GONE_POLL,
    ReplacementContext,
    Step,
    unfinished_replacement,
    until,
    wait_after_outage,
)

# Interval at which a draining pod's connections are read, because they cannot be watched.
QUIET_POLL = timedelta(seconds=1)
# Time for which an unanswered drain signal is retried before the pod continues without it.
SIGNAL_PATIENCE = timedelta(seconds=10)
# Time for which clients of a headless Service may use a DNS answer: the longest TTL of CoreDNS by default.
HEADLESS_TTL = timedelta(seconds=30)


def progress(context: ReplacementContext, pod: Pod) -> Step:
    """The next step of a pod in flight."""
    if pod.step is not None and pod.step_since is None:
        # Somebody removed the time from the pod, so spans are counted from now.
        return Step(actions=(Advance(pod, pod.step, context.now),))
    if context.surges and pod.step is not ReplaceStep.REPLACING:
        labels, _ = _leave_labels(context, pod)
        if labels:
            # Somebody restored a label, or a Service was created in the meantime.
            return _leave(context, pod)
    match pod.step:
        case ReplaceStep.REPLACING:
            return _replacing(context, pod)
        case ReplaceStep.LEAVING:
            return _leaving(context, pod)
        case ReplaceStep.LEFT:
            return _left(context, pod)
        case ReplaceStep.DRAINING:
            return _draining(context, pod)
        case ReplaceStep.DELETING | None:
            return _delete(context, pod)


def _replacing(context: ReplacementContext, pod: Pod) -> Step:
    lack = unfinished_replacement(context) if context.workload.replicas else ""
    if not lack:
        refusal = availability.may_lose(context.observation, context.view, pod)
        if refusal is None:
            return _leave(context, pod)
        return Step(waiting=f"pod {pod.name} stays: {refusal.message}", refusal=refusal)
    is_late = pod.taken_at is not None and context.now >= pod.taken_at + context.spec.rollout.progress_deadline
    home = _home(context, pod)
    if is_late or context.wish.undo:
        if home is not None and _rank(context, pod) < availability.spare(context.observation, context.view):
            return Step(actions=(GiveBack(pod, home),), given_up=is_late, waiting=lack)
        if home is not None and availability.may_lose(context.observation, context.view, pod) is None:
            # The replacement serves although a condition is not met. Waiting would end neither of the two pods.
            return replace(_leave(context, pod), given_up=is_late, waiting=lack)
    left = until(context, pod.taken_at, context.spec.rollout.progress_deadline)
    latest = f", at the latest {context.now + left:%H:%M:%S} UTC" if left is not None else ""
    return Step(waiting=f"pod {pod.name} stays until its replacement serves{latest}; {lack}", wait=left)


def _home(context: ReplacementContext, pod: Pod) -> ReplicaSet | None:
    """The ReplicaSet that the pod came from, or None when its template is no longer the current one."""
    template_hash = pod.labels.get(LABEL_TEMPLATE_HASH, "")
    sets = context.view.replica_sets
    return next((owner for owner in sets if owner.is_current and owner.template_hash == template_hash), None)


def _rank(context: ReplacementContext, pod: Pod) -> int:
    """The pod's index among the pods that wait for a replacement; no more are handed back than there is room for."""
    waiting = [other.uid for other in context.view.pods if other.step is ReplaceStep.REPLACING and not other.deleting]
    return waiting.index(pod.uid)


def _leave(context: ReplacementContext, pod: Pod) -> Step:
    stop = wait_after_outage(context, pod)
    if stop is not None:
        return stop
    labels, stuck = _leave_labels(context, pod)
    why = availability.policies_words(context.observation, context.view, stuck)
    note = (
        f"pod {pod.name} cannot leave Service {', '.join(stuck)} before it ends: {why} the same labels; its preStop "
        "hook has to cover it, or another label: spec.drain.leaveBy"
    )
    return Step(actions=(Advance(pod, ReplaceStep.LEAVING, context.now, labels),), note=note if stuck else "")


def _leave_labels(context: ReplacementContext, pod: Pod) -> tuple[Mapping[str, str], tuple[str, ...]]:
    leave_by = context.spec.drain.leave_by
    return availability.leave_labels(context.observation, context.view, pod, leave_by=leave_by)


def _leaving(context: ReplacementContext, pod: Pod) -> Step:
    """Wait until no Service that the pod has left lists it any more; only then does the propagation time begin."""
    stop = wait_after_outage(context, pod)
    if stop is not None:
        return stop
    if availability.lingers(context.observation, pod):
        return Step(waiting=f"pod {pod.name} is leaving its Services", wait=GONE_POLL)
    return Step(actions=(Advance(pod, ReplaceStep.LEFT, context.now),))


def _left(context: ReplacementContext, pod: Pod) -> Step:
    stop = wait_after_outage(context, pod)
    if stop is not None:
        return stop
    # Pods of kinds without surge do not leave their Services before they end.
    over = time_to_leave(context.observation.selecting, context.effective) if context.surges else timedelta()
    wait = until(context, pod.step_since, over)
    if wait is not None:
        return Step(waiting=f"pod {pod.name} has left its Services; waiting for every node to know", wait=wait)
    target = signal_target(context.spec, pod)
    if target is None:
        advance = Advance(pod, ReplaceStep.DRAINING, context.now)
        return Step(actions=(advance,), note=_unsignalled(context, pod))
    # The signal is never skipped, however late it is, because the operator itself may have been down until now.
    is_last = until(context, pod.step_since, over + SIGNAL_PATIENCE) is None
    refused = context.observation.refusal if is_last else None
    note = f"pod {pod.name} gets its drain signal for the last time and is then deleted: {refused}" if refused else ""
    return Step(actions=(SendSignal(pod, target, context.now, is_last),), wait=GONE_POLL, note=note)


def _unsignalled(context: ReplacementContext, pod: Pod) -> str:
    """Note about a pod that cannot be signalled, though the spec wants it; empty when none is wanted."""
    signal = context.spec.drain.signal
    if signal is None:
        return ""
    why = f"none of its containers has port {signal.http.port}" if pod.ip else "it has no address"
    return f"pod {pod.name} gets no drain signal: {why}; clients that keep a connection to it may lose a request"


def time_to_leave(services: Sequence[Service], effective: Effective) -> timedelta:
    """Time until every client has received a change of these Services' endpoints."""
    if not services:
        return timedelta()
    if all(service.cluster_ip for service in services):
        return effective.propagation_delay
    return max(effective.propagation_delay, HEADLESS_TTL)


def _draining(context: ReplacementContext, pod: Pod) -> Step:
    wait = until(context, pod.step_since, context.spec.drain.max_wait)
    quiet, signal = context.spec.drain.quiet, context.spec.drain.signal
    active = context.view.connections.get(pod.uid)
    if wait is None or (quiet is None and signal is None):
        return _delete(context, pod)
    if quiet is None:
        return Step(waiting=f"pod {pod.name} drains; its clients move over", wait=wait)
    if active is not None and active < quiet.http.below:
        return _delete(context, pod)
    # The sentence omits the number, which changes all the time: every changed sentence would be a write.
    words = "does not report how many connections it has" if active is None else "still has connections"
    return Step(waiting=f"pod {pod.name} drains; it {words}", wait=min(wait, QUIET_POLL))


def _delete(context: ReplacementContext, pod: Pod) -> Step:
    stop = wait_after_outage(context, pod)
    if stop is not None:
        return stop
    refusal = availability.may_lose(context.observation, context.view, pod)
    if refusal is not None:
        return Step(waiting=f"pod {pod.name} stays: {refusal.message}", refusal=refusal)
    if context.surges:
        return Step(actions=(DeletePod(pod, grace(context, pod)),))
    return Step(actions=(EvictPod(pod, grace(context, pod)),))


def grace(context: ReplacementContext, pod: Pod) -> timedelta:
    """The user's grace period, else the longer of the pod's and the default: a default must not shorten a long one."""
    return context.spec.drain.grace_period or max(pod.grace_period, context.effective.grace_period)
