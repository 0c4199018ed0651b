"""The Kubernetes API as the runtime asks for it: reads, and writes with a precondition on what was read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from resilience.api.status import Status
from resilience.api.status_receiver import ReceiverStatus
from resilience.api.v1alpha1 import TargetKind
from resilience.core.alerting.receiver import Receiver
from resilience.core.model.actions import AdvanceGreen, CreateGreen, PutPreview, RestoreTemplate, Resume, RetryPull
from resilience.core.model.decision import Advance, ApplyTemplate, DeletePod, Event, EvictPod, GiveBack, TakeOver
from resilience.core.model.flags import Publication
from resilience.core.model.observation import FlagsMap, Green, Key, Pod, PodsView, Resource
from resilience.core.model.service import Endpoint, Service
from resilience.core.model.workload import Workload

View = TypeVar("View")


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

    async def resources(self, view: Callable[[Resource], View], *, namespace: str | None = None) -> Sequence[View]:
        """What is wanted of each ResilientService, of one namespace or of all that we look after.

        They are many, and read page by page: `view` is called while others are not read yet.
        """
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

    async def pods_view(self, workload: Workload, *, releases: bool, limits: bool) -> PodsView:
        """Pods of the target and its ReplicaSets.

        With `limits` also those being replaced, and what limits their replacement; without them nothing may be done to
        a pod. With `releases` also green and what a release has to know.
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


class ReceiverCluster(Protocol):
    """AlertReceivers in the Kubernetes API."""

    async def receiver(self, key: Key) -> Receiver | None:
        """The AlertReceiver, or None when there is none."""
        ...

    async def receivers(self) -> Mapping[Key, Receiver]:
        """All AlertReceivers that we look after."""
        ...

    async def write_receiver(self, receiver: Receiver, status: ReceiverStatus) -> Receiver:
        """Merge-patch the status with the resourceVersion that was read; returns the receiver as it is now."""
        ...

    async def emit_of_receiver(self, receiver: Receiver, event: Event) -> None:
        """Write an Event on the receiver."""
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
