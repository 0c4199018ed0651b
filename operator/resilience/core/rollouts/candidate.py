"""Decides about a candidate: it becomes ready, passes its gates and is promoted, or it is given up with a reason."""

from datetime import datetime, timedelta

from resilience.api.names import request_annotation
from resilience.api.reasons import Colour, FailureClass, ReleaseStep, Request
from resilience.api.v1alpha1 import Promotion
from resilience.core.failures import classify, readiness_gates
from resilience.core.failures.classify import Failure
from resilience.core.model.actions import AdvanceGreen, Hold, MarkFailed, RetryPull
from resilience.core.model.decision import Action
from resilience.core.model.observation import Pod
from resilience.core.rollouts import baseline, gates, measured, overdue, pins
from resilience.core.rollouts.context import BEFORE_TRAFFIC, Move, RolloutContext

# Further tries after a failure of class Network: after 1, 2 and 4 seconds.
PULL_RETRIES = 3
_POLL = timedelta(seconds=1)
_SLOW = timedelta(seconds=5)
_PROMOTE_OR_ABORT = "; promote or abort it if you know better"
_BEFORE_SERVING_ALONE = (*BEFORE_TRAFFIC, ReleaseStep.SWITCHING, ReleaseStep.OVERLAPPING)


def fingerprint(context: RolloutContext) -> str:
    """Fingerprint of the template under check: green's, or the one that the target's own pods get."""
    if context.green.towards is Colour.GREEN:
        return context.green.workload.template.fingerprint
    return context.wanted if context.green.step is ReleaseStep.PREPARING else context.serving


def promoted_by_hand(context: RolloutContext) -> bool:
    """Promotion is manual: a person decides that the candidate gets traffic."""
    return context.settings.promotion is Promotion.MANUAL


def roll_back_if_failed(context: RolloutContext) -> Move | None:
    """The move that rolls back when the candidate has failed or a person aborts; None when it may go on."""
    green = context.green
    if green.step in (ReleaseStep.REVERTING, ReleaseStep.DISCARDING):
        return None
    stays_on_green = green.step is ReleaseStep.PREPARING and context.failed(context.wanted)
    if green.towards is Colour.BLUE and (not context.blue_is_candidate or stays_on_green):
        return None
    if context.failed(fingerprint(context)):
        # An earlier pass marked the template as failed, and ended there.
        return give_up(context, None)
    if context.aborted(fingerprint(context)):
        return give_up(context, aborted())
    failure = _failure(context)
    if failure is None:
        return None
    may_retry = failure.is_transient and green.towards is Colour.GREEN and green.step in BEFORE_TRAFFIC
    if may_retry and green.pull_retries < PULL_RETRIES:
        return _retry(context, failure)
    return give_up(context, failure)


def aborted() -> Failure:
    """A person's request to abort, as a failure."""
    return Failure(
        kind=FailureClass.ABORTED,
        reason="Aborted",
        message="a person aborted the release",
        advice="change the template, or request it again: resilience.dev/retry-requested-at",
    )


def _failure(context: RolloutContext) -> Failure | None:
    """The failure that the candidate's pods show, or its timeout; None when there is neither."""
    towards, step = context.green.towards, context.green.step
    pods = context.pods_of(towards)
    deadline = context.spec.rollout.progress_deadline
    is_late = context.now >= _last_progress(context, pods) + deadline
    workload = context.green.workload if towards is Colour.GREEN else context.workload
    failure = classify.first(workload, pods, image=workload.template.image(context.spec.container))
    if failure is not None and failure.may_clear and (not is_late or step not in BEFORE_TRAFFIC):
        # After the switch, a lack of memory is the fault of the version; a full node is not.
        return failure if failure.reason == "OOMKilled" and step not in BEFORE_TRAFFIC else None
    if failure is not None:
        return failure
    if step in _BEFORE_SERVING_ALONE and is_late and not _is_complete(context):
        return _timed_out(context, pods)
    return None


def _timed_out(context: RolloutContext, pods: tuple[Pod, ...]) -> Failure:
    """The failure at the deadline. A readiness gate that nobody answers is the cause if containers are all ready."""
    missing = [pod for pod in pods if pod not in context.usable_pods(context.green.towards)]
    if missing and all(pod.awaits_gates for pod in missing):
        return readiness_gates.unanswered(missing[0], namespace=context.workload.namespace)
    return classify.timed_out(pods, deadline=context.spec.rollout.progress_deadline, what="the candidate")


