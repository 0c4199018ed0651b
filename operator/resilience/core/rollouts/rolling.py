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
from resilience.core.rollouts.context import Move, Stage


def current_pods(stage: Stage) -> tuple[Pod, ...]:
    """Pods of the template that rolls; of all templates as long as a controller does not say which are the newest."""
    pods = [pod for pod in stage.view.pods if not pod.deleting]
    if stage.workload.kind is TargetKind.DEPLOYMENT:
        current = {each.template_hash for each in stage.view.replica_sets if each.is_current}
        return tuple(pod for pod in pods if pod.labels.get(LABEL_TEMPLATE_HASH) in current)
    if stage.workload.settled:
        # Also those that an earlier release of the same template made.
        return tuple(pods)
    return tuple(pod for pod in pods if stage.workload.newest_labels.items() <= pod.labels.items())


def in_flight(stage: Stage) -> bool:
    """Whether a template is on its way that has not proved itself."""
    good, followed = stage.status.rollout.serving, stage.status.rollout.candidate is not None
    if good is None:
        # What was there at the first look is taken as good; what moved then has to prove itself.
        return _moving(stage) or followed
    return _moving(stage) or (good.hash != stage.wanted and not stage.failed(stage.wanted))


def _moving(stage: Stage) -> bool:
    return not stage.workload.observed or stage.workload.rolling


def plan(stage: Stage) -> Move:
    """What to do about the rollout: mostly nothing."""
    paused_for = stage.workload.annotations.get(ANNOTATION_PAUSED_FOR, "")
    if paused_for and (paused_for != stage.wanted or not stage.workload.paused or stage.leaving):
        # Another template came, or a person resumed it.
        stay = stage.leaving and paused_for == stage.wanted and stage.workload.paused
        return Move() if stay else Move(actions=(Resume(),))
    if not in_flight(stage) or stage.failed(stage.wanted) or stage.workload.replicas == 0 or stage.leaving:
        return Move()
    failure = _failure(stage)
    if failure is not None:
        return Move(actions=_answer(stage), failure=failure, waiting=failure.message)
    if not stage.workload.settled:
        return candidate.hopping(stage)
    verdict = gates.evaluate(stage.spec.rollout.after, stage.seen, current_pods(stage), stage.now)
    if verdict.failure is not None:
        return Move(actions=_answer(stage), failure=verdict.failure, waiting=verdict.failure.message)
    return Move(waiting=verdict.waiting, wait=verdict.wait, share=1.0)


def complete(stage: Stage) -> bool:
    """Whether the newest template is there at full size and has passed its gate."""
    if stage.workload.replicas == 0:
        return True
    if not stage.workload.settled or stage.failed(stage.wanted):
        return False
    if not in_flight(stage):
        return True
    return gates.evaluate(stage.spec.rollout.after, stage.seen, current_pods(stage), stage.now).passed


def _failure(stage: Stage) -> Failure | None:
    pods = [pod for pod in current_pods(stage) if not pod.available]
    if stage.aborted(stage.wanted):
        return Failure(
            kind=FailureClass.UNKNOWN,
            reason="Aborted",
            message="a person asked to stop the release",
            advice="change the template, or ask for it again: resilience.dev/retry-requested-at",
        )
    if stage.workload.settled or not stage.workload.observed:
        # Until its controller has seen the template, the pods are those of the one before.
        return None
    late = stage.workload.deadline_exceeded or _stuck(stage, pods)
    image = stage.workload.template.image(stage.spec.container)
    found = classify.first(stage.workload, pods, image=image)
    if found is not None and (late or not (found.patient or found.retried)):
        return found
    if late and found is None:
        return classify.timed_out(pods, deadline=stage.spec.rollout.progress_deadline, what="the rolling update")
    return None


def _stuck(stage: Stage, pods: list[Pod]) -> bool:
    """Nothing has moved for the whole deadline: a large Deployment may take long as long as it moves."""
    all_pods = current_pods(stage)
    moved = max((max(pod.created, pod.ready_changed or pod.created) for pod in all_pods), default=_began(stage))
    return bool(pods or not all_pods) and stage.now >= moved + stage.spec.rollout.progress_deadline


def _began(stage: Stage) -> datetime:
    rollout = stage.status.rollout
    same = rollout.candidate is not None and rollout.candidate.hash == stage.wanted
    return rollout.started_at if same and rollout.started_at is not None else stage.now


def outcome(stage: Stage) -> RolloutOutcome:
    """How a failure is answered."""
    if stage.spec.rollout.on_failure is OnFailure.ROLLBACK and last_good(stage) is not None:
        return RolloutOutcome.ROLLED_BACK
    return RolloutOutcome.PAUSED if stage.workload.paused or not stage.workload.settled else RolloutOutcome.FAILED


def last_good(stage: Stage) -> ReplicaSet | None:
    """The ReplicaSet of the template that served before, as far as it is kept."""
    good = stage.status.rollout.serving
    return next((each for each in stage.view.replica_sets if good is not None and each.fingerprint == good.hash), None)


def _answer(stage: Stage) -> tuple[Action, ...]:
    mark = MarkFailed(stage.wanted)
    if stage.workload.kind is not TargetKind.DEPLOYMENT:
        # Their controllers cannot be paused.
        return (mark,)
    good = last_good(stage)
    if stage.spec.rollout.on_failure is OnFailure.ROLLBACK and good is not None:
        return (RestoreTemplate(good, stage.wanted),)
    return (PauseFailed(stage.wanted),) if not stage.workload.settled else (mark,)


def version(stage: Stage) -> Version:
    """What the user wants now, in short."""
    return Version(hash=stage.wanted, image=stage.workload.template.image(stage.spec.container))


def retried(stage: Stage) -> bool:
    """Whether a person asked to try the failed template again."""
    return stage.asked(Request.RETRY) and stage.failed(stage.wanted)
