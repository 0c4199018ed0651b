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
from resilience.core.rollouts.context import Move, Stage

# Of the failure class Network: so many further tries, after 1, 2 and 4 seconds.
PULL_RETRIES = 3
_POLL = timedelta(seconds=1)
_SLOW = timedelta(seconds=5)
_OLD_FAILURES = timedelta(seconds=2)
_BEFORE_TRAFFIC = (ReleaseStep.PREPARING, ReleaseStep.SCALING)
_UNTIL_ALONE = (*_BEFORE_TRAFFIC, ReleaseStep.SWITCHING, ReleaseStep.OVERLAPPING)


def fingerprint(stage: Stage) -> str:
    """The template that is being checked: green's, or the one that the target's own pods get."""
    if stage.green.towards is Colour.GREEN:
        return stage.green.workload.template.fingerprint
    return stage.wanted if stage.green.step is ReleaseStep.PREPARING else stage.serving


def promoted_by_hand(stage: Stage) -> bool:
    """Whether a person has to say that the candidate gets traffic."""
    return stage.settings.promotion is Promotion.MANUAL


def doomed(stage: Stage) -> Move | None:
    """The way back when the candidate has failed or a person aborts; None when it may go on."""
    green = stage.green
    if green.step in (ReleaseStep.REVERTING, ReleaseStep.DISCARDING):
        return None
    resting = green.step is ReleaseStep.PREPARING and stage.failed(stage.wanted)
    if green.towards is Colour.BLUE and (not stage.home_candidate or resting):
        return None
    if stage.failed(fingerprint(stage)):
        # Noted in an earlier pass, which ended there.
        return give_up(stage, None)
    if stage.aborted(fingerprint(stage)):
        return give_up(stage, aborted())
    seen = _failure(stage)
    if seen is None:
        return None
    pulls = seen.retried and green.towards is Colour.GREEN and green.step in _BEFORE_TRAFFIC
    if pulls and green.pull_retries < PULL_RETRIES:
        return _retry(stage, seen)
    return give_up(stage, seen)


def aborted() -> Failure:
    """A person's word, told like a failure."""
    return Failure(
        kind=FailureClass.UNKNOWN,
        reason="Aborted",
        message="a person asked to stop the release",
        advice="change the template, or ask for it again: resilience.dev/retry-requested-at",
    )


def _failure(stage: Stage) -> Failure | None:
    """What the candidate's pods show, or that its time is over."""
    towards, step = stage.green.towards, stage.green.step
    pods = stage.pods_of(towards)
    deadline = stage.spec.rollout.progress_deadline
    late = stage.now >= _moved(stage, pods) + deadline
    workload = stage.green.workload if towards is Colour.GREEN else stage.workload
    found = classify.first(workload, pods, image=workload.template.image(stage.spec.container))
    if found is not None and found.patient and (not late or step not in _BEFORE_TRAFFIC):
        # After the switch memory is the version's own affair, a node that is full is not.
        return found if found.reason == "OOMKilled" and step not in _BEFORE_TRAFFIC else None
    if found is not None:
        return found
    if step in _UNTIL_ALONE and late and not _complete(stage):
        return classify.timed_out(pods, deadline=deadline, what="the candidate")
    return None


def _moved(stage: Stage, pods: tuple[Pod, ...]) -> datetime:
    """When the candidate last got somewhere: a pod that was lost while it waited for a person has its time again."""
    rollout = stage.status.rollout
    known = rollout.candidate is not None and rollout.candidate.hash == fingerprint(stage)
    began = rollout.started_at if known and rollout.started_at is not None else stage.now
    began = stage.green.since if stage.green.towards is Colour.GREEN else max(began, stage.green.since)
    return max([began, *(pod.created for pod in pods)])


def _complete(stage: Stage) -> bool:
    """Whether as many pods as were asked for are available: then only a gate or a person is waited for."""
    size = stage.green.workload.replicas if stage.green.towards is Colour.GREEN else stage.workload.replicas
    return stage.available(stage.green.towards) >= size > 0


def _retry(stage: Stage, seen: Failure) -> Move:
    """Another pod pulls at once; the kubelet would wait longer each time."""
    tries = stage.green.pull_retries
    stuck = [pod for pod in stage.pods_of(Colour.GREEN) if _is_network(stage, pod)]
    born = max((pod.created for pod in stuck), default=stage.now)
    # Creation times have whole seconds.
    due = born + classify.backoff(tries)
    words = f"{seen.message}; try {tries + 2} of {PULL_RETRIES + 1}"
    if stage.now < due:
        return Move(waiting=words, wait=due - stage.now)
    return Move(actions=(RetryPull(tuple(stuck), tries + 1),), waiting=words)


def _is_network(stage: Stage, pod: Pod) -> bool:
    found = classify.of_pod(pod, image=stage.green.workload.template.image(stage.spec.container))
    return found is not None and found.retried