def _last_progress(context: RolloutContext, pods: tuple[Pod, ...]) -> datetime:
    """Time of the candidate's last progress.

    A new pod counts as progress: if a pod is lost while a person is waited for, its successor gets the full time.
    """
    rollout = context.status.rollout
    is_known = rollout.candidate is not None and rollout.candidate.hash == fingerprint(context)
    began = rollout.started_at if is_known and rollout.started_at is not None else context.now
    began = context.green.since if context.green.towards is Colour.GREEN else max(began, context.green.since)
    return max([began, *(pod.created for pod in pods)])


def _is_complete(context: RolloutContext) -> bool:
    """As many pods as requested are available, so only a gate or a person is waited for."""
    size = context.green.workload.replicas if context.green.towards is Colour.GREEN else context.workload.replicas
    return context.usable(context.green.towards) >= size > 0


def _retry(context: RolloutContext, failure: Failure) -> Move:
    """Replaces the pods that could not pull: new pods pull at once, the kubelet would wait longer each time."""
    tries = context.green.pull_retries
    failed_pods = [pod for pod in context.pods_of(Colour.GREEN) if _has_network_failure(context, pod)]
    created = max((pod.created for pod in failed_pods), default=context.now)
    # Creation times are in whole seconds.
    due = created + classify.backoff(tries)
    message = f"{failure.message}; try {tries + 2} of {PULL_RETRIES + 1}"
    if context.now < due:
        return Move(waiting=message, wait=due - context.now)
    return Move(actions=(RetryPull(tuple(failed_pods), tries + 1),), waiting=message)


def _has_network_failure(context: RolloutContext, pod: Pod) -> bool:
    failure = classify.of_pod(pod, image=context.green.workload.template.image(context.spec.container))
    return failure is not None and failure.is_transient


def give_up(context: RolloutContext, failure: Failure | None) -> Move:
    """Marks the template as failed and turns back.

    With no way back the candidate stays, and people are notified.
    """
    towards, step = context.green.towards, context.green.step
    back = Colour.BLUE if towards is Colour.GREEN else Colour.GREEN
    mark: tuple[Action, ...] = (MarkFailed(fingerprint(context)),) if not context.failed(fingerprint(context)) else ()
    message = failure.message if failure is not None else "the candidate failed"
    if step in BEFORE_TRAFFIC and towards is Colour.BLUE:
        hold = () if context.workload.paused else (Hold(context.serving),)
        return Move(actions=(*mark, *hold), failure=failure, waiting=message)
    if step in BEFORE_TRAFFIC:
        next_step = AdvanceGreen(ReleaseStep.DISCARDING, towards, context.now)
        return Move(actions=(*mark, next_step), failure=failure, waiting=message)
    if not context.able(back) and context.available(towards):
        return Move(
            waiting=f"{message}; the version before it has no pod that is ready, so this one stays", failure=failure
        )
    next_step = AdvanceGreen(ReleaseStep.REVERTING, towards, context.now)
    return Move(actions=(*mark, next_step, *pins.route(context, None)), failure=failure, waiting=message)


def starting(context: RolloutContext, size: int) -> Move:
    """The move that waits for candidate pods to become ready, with a message and the share that is done."""
    towards = context.green.towards
    pods = context.pods_of(towards)
    usable = context.usable_pods(towards)
    ready = len(usable)
    trouble = next((f"pod {pod.name}: {pod.trouble}" for pod in pods if pod.trouble and pod not in usable), "")
    trouble = trouble or context.green.workload.trouble
    message = f"{ready} of {size} candidate pods are ready" + (f"; {trouble}" if trouble else "")
    started = sum(bool(pod.ip) for pod in pods)
    # The Deployment is watched: what it does not tell is why a pod does not become ready.
    wait = _POLL if trouble else _SLOW
    return Move(waiting=message, wait=wait, share=(started + ready) / (2 * size))


def wait_for_own_pods(context: RolloutContext) -> Move:
    """The move that waits for the workload's own pods. While green serves, their replacement is not urgent."""
    workload = context.workload
    pods = [pod for pod in context.view.pods if not pod.deleting and not pod.available and pod.trouble]
    trouble = (
        f"; pod {pods[0].name}: {pods[0].trouble}" if pods else (f"; {workload.trouble}" if workload.trouble else "")
    )
    updated = min(workload.updated, workload.available)
    message = f"{updated} of {workload.replicas} of the Deployment's own pods have the new template{trouble}"
    return Move(waiting=message, wait=_POLL if trouble else _SLOW, share=updated / max(workload.replicas, 1))


