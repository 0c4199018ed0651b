"""The Kubernetes API as the runtime uses it: reads, and writes with a precondition on what was read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from resilience.api.status import Status
from resilience.api.status_receiver import ReceiverStatus
from resilience.api.v1alpha1 import TargetKind
from resilience.core.alerting.receiver import Receiver
from resilience.core.model.actions import AdvanceGreen, CreateGreen, PutPreview, RestoreTemplate, Resume, RetryPull
from resilience.core.model.autoscaler import Autoscaler
from resilience.core.model.decision import Advance, ApplyTemplate, DeletePod, Event, EvictPod, GiveBack, TakeOver
from resilience.core.model.flags import FlagsMap, Publication
from resilience.core.model.observation import Green, Key, Pod, PodsView, Resource
from resilience.core.model.service import Endpoint, Service
from resilience.core.model.workload import ReplicaSet, Workload

View = TypeVar("View")


@dataclass(frozen=True, slots=True)
class Marked:
    """Objects with our label: Services, EndpointSlices by namespace and name, flags ConfigMaps by their service."""

    services: tuple[Service, ...]
    slices: frozenset[tuple[str, str]]
    flags: Mapping[Key, FlagsMap]


class ClusterReader(Protocol):
    """Reads of the Kubernetes API. All raise Unavailable when the answer is inconclusive."""

    async def resource(self, key: Key) -> Resource | None:
        """The ResilientService, or None when it does not exist."""
        ...

    async def resources(self, view: Callable[[Resource], View], *, namespace: str | None = None) -> Sequence[View]:
        """The `view` of every ResilientService in one namespace, or in all namespaces that we manage.

        There are many, and they are read page by page: `view` is called before later pages are read.
        """
        ...

    async def workload(self, *, kind: TargetKind, namespace: str, name: str) -> Workload | None:
        """The target, or None when it does not exist."""
        ...

    async def claimed(self, *, namespace: str | None = None) -> Sequence[Workload]:
        """The workloads that carry a claim of ours, in one namespace, or in all namespaces that we manage."""
        ...

    async def namespace_ending(self, name: str) -> bool:
        """The namespace is being deleted; false as well when we may not read namespaces."""
        ...

    async def services(self, namespace: str) -> Sequence[Service]:
        """All Services of a namespace."""
        ...

    async def endpoints(self, *, namespace: str, services: Sequence[str]) -> Sequence[Endpoint]:
        """Endpoints that the EndpointSlices of these Services list now."""
        ...

    async def pods_view(self, workload: Workload, *, releases: bool, limits: bool) -> PodsView:
        """Pods of the target and its ReplicaSets.

        `limits` adds the pods that are being replaced and the constraints on replacing more; without `limits` no pod
        may be changed. `releases` adds green and the facts that a rollout needs.
        """
        ...

    def forget_policies(self, namespace: str) -> None:
        """The next `pods_view` reads policies that select this namespace's pods again; they are kept for a while."""
        ...

    async def logs(self, *, namespace: str, pod: str) -> str:
        """Last log lines of a container before it ended, secrets redacted; empty when they are not known."""
        ...


class ClusterWriter(Protocol):
    """Writes of the Kubernetes API, each with a precondition on what was read."""

    async def claim(self, workload: Workload, *, owner: str) -> None:
        """Mark the target as managed by `owner`."""
        ...

    async def unclaim(self, workload: Workload) -> None:
        """Remove our marks from the target."""
        ...

    async def mark_service(self, *, namespace: str, name: str, managed: bool) -> None:
        """Set or remove our label on a Service; a Service that no longer exists is no error."""
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
        """Hand the pod back to its ReplicaSet."""
        ...

    async def advance(self, action: Advance, *, namespace: str) -> None:
        """Mark the next step on the pod."""
        ...

    async def delete_pod(self, action: DeletePod, *, namespace: str) -> None:
        """Delete exactly this pod; a pod that no longer exists is no error."""
        ...

    async def evict_pod(self, action: EvictPod, *, namespace: str) -> None:
        """Evict exactly this pod; raises Refused with the message of the disruption budget."""
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
        """The AlertReceiver, or None when it does not exist."""
        ...

    async def receivers(self) -> Mapping[Key, Receiver]:
        """All AlertReceivers in the namespaces that we manage."""
        ...

    async def write_receiver(self, receiver: Receiver, status: ReceiverStatus) -> Receiver:
        """Merge-patch the status with the resourceVersion that was read; returns the receiver as it is now."""
        ...

    async def emit_of_receiver(self, receiver: Receiver, event: Event) -> None:
        """Write an Event on the receiver."""
        ...


