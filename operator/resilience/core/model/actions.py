"""What a release does. Each is safe to repeat and re-checked against a fresh read by the executor."""

from dataclasses import dataclass
from datetime import datetime

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.observation import Pod
from resilience.core.model.probes import HttpTarget
from resilience.core.model.workload import ReplicaSet


@dataclass(frozen=True, slots=True)
class Hold:
    """Pause the target, and note which template serves; its own progress deadline is kept for later."""

    serving: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Un-pause the target; with `give_back` all that `Hold` wrote is undone, and the pause may stay all the same."""

    give_back: bool = False
    stay_paused: bool = False


@dataclass(frozen=True, slots=True)
class PauseFailed:
    """Pause the target in the middle of a rolling update of this template, and note it as failed: one write."""

    fingerprint: str


@dataclass(frozen=True, slots=True)
class MarkFailed:
    """Note on the target which template failed; an empty one takes the note off."""

    fingerprint: str


@dataclass(frozen=True, slots=True)
class MarkLeft:
    """Note on the target why something of ours stays behind."""

    reason: str


@dataclass(frozen=True, slots=True)
class ScaleTarget:
    """Raise the target's replicas, so that it can carry the load that green carries now."""

    replicas: int


@dataclass(frozen=True, slots=True)
class RestoreTemplate:
    """Give the target the template of this ReplicaSet again, and note the other one as failed: one write."""

    replica_set: ReplicaSet
    failed: str


@dataclass(frozen=True, slots=True)
class CreateGreen:
    """Make green from the target's template."""

    replicas: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ScaleGreen:
    """Give green so many replicas."""

    replicas: int


@dataclass(frozen=True, slots=True)
class AdvanceGreen:
    """Mark the next step of the release on green, and give it so many replicas where that is said."""

    step: ReleaseStep
    towards: Colour
    at: datetime
    replicas: int | None = None


@dataclass(frozen=True, slots=True)
class RetryPull:
    """Delete candidate pods that could not pull their image, so that others try again at once."""

    pods: tuple[Pod, ...]
    tries: int


@dataclass(frozen=True, slots=True)
class DeleteGreen:
    """Delete green; it stays until its pods have ended."""


@dataclass(frozen=True, slots=True)
class Route:
    """Pin a Service to the pods with this template hash; an empty one takes the pin off."""

    service: str
    template_hash: str


@dataclass(frozen=True, slots=True)
class PutPreview:
    """Make the preview Service, or point it at the pods with this template hash (empty: at all of them)."""

    name: str
    template_hash: str


@dataclass(frozen=True, slots=True)
class DeletePreview:
    """Delete the preview Service that we made."""

    name: str


@dataclass(frozen=True, slots=True)
class SignalPod:
    """POST the drain signal to a pod of a colour that goes, then note that; if `last`, whatever it answers."""

    pod: Pod
    target: HttpTarget | None
    at: datetime
    last: bool = False


@dataclass(frozen=True, slots=True)
class TakeBackSignal:
    """DELETE the drain signal: the pod serves again."""

    pod: Pod
    target: HttpTarget | None


ReleaseAction = (
    Hold
    | Resume
    | PauseFailed
    | MarkFailed
    | MarkLeft
    | ScaleTarget
    | RestoreTemplate
    | CreateGreen
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
