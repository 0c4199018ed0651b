"""The ports: what the runtime asks of the outside, and the errors that every adapter translates into.

Nothing here may import an adapter or a library that talks to anything.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from resilience.api.reasons import HealthState
from resilience.api.status import Status
from resilience.api.v1alpha1 import TargetKind
from resilience.core.asks import ConnectionsTarget, DeadLetters, HttpTarget, NetworkProbe, Probe, RedisPlace
from resilience.core.decision import Advance, ApplyTemplate, DeletePod, Event, EvictPod, GiveBack, TakeOver
from resilience.core.flags import Publication
from resilience.core.health import CheckResult
from resilience.core.observation import FlagsMap, Green, Key, Pod, PodsView, Resource
from resilience.core.release_actions import AdvanceGreen, CreateGreen, PutPreview, RestoreTemplate, Resume, RetryPull
from resilience.core.services import Endpoint, Service
from resilience.core.usage import PodUsage
from resilience.core.workloads import Workload


class PortError(Exception):
    """Base of the errors that cross a port. The text is for people and holds no secret."""


class Conflict(PortError):
    """The object changed since it was read, or somebody else owns the field; read again and decide again."""


class Refused(PortError):
    """The other side will not do it (403, 422, a full disruption budget); asking again changes nothing by itself."""


class Unavailable(PortError):
    """No answer, or one that says nothing (time-out, 5xx, 429): inconclusive, never a decision."""


class Invalid(PortError):
    """What came back cannot be read."""


class Clock(Protocol):
    """Time, so that tests can turn it."""

    def now(self) -> datetime:
        """The current time, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards, for durations."""
        ...


class Calm(Protocol):
    """Whether nodes can be trusted to know what the API server knows."""

    def left(self) -> timedelta:
        """Time until they can after an outage; zero in calm times."""
        ...


class Leadership(Protocol):
    """Whether this process may write."""

    def held(self) -> bool:
        """True until the renewal deadline of our Lease has passed."""
        ...


@dataclass(frozen=True, slots=True)
class Marked:
    """What carries our label: Services, EndpointSlices by namespace and name, ConfigMaps by whose flags they have."""

    services: tuple[Service, ...]
    slices: frozenset[tuple[str, str]]
    flags: Mapping[Key, FlagsMap]


class ClusterReader(Protocol):
    """Reads of the Kubernetes API. All raise Unavailable when the answer says nothing."""

    async def resource(self, key: Key) -> Resource | None:
        """The ResilientService, or None when there is none."""
        ...

    async def resources(self, namespace: str | None = None) -> Sequence[Resource]:
        """All ResilientServices, of one namespace or of all that we look after."""
        ...

    async def workload(self, *, kind: TargetKind, namespace: str, name: str) -> Workload | None:
        """The target, or None when there is none."""
        ...

    async def services(self, namespace: str) -> Sequence[Service]:
        """All Services of a namespace."""
        ...

    async def endpoints(self, *, namespace: str, services: Sequence[str]) -> Sequence[Endpoint]:
        """What the EndpointSlices of these Services list now."""
        ...

    async def pods_view(self, workload: Workload, *, releases: bool) -> PodsView:
        """Pods of the target, those being replaced included, and what limits their replacement.

        With `releases` also green and what a release has to know.
        """
        ...

    async def logs(self, *, namespace: str, pod: str) -> str:
        """What a container said last before it ended, secrets redacted; empty when that is not known."""
        ...


class ClusterWriter(Protocol):
    """Writes of the Kubernetes API, each with a precondition on what was read."""

    async def claim(self, workload: Workload, *, owner: str) -> None:
        """Mark the target as looked after by `owner`."""
        ...

    async def unclaim(self, workload: Workload) -> None:
        """Take our marks off the target."""
        ...

    async def mark_service(self, *, namespace: str, name: str, managed: bool) -> None:
        """Set or remove our label on a Service; a Service that is gone is no error."""
        ...

    async def set_finalizer(self, resource: Resource, *, present: bool) -> None:
        """Add or remove our finalizer."""
        ...

    async def apply_template(self, workload: Workload, action: ApplyTemplate) -> None:
        """Server-side apply without force; raises Refused when somebody else owns a field."""
        ...

    async def take_over(self, workload: Workload, action: TakeOver) -> None:
        """Move the pod from its ReplicaSet to its Deployment."""
        ...

    async def give_back(self, action: GiveBack, *, namespace: str) -> None:
        """Return the pod to its ReplicaSet."""
        ...

    async def advance(self, action: Advance, *, namespace: str) -> None:
        """Mark the next step on the pod."""
        ...

    async def delete_pod(self, action: DeletePod, *, namespace: str) -> None:
        """Delete exactly this pod; gone already is no error."""
        ...

    async def evict_pod(self, action: EvictPod, *, namespace: str) -> None:
        """Evict exactly this pod; raises Refused with the budget's words."""
        ...

    async def write_status(self, resource: Resource, status: Status) -> Resource:
        """Merge-patch the status with the resourceVersion that was read; returns the resource as it is now."""
        ...

    async def emit(self, resource: Resource, event: Event) -> None:
        """Write an Event on the resource."""
        ...


