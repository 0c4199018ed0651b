"""What is to be done: actions for the executor, the status to write, Events, checks to run, and when to look again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from resilience.api.reasons import Reason, ReplaceStep
from resilience.api.status import Status
from resilience.core.model.actions import ReleaseAction
from resilience.core.model.flags import Publication
from resilience.core.model.observation import Pod, Ticket
from resilience.core.model.probes import CheckTarget, DeadLetters, HttpTarget, VerifyTarget
from resilience.core.model.workload import ReplicaSet

# While actions were taken, the next pass comes at once: the answer of a watch may be late or lost.
SOON: Final = timedelta(milliseconds=200)

# Actions. Each is safe to repeat and re-checked against a fresh read by the executor.


@dataclass(frozen=True, slots=True)
class Claim:
    """Mark the target as ours: label, and annotation with our name and uid."""


@dataclass(frozen=True, slots=True)
class Unclaim:
    """Take the marks off the target and its Services."""

    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MarkService:
    """Label a Service so that its EndpointSlices can be watched."""

    service: str


@dataclass(frozen=True, slots=True)
class SetFinalizer:
    """Add or remove our finalizer on the resource."""

    present: bool


@dataclass(frozen=True, slots=True)
class ApplyTemplate:
    """Server-side apply exactly these fields to one container; what we owned and is not named is given up."""

    container: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Move a pod from its ReplicaSet to its Deployment, so that the ReplicaSet makes a replacement."""

    pod: Pod
    at: datetime


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Undo a take-over: the pod returns to its ReplicaSet, which then removes the replacement."""

    pod: Pod
    replica_set: ReplicaSet


@dataclass(frozen=True, slots=True)
class Advance:
    """Move a pod to its next step; `labels` are overwritten (how it leaves its Services)."""

    pod: Pod
    step: ReplaceStep
    at: datetime
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SendSignal:
    """POST the drain signal to a pod, then mark it draining; if `last`, also when the pod does not answer."""

    pod: Pod
    target: HttpTarget
    at: datetime
    last: bool = False


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete a pod that serves nobody any more."""

    pod: Pod
    grace: timedelta


@dataclass(frozen=True, slots=True)
class EvictPod:
    """Evict a pod whose kind cannot surge; the API server asks the disruption budgets."""

    pod: Pod
    grace: timedelta


@dataclass(frozen=True, slots=True)
class PublishFlags:
    """Write the ConfigMap with the flags."""

    publication: Publication


@dataclass(frozen=True, slots=True)
class RemoveFlags:
    """Delete the ConfigMap with the flags."""


@dataclass(frozen=True, slots=True)
class TellPods:
    """Annotate these pods with the flags, so that the kubelet brings mounted files up to date; None takes it off."""

    pods: tuple[Pod, ...]
    value: str | None
    # When what is told was decided; None when nothing new is told.
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """Put one batch of dead letters back. `so_far`: entries that were put back since `started`, as status knows it."""

    check: str
    letters: DeadLetters
    started: datetime
    so_far: int


FlagAction = PublishFlags | RemoveFlags | TellPods

Action = (
    Claim
    | Unclaim
    | MarkService
    | SetFinalizer
    | ApplyTemplate
    | TakeOver
    | GiveBack
    | Advance
    | SendSignal
    | DeletePod
    | EvictPod
    | FlagAction
    | Replay
    | ReleaseAction
)


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event on the resource."""

    reason: Reason
    message: str
    warning: bool = False
    # Name of a pod whose last log lines say more; empty when none does.
    logs_of: str = ""
    # What it has in common with lines of the log and with status.
    trace: str = ""


@dataclass(frozen=True, slots=True)
class StepResult:
    """Outcome of one part of a pass: the status after it, and what is to be done.

    `requeue_after`: time until the next pass; None when only a change of something that is watched matters.
    `ticket`: asks for a turn among the services whose policies fire.
    """

    status: Status
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: timedelta | None = None
    ticket: Ticket | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of one pass. `status` None means: do not touch it."""

    actions: tuple[Action, ...] = ()
    status: Status | None = None
    events: tuple[Event, ...] = ()
    requeue_after: timedelta | None = None
    checks: tuple[CheckTarget, ...] = ()
    verify: VerifyTarget | None = None
    # Whether the next look has to read pods although status does not say so.
    pods_next: bool = False
    # Why the guard said no, in a fixed word; empty when it did not.
    refused: str = ""
    # Asks for a turn among the services whose policies fire.
    ticket: Ticket | None = None
