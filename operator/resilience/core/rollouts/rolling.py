"""RollingUpdate: the Deployment controller rolls; the operator reads its progress and answers a failed template once.

Once per template: a person who resumes or applies it again has decided, and the operator does not fight that.
"""

from datetime import datetime, timedelta
from typing import Final

from resilience.api.names import ANNOTATION_PAUSED_FOR, LABEL_TEMPLATE_HASH
from resilience.api.reasons import Request, RolloutOutcome
from resilience.api.status_rollout import Version
from resilience.api.v1alpha1 import OnFailure, TargetKind
from resilience.core.failures import classify
from resilience.core.failures.classify import Failure
from resilience.core.model.actions import MarkFailed, PauseFailed, RestoreTemplate, Resume
from resilience.core.model.decision import SOON, Action
from resilience.core.model.observation import Pod
from resilience.core.model.workload import ReplicaSet
from resilience.core.rollouts import baseline, candidate, gates, records
from resilience.core.rollouts.context import Move, RolloutContext
from resilience.core.rollouts.gates import GateVerdict

# A gate that may end at the deadline is looked at so often.
_DEADLINE_POLL: Final = timedelta(seconds=5)


def current_pods(context: RolloutContext) -> tuple[Pod, ...]:
    """Pods of the template that rolls; of all templates as long as a controller does not report the newest one."""
    pods = [pod for pod in context.view.pods if not pod.deleting]
    if context.workload.kind is TargetKind.DEPLOYMENT:
        current = {replica_set.template_hash for replica_set in context.view.replica_sets if replica_set.is_current}
        return tuple(pod for pod in pods if pod.labels.get(LABEL_TEMPLATE_HASH) in current)
    if context.workload.settled:
        # These include pods that an earlier rollout of the same template made.
        return tuple(pods)
    return tuple(pod for pod in pods if context.workload.newest_labels.items() <= pod.labels.items())


def in_flight(context: RolloutContext) -> bool:
    """A template is being rolled out and has not proved itself."""
    good, is_followed = context.status.rollout.serving, context.status.rollout.candidate is not None
    if good is None:
        # The template at the first observation counts as good; one that was rolling then has to prove itself.
        return _is_moving(context) or is_followed
    return _is_moving(context) or (good.hash != context.wanted and not context.failed(context.wanted))


def _is_moving(context: RolloutContext) -> bool:
    return not context.workload.observed or context.workload.rolling


def ended_unseen(context: RolloutContext) -> bool:
    """A rolling update has begun and ended while no operator looked: it is recorded as a release all the same.

    A hash that is another one by itself, after an upgrade, is none: another version has its own ReplicaSet or image.
    """
    good, newest = context.status.rollout.serving, version(context)
    if good is None or good.hash == newest.hash or context.status.rollout.candidate is not None:
        return False
    known = {replica_set.fingerprint for replica_set in context.view.replica_sets}
    return (good.hash in known or good.image != newest.image) and context.workload.replicas > 0 and complete(context)


def plan(context: RolloutContext) -> Move:
    """The next move of the rolling update: mostly an empty one."""
    correction = records.correction_of_pause(context)
    if correction:
        return Move(actions=correction)
    paused_for = context.workload.annotations.get(ANNOTATION_PAUSED_FOR, "")
    if paused_for and (paused_for != context.wanted or not context.workload.paused or context.leaving):
        # Another template came, or a person resumed it.
        stays_paused = context.leaving and paused_for == context.wanted and context.workload.paused
        return Move() if stays_paused else Move(actions=(Resume(),))
    if not in_flight(context) or context.failed(context.wanted) or context.workload.replicas == 0 or context.leaving:
        return Move()
    failure = _failure(context)
    if failure is not None:
        return Move(actions=_failure_actions(context), failure=failure, waiting=failure.message)
    if not context.workload.settled:
        return candidate.wait_for_own_pods(context)
    if ended_unseen(context):
        # Recorded as begun in this pass, as ended in the next one.
        return Move(wait=SOON, share=1.0)
    verdict = _gate_verdict(context)
    failure = verdict.failure or (verdict.at_deadline if _is_over(context) else None)
    if failure is not None:
        return Move(actions=_failure_actions(context), failure=failure, waiting=failure.message)
    wait = _DEADLINE_POLL if verdict.inconclusive or verdict.at_deadline is not None else verdict.wait
    return Move(waiting=verdict.waiting, wait=wait, share=1.0)


