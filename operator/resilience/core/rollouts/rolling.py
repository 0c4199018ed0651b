"""RollingUpdate: the Deployment controller rolls; here its progress is read, and a failed template is answered once.

Once per template: whoever resumes or applies it again has decided, and is not fought.
"""

from datetime import datetime

from resilience.api.names import ANNOTATION_PAUSED_FOR, LABEL_TEMPLATE_HASH
from resilience.api.reasons import FailureClass, Request, RolloutOutcome
from resilience.api.status_rollout import Version
from resilience.api.v1alpha1 import OnFailure, TargetKind
from resilience.core.failures import classify
from resilience.core.failures.classify import Failure
from resilience.core.model.actions import MarkFailed, PauseFailed, RestoreTemplate, Resume
from resilience.core.model.decision import Action
from resilience.core.model.observation import Pod
from resilience.core.model.workload import ReplicaSet
from resilience.core.rollouts import candidate, gates
from resilience.core.rollouts.context import Move, RolloutContext


def current_pods(context: RolloutContext) -> tuple[Pod, ...]:
    """Pods of the template that rolls; of all templates as long as a controller does not say which are the newest."""
    pods = [pod for pod in context.view.pods if not pod.deleting]
    if context.workload.kind is TargetKind.DEPLOYMENT:
        current = {each.template_hash for each in context.view.replica_sets if each.is_current}
        return tuple(pod for pod in pods if pod.labels.get(LABEL_TEMPLATE_HASH) in current)
    if context.workload.settled:
        # Also those that an earlier release of the same template made.
        return tuple(pods)
    return tuple(pod for pod in pods if context.workload.newest_labels.items() <= pod.labels.items())


def in_flight(context: RolloutContext) -> bool:
    """Whether a template is on its way that has not proved itself."""
    good, followed = context.status.rollout.serving, context.status.rollout.candidate is not None
    if good is None:
        # What was there at the first look is taken as good; what moved then has to prove itself.
        return _moving(context) or followed
    return _moving(context) or (good.hash != context.wanted and not context.failed(context.wanted))


def _moving(context: RolloutContext) -> bool:
    return not context.workload.observed or context.workload.rolling


def plan(context: RolloutContext) -> Move:
    """What to do about the rollout: mostly nothing."""
    paused_for = context.workload.annotations.get(ANNOTATION_PAUSED_FOR, "")
    if paused_for and (paused_for != context.wanted or not context.workload.paused or context.leaving):
        # Another template came, or a person resumed it.
        stay = context.leaving and paused_for == context.wanted and context.workload.paused
        return Move() if stay else Move(actions=(Resume(),))
    if not in_flight(context) or context.failed(context.wanted) or context.workload.replicas == 0 or context.leaving:
        return Move()
    failure = _failure(context)
    if failure is not None:
        return Move(actions=_answer(context), failure=failure, waiting=failure.message)
    if not context.workload.settled:
        return candidate.hopping(context)
    verdict = gates.evaluate(context.spec.rollout.after, context.observation, current_pods(context), context.now)
    if verdict.failure is not None:
        return Move(actions=_answer(context), failure=verdict.failure, waiting=verdict.failure.message)
    return Move(waiting=verdict.waiting, wait=verdict.wait, share=1.0)


def complete(context: RolloutContext) -> bool:
    """Whether the newest template is there at full size and has passed its gate."""
    if context.workload.replicas == 0:
        return True
    if not context.workload.settled or context.failed(context.wanted):
        return False
    if not in_flight(context):
        return True
    return gates.evaluate(context.spec.rollout.after, context.observation, current_pods(context), context.now).passed


def _failure(context: RolloutContext) -> Failure | None:
    pods = [pod for pod in current_pods(context) if not pod.available]
    if context.aborted(context.wanted):
        return Failure(
            kind=FailureClass.UNKNOWN,
            reason="Aborted",
            message="a person asked to stop the release",
            advice="change the template, or ask for it again: resilience.dev/retry-requested-at",
        )
    if context.workload.settled or not context.workload.observed:
        # Until its controller has seen the template, the pods are those of the one before.
        return None
    late = context.workload.deadline_exceeded or _stuck(context, pods)
    image = context.workload.template.image(context.spec.container)
    found = classify.first(context.workload, pods, image=image)
    if found is not None and (late or not (found.patient or found.retried)):
        return found
    if late and found is None:
        return classify.timed_out(pods, deadline=context.spec.rollout.progress_deadline, what="the rolling update")
    return None


def _stuck(context: RolloutContext, pods: list[Pod]) -> bool:
    """Nothing has moved for the whole deadline: a large Deployment may take long as long as it moves."""
    all_pods = current_pods(context)
    moved = max((max(pod.created, pod.ready_changed or pod.created) for pod in all_pods), default=_began(context))
    return bool(pods or not all_pods) and context.now >= moved + context.spec.rollout.progress_deadline


def _began(context: RolloutContext) -> datetime:
    rollout = context.status.rollout
    same = rollout.candidate is not None and rollout.candidate.hash == context.wanted
    return rollout.started_at if same and rollout.started_at is not None else context.now


def outcome(context: RolloutContext) -> RolloutOutcome:
    """How a failure is answered."""
    if context.spec.rollout.on_failure is OnFailure.ROLLBACK and last_good(context) is not None:
        return RolloutOutcome.ROLLED_BACK
    return RolloutOutcome.PAUSED if context.workload.paused or not context.workload.settled else RolloutOutcome.FAILED


def last_good(context: RolloutContext) -> ReplicaSet | None:
    """The ReplicaSet of the template that served before, as far as it is kept."""
    good = context.status.rollout.serving
    return next(
        (each for each in context.view.replica_sets if good is not None and each.fingerprint == good.hash), None
    )


def _answer(context: RolloutContext) -> tuple[Action, ...]:
    mark = MarkFailed(context.wanted)
    if context.workload.kind is not TargetKind.DEPLOYMENT:
        # Their controllers cannot be paused.
        return (mark,)
    good = last_good(context)
    if context.spec.rollout.on_failure is OnFailure.ROLLBACK and good is not None:
        return (RestoreTemplate(good, context.wanted),)
    return (PauseFailed(context.wanted),) if not context.workload.settled else (mark,)


def version(context: RolloutContext) -> Version:
    """What the user wants now, in short."""
    return Version(hash=context.wanted, image=context.workload.template.image(context.spec.container))


def retried(context: RolloutContext) -> bool:
    """Whether a person asked to try the failed template again."""
    return context.asked(Request.RETRY) and context.failed(context.wanted)