def wait_for_promotion(context: RolloutContext) -> Move | None:
    """The next move until the gate before traffic has passed and the candidate is promoted; then None."""
    towards = context.green.towards
    serving_count = context.available(Colour.BLUE if towards is Colour.GREEN else Colour.GREEN)
    verdict = gates.evaluate(
        context.spec.rollout.before,
        context.observation,
        context.pods_of(towards),
        context.now,
        brief=not serving_count,
        unread=context.unread_checks,
    )
    if verdict.failure is not None:
        return give_up(context, verdict.failure)
    is_requested = context.is_requested(Request.PROMOTE)
    # After the deadline a person may overrule every silence, also that of a check that never ran.
    is_late = overdue.is_late(context)
    if verdict.at_deadline is not None and not is_requested and is_late:
        return give_up(context, verdict.at_deadline)
    is_silent = verdict.inconclusive or is_late
    if not verdict.passed and not (is_silent and is_requested):
        hint = _PROMOTE_OR_ABORT if is_silent else ""
        return Move(waiting=verdict.waiting + hint, wait=verdict.wait or _POLL, share=0.9)
    if is_requested:
        return None
    after, since = context.settings.promote_after, verdict.since or context.green.since
    if context.spec.rollout.before is None:
        since = context.green.since
    remaining = since + after - context.now
    if promoted_by_hand(context):
        command = (
            f"kubectl annotate -n {context.resource.key.namespace} rsvc {context.resource.key.name} --overwrite "
            f'{request_annotation(Request.PROMOTE)}="$(date)"'
        )
        if not after or remaining.total_seconds() > 0:
            wait = remaining if after else None
            return Move(
                waiting=f"the candidate is ready and waits for promotion: {command}", wait=wait, awaits_promotion=True
            )
        return None
    if remaining.total_seconds() > 0:
        return Move(waiting="the candidate is ready; it is promoted when its time has come", wait=remaining, share=0.95)
    return None


def gate_of_all(context: RolloutContext) -> Move | None:
    """The next move until every pod of the full size has passed once; then None.

    Inconclusive checks do not block: a gate that a person or time has granted is not asked for again.
    """
    # Only pods that are ready are checked.
    pods = context.usable_pods(context.green.towards)
    unread = context.unread_checks
    gate = context.spec.rollout.before
    verdict = gates.evaluate(gate, context.observation, pods, context.now, brief=True, unread=unread)
    if verdict.failure is not None:
        return give_up(context, verdict.failure)
    if verdict.passed or verdict.inconclusive:
        return None
    is_late = overdue.is_late(context)
    if is_late and context.is_requested(Request.PROMOTE):
        return None
    return Move(waiting=verdict.waiting + (_PROMOTE_OR_ABORT if is_late else ""), wait=_POLL, share=0.9)


def wait_for_acceptance(context: RolloutContext) -> Move | None:
    """The next move until the gate after the switch has passed and the warm period is over; then None.

    Also None when a person accepts the candidate.
    """
    verdict = gates.evaluate(
        context.spec.rollout.after,
        context.observation,
        context.pods_of(context.green.towards),
        context.now,
        baseline=baseline.of(context),
        unread=context.unread_checks,
    )
    if verdict.failure is not None:
        return give_up(context, verdict.failure)
    failure = measured.failure(context)
    if failure is not None:
        return give_up(context, failure)
    if context.is_requested(Request.PROMOTE):
        return None
    if verdict.at_deadline is not None and overdue.is_late(context):
        return give_up(context, verdict.at_deadline)
    period = context.settings.warm_period
    remaining = context.left(period)
    if not verdict.passed and (remaining is None or verdict.inconclusive):
        hint = _PROMOTE_OR_ABORT if verdict.inconclusive or overdue.is_late(context) else ""
        return Move(waiting=f"the new version serves; {verdict.waiting}{hint}", wait=verdict.wait or _POLL, share=1.0)
    if remaining is None:
        return None
    share = 1 - remaining / period if period else 1.0
    message = f"the new version serves; the old one is kept ready{measured.note(context)}"
    return Move(waiting=message, wait=min(remaining, _SLOW), share=share)


def can_carry(context: RolloutContext, back: Colour) -> bool:
    """The previous colour is large enough to carry all the traffic again, once its readiness gates are True."""
    return context.able(back) >= _needed(context)


def carries(context: RolloutContext, back: Colour) -> bool:
    """The previous colour can carry all the traffic now."""
    return context.available(back) >= _needed(context)


def _needed(context: RolloutContext) -> int:
    """Number of pods that the previous colour needs; one is better than none."""
    serving_count = context.available(context.green.towards)
    needed = max(context.workload.replicas, serving_count if context.view.autoscaler is not None else 0)
    return needed if serving_count else 1
