"""Whether a candidate may go on: it comes up, passes its gates and is promoted, or it is given up, with the reason."""

from datetime import datetime, timedelta

from resilience.api.names import request_annotation
from resilience.api.reasons import Colour, FailureClass, ReleaseStep, Request
from resilience.api.v1alpha1 import Promotion
from resilience.core.failures import classify
from resilience.core.failures.classify import Failure
from resilience.core.model.actions import AdvanceGreen, Hold, MarkFailed, RetryPull
from resilience.core.model.decision import Action
from resilience.core.model.observation import Pod
from resilience.core.rollouts import gates, pins
from resilience.core.rollouts.context import Move, RolloutContext

# Of the failure class Network: so many further tries, after 1, 2 and 4 seconds.
PULL_RETRIES = 3
_POLL = timedelta(seconds=1)
_SLOW = timedelta(seconds=5)
_OLD_FAILURES = timedelta(seconds=2)
_BEFORE_TRAFFIC = (ReleaseStep.PREPARING, ReleaseStep.SCALING)
_UNTIL_ALONE = (*_BEFORE_TRAFFIC, ReleaseStep.SWITCHING, ReleaseStep.OVERLAPPING)


def fingerprint(context: RolloutContext) -> str:
    """The template that is being checked: green's, or the one that the target's own pods get."""
    if context.green.towards is Colour.GREEN:
        return context.green.workload.template.fingerprint
    return context.wanted if context.green.step is ReleaseStep.PREPARING else context.serving


def promoted_by_hand(context: RolloutContext) -> bool:
    """Whether a person has to say that the candidate gets traffic."""
    return context.settings.promotion is Promotion.MANUAL


def doomed(context: RolloutContext) -> Move | None:
    """The way back when the candidate has failed or a person aborts; None when it may go on."""
    green = context.green
    if green.step in (ReleaseStep.REVERTING, ReleaseStep.DISCARDING):
        return None
    resting = green.step is ReleaseStep.PREPARING and context.failed(context.wanted)
    if green.towards is Colour.BLUE and (not context.home_candidate or resting):
        return None
    if context.failed(fingerprint(context)):
        # Noted in an earlier pass, which ended there.
        return give_up(context, None)
    if context.aborted(fingerprint(context)):
        return give_up(context, aborted())
    seen = _failure(context)
    if seen is None:
        return None
    pulls = seen.retried and green.towards is Colour.GREEN and green.step in _BEFORE_TRAFFIC
    if pulls and green.pull_retries < PULL_RETRIES:
        return _retry(context, seen)
    return give_up(context, seen)


def aborted() -> Failure:
    """A person's word, told like a failure."""
    return Failure(
        kind=FailureClass.UNKNOWN,
        reason="Aborted",
        message="a person asked to stop the release",
        advice="change the template, or ask for it again: resilience.dev/retry-requested-at",
    )


def _failure(context: RolloutContext) -> Failure | None:
    """What the candidate's pods show, or that its time is over."""
    towards, step = context.green.towards, context.green.step
    pods = context.pods_of(towards)
    deadline = context.spec.rollout.progress_deadline
    late = context.now >= _moved(context, pods) + deadline
    workload = context.green.workload if towards is Colour.GREEN else context.workload
    found = classify.first(workload, pods, image=workload.template.image(context.spec.container))
    if found is not None and found.patient and (not late or step not in _BEFORE_TRAFFIC):
        # After the switch memory is the version's own affair, a node that is full is not.
        return found if found.reason == "OOMKilled" and step not in _BEFORE_TRAFFIC else None
    if found is not None:
        return found
    if step in _UNTIL_ALONE and late and not _complete(context):
        return classify.timed_out(pods, deadline=deadline, what="the candidate")
    return None