class ReleaseWriter(Protocol):
    """Writes of a release, each with a precondition on what was read."""

    async def hold(self, workload: Workload, *, serving: str) -> None:
        """Pause the target and note which template serves."""
        ...

    async def resume(self, workload: Workload, action: Resume) -> None:
        """Un-pause the target, or give it back altogether."""
        ...

    async def pause_failed(self, workload: Workload, *, fingerprint: str) -> None:
        """Pause the target in the middle of a rolling update, and note the template as failed."""
        ...

    async def annotate_failed(self, workload: Workload, *, fingerprint: str) -> None:
        """Note the template that failed; an empty one takes the note off."""
        ...

    async def annotate_left(self, workload: Workload, *, reason: str) -> None:
        """Note why something of ours stays behind."""
        ...

    async def scale_target(self, workload: Workload, *, replicas: int) -> None:
        """Set the target's replicas."""
        ...

    async def restore_template(self, workload: Workload, action: RestoreTemplate) -> None:
        """Give the target the template of one of its ReplicaSets again, and note the other as failed."""
        ...

    async def create_green(self, workload: Workload, action: CreateGreen) -> None:
        """Make green; raises Refused when the API server will not have it."""
        ...

    async def scale_green(self, green: Green, *, replicas: int) -> None:
        """Set green's replicas."""
        ...

    async def advance_green(self, green: Green, action: AdvanceGreen) -> None:
        """Mark the next step on green."""
        ...

    async def retry_pull(self, green: Green, action: RetryPull) -> None:
        """Count a try and delete the pods that could not pull."""
        ...

    async def delete_green(self, green: Green) -> None:
        """Delete green; it stays until its pods are gone. Gone already is no error."""
        ...

    async def route(self, service: Service, *, template_hash: str) -> None:
        """Pin a Service, or with an empty hash take its pin off."""
        ...

    async def put_preview(self, workload: Workload, action: PutPreview, *, like: Service) -> None:
        """Make the preview Service or point it elsewhere; raises Refused when it is somebody else's."""
        ...

    async def delete_preview(self, *, namespace: str, name: str) -> None:
        """Delete the preview Service; gone already is no error."""
        ...

    async def note_signal(self, pod: Pod, *, namespace: str, at: datetime | None) -> None:
        """Note that a pod was told to let its clients go; None takes the note off."""
        ...


class FlagWriter(Protocol):
    """Reads and writes of what is published of flags."""

    async def flags_map(self, key: Key) -> FlagsMap | None:
        """The ConfigMap that has the name of the one with the flags, whoever made it."""
        ...

    async def publish_flags(self, resource: Resource, publication: Publication) -> None:
        """Make our ConfigMap say this. Raises Conflict when somebody else's has the name."""
        ...

    async def remove_flags(self, key: Key) -> None:
        """Delete our ConfigMap; gone already is no error."""
        ...

    async def tell_pod(self, pod: Pod, *, namespace: str, value: str | None) -> None:
        """Annotate exactly this pod, or take the annotation off; a pod that is gone is no error."""
        ...


class Cluster(ClusterReader, ClusterWriter, ReleaseWriter, FlagWriter, Protocol):
    """The Kubernetes API."""


class Secrets(Protocol):
    """Secrets that a resource names."""

    async def read(self, *, namespace: str, name: str, key: str) -> str:
        """One value. Raises Refused when the Secret is not labelled readable, Invalid when the key is missing."""
        ...