class RolloutWriter(Protocol):
    """Writes of a rollout, each with a precondition on what was read."""

    async def hold(self, workload: Workload, *, serving: str) -> None:
        """Pause the target and record which template serves."""
        ...

    async def resume(self, workload: Workload, action: Resume) -> None:
        """Resume the target, or hand it back altogether."""
        ...

    async def pause_failed(self, workload: Workload, *, fingerprint: str) -> None:
        """Pause the target in the middle of a rolling update, and record the template as failed."""
        ...

    async def annotate_failed(self, workload: Workload, *, fingerprint: str) -> None:
        """Record the template that failed; an empty fingerprint removes the record."""
        ...

    async def annotate_left(self, workload: Workload, *, reason: str) -> None:
        """Record why something of ours stays behind."""
        ...

    async def scale_target(self, workload: Workload, *, replicas: int) -> None:
        """Set the target's replicas."""
        ...

    async def limit_autoscaler(self, autoscaler: Autoscaler, *, namespace: str, limited: bool) -> None:
        """Switch scaling up off, or back to what it was before; raises Conflict when the autoscaler has changed."""
        ...

    async def empty_replica_set(self, workload: Workload, replica_set: ReplicaSet) -> None:
        """Scale exactly this ReplicaSet of the target to zero."""
        ...

    async def restore_template(self, workload: Workload, action: RestoreTemplate) -> None:
        """Restore the template of one of the target's ReplicaSets, and record the other template as failed."""
        ...

    async def create_green(self, workload: Workload, action: CreateGreen) -> None:
        """Create green; raises Refused when the API server rejects it."""
        ...

    async def scale_green(self, green: Green, *, replicas: int) -> None:
        """Set green's replicas."""
        ...

    async def advance_green(self, green: Green, action: AdvanceGreen) -> None:
        """Mark the next step on green."""
        ...

    async def retry_pull(self, green: Green, action: RetryPull) -> None:
        """Count a retry and delete the pods that could not pull their images."""
        ...

    async def delete_green(self, green: Green) -> None:
        """Delete green, which exists until its pods are gone; no error when green does not exist."""
        ...

    async def route(self, service: Service, *, template_hash: str) -> None:
        """Pin a Service; an empty hash removes its pin."""
        ...

    async def put_preview(self, workload: Workload, action: PutPreview, *, like: Service) -> None:
        """Create the preview Service or change its selector; raises Refused when it belongs to somebody else."""
        ...

    async def delete_preview(self, *, namespace: str, name: str) -> None:
        """Delete the preview Service; no error when it does not exist."""
        ...

    async def note_signal(self, pod: Pod, *, namespace: str, at: datetime | None) -> None:
        """Record on a pod that it was sent the drain signal; None removes the record."""
        ...


class FlagWriter(Protocol):
    """Reads and writes of published flags."""

    async def flags_map(self, key: Key) -> FlagsMap | None:
        """The ConfigMap with the name of the service's flags, whoever created it, or None."""
        ...

    async def publish_flags(self, resource: Resource, publication: Publication) -> None:
        """Write the publication to our ConfigMap. Raises Conflict when somebody else's ConfigMap has its name."""
        ...

    async def remove_flags(self, key: Key) -> None:
        """Delete our ConfigMap; no error when it does not exist."""
        ...

    async def tell_pod(self, pod: Pod, *, namespace: str, value: str | None) -> None:
        """Annotate exactly this pod, or remove the annotation; a pod that no longer exists is no error."""
        ...


class Cluster(ClusterReader, ClusterWriter, RolloutWriter, FlagWriter, Protocol):
    """The Kubernetes API."""