def _moved(context: RolloutContext, pods: tuple[Pod, ...]) -> datetime:
    """When the candidate last got somewhere: a pod that was lost while it waited for a person has its time again."""
    rollout = context.status.rollout
    known = rollout.candidate is not None and rollout.candidate.hash == fingerprint(context)
    began = rollout.started_at if known and rollout.started_at is not None else context.now
    began = context.green.since if context.green.towards is Colour.GREEN else max(began, context.green.since)
    return max([began, *(pod.created for pod in pods)])


def _complete(context: RolloutContext) -> bool:
    """Whether as many pods as were asked for are available: then only a gate or a person is waited for."""
    size = context.green.workload.replicas if context.green.towards is Colour.GREEN else context.workload.replicas
    return context.available(context.green.towards) >= size > 0


def _retry(context: RolloutContext, seen: Failure) -> Move:
    """Another pod pulls at once; the kubelet would wait longer each time."""
    tries = context.green.pull_retries
    stuck = [pod for pod in context.pods_of(Colour.GREEN) if _is_network(context, pod)]
    born = max((pod.created for pod in stuck), default=context.now)
    # Creation times have whole seconds.
    due = born + classify.backoff(tries)
    words = f"{seen.message}; try {tries + 2} of {PULL_RETRIES + 1}"
    if context.now < due:
        return Move(waiting=words, wait=due - context.now)
    return Move(actions=(RetryPull(tuple(stuck), tries + 1),), waiting=words)


def _is_network(context: RolloutContext, pod: Pod) -> bool:
    found = classify.of_pod(pod, image=context.green.workload.template.image(context.spec.container))
    return found is not None and found.retried


def give_up(context: RolloutContext, failure: Failure | None) -> Move:
    """Notes the template as failed and turns round; with no way back the candidate stays, and people are told."""
    towards, step = context.green.towards, context.green.step
    back = Colour.BLUE if towards is Colour.GREEN else Colour.GREEN
    note: tuple[Action, ...] = (MarkFailed(fingerprint(context)),) if not context.failed(fingerprint(context)) else ()
    words = failure.message if failure is not None else "the candidate failed"
    if step in _BEFORE_TRAFFIC and towards is Colour.BLUE:
        hold = () if context.workload.paused else (Hold(context.serving),)
        return Move(actions=(*note, *hold), failure=failure, waiting=words)
    if step in _BEFORE_TRAFFIC:
        turn = AdvanceGreen(ReleaseStep.DISCARDING, towards, context.now)
        return Move(actions=(*note, turn), failure=failure, waiting=words)
    if not context.available(back) and context.available(towards):
        return Move(
            waiting=f"{words}; the version before it has no pod that is ready, so this one stays", failure=failure
        )
    turn = AdvanceGreen(ReleaseStep.REVERTING, towards, context.now)
    return Move(actions=(*note, turn, *pins.route(context, None)), failure=failure, waiting=words)


def starting(context: RolloutContext, size: int) -> Move:
    """Pods of the candidate that are not ready yet, in words and as a share."""
    towards = context.green.towards
    pods = context.pods_of(towards)
    ready = context.available(towards)
    trouble = next((f"pod {pod.name}: {pod.trouble}" for pod in pods if pod.trouble and not pod.available), "")
    trouble = trouble or context.green.workload.trouble
    words = f"{ready} of {size} candidate pods are ready" + (f"; {trouble}" if trouble else "")
    started = sum(bool(pod.ip) for pod in pods)
    return Move(waiting=words, wait=_POLL, share=(started + ready) / (2 * size))


def hopping(context: RolloutContext) -> Move:
    """The target's own pods are replaced while green serves: nothing is urgent."""
    workload = context.workload
    pods = [pod for pod in context.view.pods if not pod.deleting and not pod.available and pod.trouble]
    trouble = (
        f"; pod {pods[0].name}: {pods[0].trouble}" if pods else (f"; {workload.trouble}" if workload.trouble else "")
    )
    done = min(workload.updated, workload.available)
    words = f"{done} of {workload.replicas} of the Deployment's own pods have the new template{trouble}"
    return Move(waiting=words, wait=_POLL, share=done / max(workload.replicas, 1))