class Checker(Protocol):
    """Runs one health check."""

    async def check(self, probe: Probe, *, timeout: timedelta) -> CheckResult:
        """Asks once, without retries; never raises."""
        ...


class Network(Protocol):
    """Runs one check over the network."""

    async def check(self, probe: NetworkProbe, *, timeout: timedelta) -> CheckResult:
        """Asks once, without retries; never raises."""
        ...


class Drainer(Protocol):
    """Speaks to a pod that is about to go."""

    async def signal(self, target: HttpTarget, *, headers: Sequence[tuple[str, str]]) -> None:
        """POST the drain signal. Raises Unavailable or Refused."""
        ...

    async def take_back(self, target: HttpTarget, *, headers: Sequence[tuple[str, str]]) -> None:
        """DELETE the drain signal: the pod serves again. Raises Unavailable or Refused."""
        ...

    async def connections(self, target: ConnectionsTarget) -> int | None:
        """Connections that the pod still has, or None when it did not say."""
        ...


class Prober(Protocol):
    """Sends one request as a client would."""

    async def request(self, target: HttpTarget) -> float:
        """Seconds until the whole answer was there, on a new connection. Raises Unavailable when it failed."""
        ...


class Metrics(Protocol):
    """What the runtime counts."""

    def reconciled(self, *, seconds: float, result: str) -> None:
        """One pass is over."""
        ...

    def refused(self, *, reason: str) -> None:
        """The guard said no."""
        ...

    def checked(self, *, key: Key, check: str, outcome: str, seconds: float | None) -> None:
        """A check ran."""
        ...

    def restarted(self, *, key: Key, result: str) -> None:
        """A restart ended."""
        ...

    def released(self, *, key: Key, result: str, seconds: float) -> None:
        """A release ended."""
        ...

    def pins_lost(self, *, count: int) -> None:
        """Somebody took pins of a release away."""
        ...

    def health(self, *, key: Key, state: HealthState) -> None:
        """The health that status shows."""
        ...

    def flags(self, *, key: Key, on: Mapping[str, bool]) -> None:
        """The flags as status has them."""
        ...

    def switched(self, *, key: Key, flag: str, on: bool) -> None:
        """A flag changed."""
        ...

    def told(self, *, channel: str, seconds: float) -> None:
        """A channel has a change of a flag, so long after it was decided."""
        ...

    def queue(self, *, depth: int) -> None:
        """How many keys wait."""
        ...

    def forget(self, key: Key) -> None:
        """The resource is gone: remove its series."""
        ...


class Usage(Protocol):
    """What pods use of processor and memory."""

    async def pods(self, namespace: str) -> Mapping[str, PodUsage]:
        """Usage by name of the pod; a pod that has not been measured yet is not there.

        Raises Unavailable, in words that say what to do, when nothing measures pods or it may not be read.
        """
        ...


class Contents(Protocol):
    """Content of ConfigMaps and Secrets, never shown."""

    async def epoch(self) -> str:
        """What fingerprints depend on besides the content: those of different epochs cannot be compared."""
        ...

    async def fingerprint(self, *, namespace: str, kind: str, name: str) -> str:
        """A hash. Raises Invalid when there is no such object, Refused for a Secret that is not labelled readable."""
        ...


@dataclass(frozen=True, slots=True)
class MasterLost:
    """What a Sentinel says of a master: a CamelCase word, and a sentence."""

    reason: str
    message: str


class Sentinels(Protocol):
    """What Sentinels announce by themselves."""

    def listen(self, place: RedisPlace, sentinel: tuple[str, int]) -> AsyncIterator[MasterLost | None]:
        """What one Sentinel says of this master, from now on; None each time it turns out to be there still.

        Raises Unavailable when it cannot be heard, or not any more; Refused when it must not be asked.
        """
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Dead letters that were put back at once, how many are left, and whether any of them may go back, too."""

    moved: int
    left: int
    more: bool


class DeadLetterOffice(Protocol):
    """Puts dead letters back into their stream."""

    async def replay(self, letters: DeadLetters) -> Batch:
        """One batch, oldest first. Raises Unavailable when nobody answers, Refused when the server will not."""
        ...