def complete(context: RolloutContext) -> bool:
    """The newest template is there at full size and has passed its gate; also true with zero replicas."""
    if context.workload.replicas == 0:
        return True
    if not context.workload.settled or context.failed(context.wanted):
        return False
    if not in_flight(context):
        return True
    return _gate_verdict(context).passed


def _gate_verdict(context: RolloutContext) -> GateVerdict:
    return gates.evaluate(
        context.spec.rollout.after,
        context.observation,
        current_pods(context),
        context.now,
        baseline=baseline.of(context),
        unread=context.unread_checks,
    )


def _failure(context: RolloutContext) -> Failure | None:
    unavailable = [pod for pod in current_pods(context) if not pod.available]
    if context.aborted(context.wanted):
        return candidate.aborted()
    if context.workload.settled or not context.workload.observed:
        # Until its controller has observed the template, the pods are those of the previous one.
        return None
    is_late = context.workload.deadline_exceeded or _is_stuck(context, unavailable)
    image = context.workload.template.image(context.spec.container)
    failure = classify.first(context.workload, unavailable, image=image)
    if failure is not None and (is_late or not (failure.may_clear or failure.is_transient)):
        return failure
    if is_late and failure is None:
        return classify.timed_out(
            unavailable, deadline=context.spec.rollout.progress_deadline, what="the rolling update"
        )
    return None


def _is_stuck(context: RolloutContext, unavailable: list[Pod]) -> bool:
    """Pods are missing or not available, and nothing has moved for the whole deadline."""
    return bool(unavailable or not current_pods(context)) and _is_over(context)


def _is_over(context: RolloutContext) -> bool:
    """Nothing has moved for the whole deadline. A large Deployment may take long as long as it moves."""
    pods = current_pods(context)
    last_move = max((max(pod.created, pod.ready_changed or pod.created) for pod in pods), default=_start_time(context))
    return context.now >= last_move + context.spec.rollout.progress_deadline


def _start_time(context: RolloutContext) -> datetime:
    rollout = context.status.rollout
    is_same = rollout.candidate is not None and rollout.candidate.hash == context.wanted
    return rollout.started_at if is_same and rollout.started_at is not None else context.now


def outcome(context: RolloutContext) -> RolloutOutcome:
    """The outcome of a failed rolling update."""
    if context.spec.rollout.on_failure is OnFailure.ROLLBACK and last_good(context) is not None:
        return RolloutOutcome.ROLLED_BACK
    return RolloutOutcome.PAUSED if context.workload.paused or not context.workload.settled else RolloutOutcome.FAILED


def last_good(context: RolloutContext) -> ReplicaSet | None:
    """The ReplicaSet of the template that served before; None when it is not known or not kept."""
    good = context.status.rollout.serving
    return next(
        (
            replica_set
            for replica_set in context.view.replica_sets
            if good is not None and replica_set.fingerprint == good.hash
        ),
        None,
    )


def _failure_actions(context: RolloutContext) -> tuple[Action, ...]:
    mark = MarkFailed(context.wanted)
    if context.workload.kind is not TargetKind.DEPLOYMENT:
        # Only a Deployment's controller can be paused.
        return (mark,)
    good = last_good(context)
    if context.spec.rollout.on_failure is OnFailure.ROLLBACK and good is not None:
        return (RestoreTemplate(good, context.wanted),)
    return (PauseFailed(context.wanted),) if not context.workload.settled else (mark,)


def version(context: RolloutContext) -> Version:
    """The version that the user wants now, in short."""
    return Version(hash=context.wanted, image=context.workload.template.image(context.spec.container))


def retried(context: RolloutContext) -> bool:
    """A person asked to try the failed template again."""
    return context.is_requested(Request.RETRY) and context.failed(context.wanted)
