"""Actions of a rollout. Every action is safe to repeat; the executor checks it again against a fresh read."""

from dataclasses import dataclass
from datetime import datetime

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.autoscaler import Autoscaler
from resilience.core.model.observation import Pod
from resilience.core.model.probes import HttpTarget
from resilience.core.model.workload import ReplicaSet


@dataclass(frozen=True, slots=True)
class Hold:
    """Pause the target, and record on it which template serves and its own progress deadline, to restore it later."""

    serving: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Unpause the target. `give_back`: undo all that `Hold` wrote. `stay_paused`: leave the pause in place even so."""

    give_back: bool = False
    stay_paused: bool = False


@dataclass(frozen=True, slots=True)
class PauseFailed:
    """Pause the target in the middle of a rolling update of this template, and record it as failed, in one write."""

    fingerprint: str


@dataclass(frozen=True, slots=True)
class MarkFailed:
    """Record on the target which template failed; an empty fingerprint removes the record."""

    fingerprint: str


@dataclass(frozen=True, slots=True)
class MarkLeft:
    """Record on the target why the operator leaves something of its own behind."""

    reason: str


@dataclass(frozen=True, slots=True)
class ScaleTarget:
    """Raise the target's replicas so that it can carry the load that green carries now."""

    replicas: int


@dataclass(frozen=True, slots=True)
class LimitAutoscaler:
    """Switch scaling up off, or back to what it was, on the autoscaler as it was read."""

    autoscaler: Autoscaler
    limited: bool


@dataclass(frozen=True, slots=True)
class EmptyReplicaSet:
    """Scale a ReplicaSet of the target that has an older template to zero, while no Service leads to its pods."""

    replica_set: ReplicaSet


@dataclass(frozen=True, slots=True)
class RestoreTemplate:
    """Restore the template of this ReplicaSet to the target, and record the other one as failed, in one write."""

    replica_set: ReplicaSet
    failed: str


@dataclass(frozen=True, slots=True)
class CreateGreen:
    """Create green from the target's template."""

    replicas: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ScaleGreen:
    """Scale green to this number of replicas."""

    replicas: int


@dataclass(frozen=True, slots=True)
class AdvanceGreen:
    """Record the next step of the rollout on green, and scale it unless `replicas` is None."""

    step: ReleaseStep
    towards: Colour
    at: datetime
    replicas: int | None = None


@dataclass(frozen=True, slots=True)
class RetryPull:
    """Delete candidate pods that could not pull their image, so that new pods try again at once."""

    pods: tuple[Pod, ...]
    tries: int


@dataclass(frozen=True, slots=True)
class DeleteGreen:
    """Delete green; the Deployment exists until its pods end, and goes before them when it is being deleted already."""


@dataclass(frozen=True, slots=True)
class Route:
    """Pin a Service to the pods with this template hash; an empty hash removes the pin."""

    service: str
    template_hash: str


@dataclass(frozen=True, slots=True)
class PutPreview:
    """Create the preview Service, or point it at the pods with this template hash (empty: at all of them)."""

    name: str
    template_hash: str


@dataclass(frozen=True, slots=True)
class DeletePreview:
    """Delete the preview Service that the operator created."""

    name: str


@dataclass(frozen=True, slots=True)
class SignalPod:
    """POST the drain signal to a pod of the colour that ends, then record it; if `last`, even if the POST fails."""

    pod: Pod
    target: HttpTarget | None
    at: datetime
    last: bool = False


@dataclass(frozen=True, slots=True)
class TakeBackSignal:
    """DELETE the drain signal, because the pod serves again; then remove the record of it."""

    pod: Pod
    target: HttpTarget | None


# Decided by the target as it was when they were decided.
TargetAction = (
    Hold
    | Resume
    | PauseFailed
    | MarkFailed
    | MarkLeft
    | ScaleTarget
    | LimitAutoscaler
    | EmptyReplicaSet
    | RestoreTemplate
    | CreateGreen
)
ReleaseAction = (
    TargetAction
    | ScaleGreen
    | AdvanceGreen
    | RetryPull
    | DeleteGreen
    | Route
    | PutPreview
    | DeletePreview
    | SignalPod
    | TakeBackSignal
)
