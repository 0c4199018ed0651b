"""Outcome of a pass: actions for the executor, the status to write, Events, checks to run, time of the next pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from resilience.api.reasons import Reason, ReplaceStep
from resilience.api.status import Status
from resilience.core.model.actions import ReleaseAction
from resilience.core.model.destinations import DeadLetters, VerifyTarget
from resilience.core.model.flags import Publication
from resilience.core.model.observation import Pod, Ticket
from resilience.core.model.probes import CheckTarget, HttpTarget
from resilience.core.model.service import Service
from resilience.core.model.workload import ReplicaSet

# After actions the next pass comes at once, because the event of a watch may be late or lost. None comes sooner.
SOON: Final = timedelta(milliseconds=200)

# Actions. Every action is safe to repeat; the executor checks it again against a fresh read.


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim the target: a label, and an annotation with the name and uid of the ResilientService."""


@dataclass(frozen=True, slots=True)
class Unclaim:
    """Remove the claim from the target and its Services."""

    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LetGo:
    """Remove our pin and our label from Services whose target is gone."""

    services: tuple[Service, ...]


@dataclass(frozen=True, slots=True)
class MarkService:
    """Label a Service so that its EndpointSlices can be watched."""

    service: str


@dataclass(frozen=True, slots=True)
class SetFinalizer:
    """Add or remove the operator's finalizer on the resource."""

    present: bool


@dataclass(frozen=True, slots=True)
class ApplyTemplate:
    """Server-side apply exactly these fields to one container; give up other fields that the operator owned."""

    container: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Move a pod from its ReplicaSet to its Deployment, so that the ReplicaSet creates a replacement."""

    pod: Pod
    at: datetime


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Undo a take-over: the pod returns to its ReplicaSet, which then removes the replacement."""

    pod: Pod
    replica_set: ReplicaSet


@dataclass(frozen=True, slots=True)
class Advance:
    """Move a pod to its next step, and overwrite `labels`, by which the pod leaves its Services."""

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
    """Delete a pod that serves no client any more."""

    pod: Pod
    grace: timedelta


@dataclass(frozen=True, slots=True)
class EvictPod:
    """Evict a pod whose kind cannot surge; the API server enforces the disruption budgets."""

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
    """Annotate these pods with the flags, so that the kubelet updates mounted files; `value` None removes it."""

    pods: tuple[Pod, ...]
    value: str | None
    # Time at which the published flags were decided; None when they are not new.
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """Put one batch of dead letters back. `so_far`: entries put back since `started`, according to status."""

    check: str
    letters: DeadLetters
    started: datetime
    so_far: int


FlagAction = PublishFlags | RemoveFlags | TellPods

Action = (
    Claim
    | Unclaim
    | LetGo
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
    # Name of a pod whose last log lines explain the Event; empty when there is none.
    logs_of: str = ""
    # Trace id that it shares with log lines and with status.
    trace: str = ""


@dataclass(frozen=True, slots=True)
class StepResult:
    """Outcome of one part of a pass: the status after it, and the actions to take.

    `requeue_after`: time until the next pass; None when only a change of a watched object requires one.
    `ticket`: the request for a turn among the services whose policies fire.
    """

    status: Status
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: timedelta | None = None
    ticket: Ticket | None = None

    def after(self, earlier: "StepResult") -> "StepResult":
        """This result and that of an earlier part, from whose status this one went on."""
        return StepResult(
            self.status,
            (*earlier.actions, *self.actions),
            (*earlier.events, *self.events),
            earliest(earlier.requeue_after, self.requeue_after),
            self.ticket or earlier.ticket,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of one pass. `status` None: leave it as it is. `requeue_after` is at least `SOON`."""

    actions: tuple[Action, ...] = ()
    status: Status | None = None
    events: tuple[Event, ...] = ()
    requeue_after: timedelta | None = None
    checks: tuple[CheckTarget, ...] = ()
    verify: VerifyTarget | None = None
    # True when the next pass has to read pods although status does not require it.
    pods_next: bool = False
    # Reason of the guard's refusal, a fixed word; empty when it did not refuse.
    refused: str = ""
    # The request for a turn among the services whose policies fire.
    ticket: Ticket | None = None

    def __post_init__(self) -> None:
        if self.requeue_after is not None and self.requeue_after < SOON:
            # A part may name a time that has come or passed: the floor keeps it from asking without a pause.
            object.__setattr__(self, "requeue_after", SOON)


def earliest(*waits: timedelta | None) -> timedelta | None:
    """The shortest of these waits; None when none of them is one."""
    return min((wait for wait in waits if wait is not None), default=None)