def give_up(stage: Stage, failure: Failure | None) -> Move:
    """Notes the template as failed and turns round; with no way back the candidate stays, and people are told."""
    towards, step = stage.green.towards, stage.green.step
    back = Colour.BLUE if towards is Colour.GREEN else Colour.GREEN
    note: tuple[Action, ...] = (MarkFailed(fingerprint(stage)),) if not stage.failed(fingerprint(stage)) else ()
    words = failure.message if failure is not None else "the candidate failed"
    if step in _BEFORE_TRAFFIC and towards is Colour.BLUE:
        hold = () if stage.workload.paused else (Hold(stage.serving),)
        return Move(actions=(*note, *hold), failure=failure, waiting=words)
    if step in _BEFORE_TRAFFIC:
        turn = AdvanceGreen(ReleaseStep.DISCARDING, towards, stage.now)
        return Move(actions=(*note, turn), failure=failure, waiting=words)
    if not stage.available(back) and stage.available(towards):
        return Move(
            waiting=f"{words}; the version before it has no pod that is ready, so this one stays", failure=failure
        )
    turn = AdvanceGreen(ReleaseStep.REVERTING, towards, stage.now)
    return Move(actions=(*note, turn, *pins.route(stage, None)), failure=failure, waiting=words)


def starting(stage: Stage, size: int) -> Move:
    """Pods of the candidate that are not ready yet, in words and as a share."""
    towards = stage.green.towards
    pods = stage.pods_of(towards)
    ready = stage.available(towards)
    trouble = next((f"pod {pod.name}: {pod.trouble}" for pod in pods if pod.trouble and not pod.available), "")
    trouble = trouble or stage.green.workload.trouble
    words = f"{ready} of {size} candidate pods are ready" + (f"; {trouble}" if trouble else "")
    started = sum(bool(pod.ip) for pod in pods)
    return Move(waiting=words, wait=_POLL, share=(started + ready) / (2 * size))


def hopping(stage: Stage) -> Move:
    """The target's own pods are replaced while green serves: nothing is urgent."""
    workload = stage.workload
    pods = [pod for pod in stage.view.pods if not pod.deleting and not pod.available and pod.trouble]
    trouble = (
        f"; pod {pods[0].name}: {pods[0].trouble}" if pods else (f"; {workload.trouble}" if workload.trouble else "")
    )
    done = min(workload.updated, workload.available)
    words = f"{done} of {workload.replicas} of the Deployment's own pods have the new template{trouble}"
    return Move(waiting=words, wait=_POLL, share=done / max(workload.replicas, 1))


def granted(stage: Stage) -> Move | None:
    """The gate before traffic, then promotion; None when both are there."""
    towards = stage.green.towards
    serves = stage.available(Colour.BLUE if towards is Colour.GREEN else Colour.GREEN)
    verdict = gates.evaluate(stage.spec.rollout.before, stage.seen, stage.pods_of(towards), stage.now, brief=not serves)
    if verdict.failure is not None:
        return give_up(stage, verdict.failure)
    asked = stage.asked(Request.PROMOTE)
    if not verdict.passed and not (verdict.inconclusive and asked):
        return Move(waiting=verdict.waiting, wait=verdict.wait or _POLL, share=0.9)
    if asked:
        return None
    after, since = stage.settings.promote_after, verdict.since or stage.green.since
    if stage.spec.rollout.before is None:
        since = stage.green.since
    left = since + after - stage.now
    if promoted_by_hand(stage):
        how = (
            f"kubectl annotate -n {stage.resource.key.namespace} rsvc {stage.resource.key.name} --overwrite "
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


def gate_of_all(stage: Stage) -> Move | None:
    """Every pod of the full size has passed once; what a person or time has granted is not asked for again."""
    # Only those that are ready are asked.
    asked = stage.available_pods(stage.green.towards)
    verdict = gates.evaluate(stage.spec.rollout.before, stage.seen, asked, stage.now, brief=True)
    if verdict.failure is not None:
        return give_up(stage, verdict.failure)
    if verdict.passed or verdict.inconclusive:
        return None
    return Move(waiting=verdict.waiting, wait=_POLL, share=0.9)


def accepted(stage: Stage) -> Move | None:
    """The gate after the switch and the warm period; None when the candidate has proved itself, or a person says so."""
    verdict = gates.evaluate(stage.spec.rollout.after, stage.seen, stage.pods_of(stage.green.towards), stage.now)
    if verdict.failure is not None:
        return give_up(stage, verdict.failure)
    measured = _measured(stage)
    if measured is not None:
        return give_up(stage, measured)
    if stage.asked(Request.PROMOTE):
        return None
    period = stage.settings.warm_period
    left = stage.left(period)
    if not verdict.passed and (left is None or verdict.inconclusive):
        more = "; promote or abort it if you know better" if verdict.inconclusive else ""
        return Move(waiting=f"the new version serves; {verdict.waiting}{more}", wait=verdict.wait or _POLL, share=1.0)
    if left is None:
        return None
    share = 1 - left / period if period else 1.0
    return Move(waiting="the new version serves; the old one is kept ready", wait=min(left, _SLOW), share=share)


def _measured(stage: Stage) -> Failure | None:
    """Requests through the Service that fail one after the other say more than any check."""
    seen = stage.seen.traffic
    if seen is None or seen.failed_in_row < stage.spec.health.failure_threshold:
        return None
    if stage.left(_OLD_FAILURES) is not None:
        # They may be those of the version before.
        return None
    return Failure(
        kind=FailureClass.UNKNOWN,
        reason="RequestsFail",
        message=f"{seen.failed_in_row} measured requests in a row failed through the Service",
        advice=f"find out why the new version does not answer {stage.spec.verify.path if stage.spec.verify else ''}",
    )


def can_carry(stage: Stage, back: Colour) -> bool:
    """Whether what served before is large enough to have the traffic alone again."""
    towards = stage.green.towards
    serves = stage.available(towards)
    needed = max(stage.workload.replicas, serves if stage.view.autoscaler is not None else 0)
    return stage.available(back) >= (needed if serves else 1)