def granted(context: RolloutContext) -> Move | None:
    """The gate before traffic, then promotion; None when both are there."""
    towards = context.green.towards
    serves = context.available(Colour.BLUE if towards is Colour.GREEN else Colour.GREEN)
    verdict = gates.evaluate(
        context.spec.rollout.before, context.observation, context.pods_of(towards), context.now, brief=not serves
    )
    if verdict.failure is not None:
        return give_up(context, verdict.failure)
    asked = context.asked(Request.PROMOTE)
    if not verdict.passed and not (verdict.inconclusive and asked):
        return Move(waiting=verdict.waiting, wait=verdict.wait or _POLL, share=0.9)
    if asked:
        return None
    after, since = context.settings.promote_after, verdict.since or context.green.since
    if context.spec.rollout.before is None:
        since = context.green.since
    left = since + after - context.now
    if promoted_by_hand(context):
        how = (
            f"kubectl annotate -n {context.resource.key.namespace} rsvc {context.resource.key.name} --overwrite "
            f'{request_annotation(Request.PROMOTE)}="$(date)"'
        )
        if not after or left.total_seconds() > 0:
            wait = left if after else None
            return Move(
                waiting=f"the candidate is ready and waits for promotion: {how}", wait=wait, awaits_promotion=True
            )
        return None
    if left.total_seconds() > 0:
        return Move(waiting="the candidate is ready; it is promoted when its time has come", wait=left, share=0.95)
    return None


def gate_of_all(context: RolloutContext) -> Move | None:
    """Every pod of the full size has passed once; what a person or time has granted is not asked for again."""
    # Only those that are ready are asked.
    asked = context.available_pods(context.green.towards)
    verdict = gates.evaluate(context.spec.rollout.before, context.observation, asked, context.now, brief=True)
    if verdict.failure is not None:
        return give_up(context, verdict.failure)
    if verdict.passed or verdict.inconclusive:
        return None
    return Move(waiting=verdict.waiting, wait=_POLL, share=0.9)


def accepted(context: RolloutContext) -> Move | None:
    """The gate after the switch and the warm period; None when the candidate has proved itself, or a person says so."""
    verdict = gates.evaluate(
        context.spec.rollout.after, context.observation, context.pods_of(context.green.towards), context.now
    )
    if verdict.failure is not None:
        return give_up(context, verdict.failure)
    measured = _measured(context)
    if measured is not None:
        return give_up(context, measured)
    if context.asked(Request.PROMOTE):
        return None
    period = context.settings.warm_period
    left = context.left(period)
    if not verdict.passed and (left is None or verdict.inconclusive):
        more = "; promote or abort it if you know better" if verdict.inconclusive else ""
        return Move(waiting=f"the new version serves; {verdict.waiting}{more}", wait=verdict.wait or _POLL, share=1.0)
    if left is None:
        return None
    share = 1 - left / period if period else 1.0
    return Move(waiting="the new version serves; the old one is kept ready", wait=min(left, _SLOW), share=share)


def _measured(context: RolloutContext) -> Failure | None:
    """Requests through the Service that fail one after the other say more than any check."""
    seen = context.observation.traffic
    if seen is None or seen.failed_in_row < context.spec.health.failure_threshold:
        return None
    if context.left(_OLD_FAILURES) is not None:
        # They may be those of the version before.
        return None
    path = context.spec.verify.path if context.spec.verify else ""
    return Failure(
        kind=FailureClass.UNKNOWN,
        reason="RequestsFail",
        message=f"{seen.failed_in_row} measured requests in a row failed through the Service",
        advice=f"find out why the new version does not answer {path}",
    )


def can_carry(context: RolloutContext, back: Colour) -> bool:
    """Whether what served before is large enough to have the traffic alone again."""
    towards = context.green.towards
    serves = context.available(towards)
    needed = max(context.workload.replicas, serves if context.view.autoscaler is not None else 0)
    return context.available(back) >= (needed if serves else 1)
