"""The steps of one pod that is being replaced: replace, leave, left, drain, delete.

Each is decided from what is on the pod (label, owner) and in the EndpointSlices, never from memory, so a pass may be
cut off after any write and the next one goes on.
"""

from collections.abc import Sequence
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
from resilience.core.replacement.context import GONE_POLL, ReplacementContext, Step, held, unfinished_replacement, until

# How often a draining pod is asked for its connections: it cannot be watched.
QUIET_POLL = timedelta(seconds=1)
# A drain signal that is not answered is tried again for so long before the pod goes without it.
SIGNAL_PATIENCE = timedelta(seconds=10)
# Clients of a headless Service may use a DNS answer for so long: the longest that CoreDNS gives by default.
HEADLESS_TTL = timedelta(seconds=30)


def progress(context: ReplacementContext, pod: Pod) -> Step:
    """What is next for a pod in flight."""
    if pod.step is not None and pod.step_since is None:
        # Somebody took the time off: spans are counted from now.
        return Step(actions=(Advance(pod, pod.step, context.now),))
    if context.surges and pod.step is not ReplaceStep.REPLACING:
        labels, _ = availability.leave_labels(context.observation, context.view, pod)
        if labels:
            # Somebody gave it a label back, or a Service was made meanwhile.
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
    late = pod.taken_at is not None and context.now >= pod.taken_at + context.spec.rollout.progress_deadline
    home = _home(context, pod)
    if late or context.wish.undo:
        if home is not None and _rank(context, pod) < availability.spare(context.observation, context.view):
            return Step(actions=(GiveBack(pod, home),), given_up=late, waiting=lack)
        if home is not None and availability.may_lose(context.observation, context.view, pod) is None:
            # What came up in its place serves, although it lacks something: neither would go by waiting.
            return replace(_leave(context, pod), given_up=late, waiting=lack)
    left = until(context, pod.taken_at, context.spec.rollout.progress_deadline)
    latest = f", at the latest {context.now + left:%H:%M:%S} UTC" if left is not None else ""
    return Step(waiting=f"pod {pod.name} stays until its replacement serves{latest}; {lack}", wait=left)


def _home(context: ReplacementContext, pod: Pod) -> ReplicaSet | None:
    """The ReplicaSet that the pod came from, while its template is the current one."""
    template_hash = pod.labels.get(LABEL_TEMPLATE_HASH, "")
    sets = context.view.replica_sets
    return next((each for each in sets if each.is_current and each.template_hash == template_hash), None)


def _rank(context: ReplacementContext, pod: Pod) -> int:
    """The pod's place among those that wait for a replacement: only as many are given back as there is room for."""
    waiting = [each.uid for each in context.view.pods if each.step is ReplaceStep.REPLACING and not each.deleting]
    return waiting.index(pod.uid)


def _leave(context: ReplacementContext, pod: Pod) -> Step:
    stop = held(context, pod)
    if stop is not None:
        return stop
    labels, stuck = availability.leave_labels(context.observation, context.view, pod)
    note = (
        f"pod {pod.name} cannot leave Service {', '.join(stuck)} before it ends: a NetworkPolicy selects pods by the "
        "same labels; its preStop hook has to cover it"
    )
    return Step(actions=(Advance(pod, ReplaceStep.LEAVING, context.now, labels),), note=note if stuck else "")


def _leaving(context: ReplacementContext, pod: Pod) -> Step:
    """Until no Service that the pod has left lists it any more; only then does the time begin to run."""
    stop = held(context, pod)
    if stop is not None:
        return stop
    if availability.lingers(context.observation, pod):
        return Step(waiting=f"pod {pod.name} is leaving its Services", wait=GONE_POLL)
    return Step(actions=(Advance(pod, ReplaceStep.LEFT, context.now),))


def _left(context: ReplacementContext, pod: Pod) -> Step:
    stop = held(context, pod)
    if stop is not None:
        return stop
    # Without surge no pod leaves its Services before it ends.
    over = time_to_leave(context.observation.selecting, context.effective) if context.surges else timedelta()
    wait = until(context, pod.step_since, over)
    if wait is not None:
        return Step(waiting=f"pod {pod.name} has left its Services; waiting for every node to know", wait=wait)
    target = signal_target(context.spec, pod)
    if target is None:
        return Step(actions=(Advance(pod, ReplaceStep.DRAINING, context.now),))
    # Never skipped, however late it is: the operator itself may have been away all the time.
    last = until(context, pod.step_since, over + SIGNAL_PATIENCE) is None
    refused = context.observation.refusal if last else ""
    note = f"pod {pod.name} gets its drain signal for the last time and then goes: {refused}" if refused else ""
    return Step(actions=(SendSignal(pod, target, context.now, last),), wait=GONE_POLL, note=note)


def time_to_leave(services: Sequence[Service], effective: Effective) -> timedelta:
    """Time until every client knows a change of these Services' endpoints."""
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
    # Without the number: it changes all the time, and a changed sentence is a write.
    words = "does not say how many connections it has" if active is None else "still has connections"
    return Step(waiting=f"pod {pod.name} drains; it {words}", wait=min(wait, QUIET_POLL))


def _delete(context: ReplacementContext, pod: Pod) -> Step:
    stop = held(context, pod)
    if stop is not None:
        return stop
    refusal = availability.may_lose(context.observation, context.view, pod)
    if refusal is not None:
        return Step(waiting=f"pod {pod.name} stays: {refusal.message}", refusal=refusal)
    if context.surges:
        return Step(actions=(DeletePod(pod, grace(context, pod)),))
    return Step(actions=(EvictPod(pod, grace(context, pod)),))


def grace(context: ReplacementContext, pod: Pod) -> timedelta:
    """What the user set here, else what the pod has if that is more: a default must not shorten a long goodbye."""
    return context.spec.drain.grace_period or max(pod.grace_period, context.effective.grace_period)
