"""A workload as it was observed: its template, its ReplicaSets, and the counts of its controller."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from resilience.api.restarts import ConfigKind
from resilience.api.v1alpha1 import TargetKind

Labels = Mapping[str, str]

# The fields of a container that may be managed, by their API names.
TEMPLATE_FIELDS = ("readinessProbe", "startupProbe", "livenessProbe", "lifecycle")


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A named or unnamed port of a container."""

    name: str
    number: int
    on_host: bool = False
    # Name of the container that declares it.
    container: str = ""
    # False for UDP and SCTP: checks, signals and HTTP clients never use those.
    is_tcp: bool = True


@dataclass(frozen=True, slots=True)
class Resources:
    """Limits and requests of a container, by resource: cpu in cores, memory in bytes."""

    limits: Mapping[str, float] = field(default_factory=dict)
    requests: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a pod template."""

    name: str
    image: str
    ports: tuple[ContainerPort, ...] = ()
    # By resource: cpu in cores, memory in bytes.
    limits: Mapping[str, float] = field(default_factory=dict)
    requests: Mapping[str, float] = field(default_factory=dict)
    # Fields of TEMPLATE_FIELDS that are set, as raw JSON, to compare with the fields that the operator would write.
    fields: Mapping[str, object] = field(default_factory=dict)
    # Owners of those fields by field name, as field managers, the operator's included.
    owners: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def resources(self) -> Resources:
        """The limits and requests that new pods are created with, before anybody else adds to them."""
        return Resources(self.limits, self.requests)


@dataclass(frozen=True, slots=True)
class ConfigReference:
    """A ConfigMap or Secret of the workload's namespace. `optional`: pods start without it, too."""

    kind: ConfigKind
    name: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """A workload's pod template."""

    labels: Labels
    containers: tuple[Container, ...]
    # Identity of the template: equal for equal templates of any workload; empty when it was not read.
    fingerprint: str = ""
    host_network: bool = False
    grace_period: timedelta = timedelta(seconds=30)
    claims: tuple[str, ...] = ()
    # True when the scheduler must not put two pods with these labels on one node.
    needs_separate_nodes: bool = False
    # Ports of native sidecars: init containers with restartPolicy Always, which run as long as the pod.
    sidecar_ports: tuple[ContainerPort, ...] = ()
    # The objects that its pods mount or read into their environment.
    configs: tuple[ConfigReference, ...] = ()

    @property
    def ports(self) -> tuple[ContainerPort, ...]:
        """The ports of every container that runs as long as the pod, in the order in which Kubernetes looks names up.

        Containers come first, in their order, then native sidecars (FindPort in kubernetes/pkg/api/v1/pod).
        """
        own = (replace(port, container=entry.name) for entry in self.containers for port in entry.ports)
        return (*own, *self.sidecar_ports)

    @property
    def host_ports(self) -> tuple[int, ...]:
        """Ports of the node that each pod takes for itself."""
        return tuple(port.number for port in self.ports if port.on_host)

    def image(self, container: str | None) -> str:
        """Image of the named container, or of the first container for None; empty when there is none."""
        return next((declared.image for declared in self.containers if container in (None, declared.name)), "")


@dataclass(frozen=True, slots=True)
class Workload:
    """The target: a Deployment, StatefulSet or DaemonSet. Counts are pods."""

    kind: TargetKind
    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    observed_generation: int
    labels: Labels
    annotations: Mapping[str, str]
    selector: Labels
    template: Template
    replicas: int
    current: int
    updated: int
    ready: int
    available: int
    strategy: str
    min_ready_seconds: int
    # Cause of its controller's failure to create pods, in the API server's words; empty when nothing is known.
    trouble: str = ""
    # Labels of the pods of the newest template; empty where ReplicaSets identify them, or nothing does.
    newest_labels: Labels = field(default_factory=dict)
    # Deployments only: the controller moves no pods between ReplicaSets.
    paused: bool = False
    # True when the pause is the operator's own, by field ownership.
    paused_by_operator: bool = False
    # True when the progress deadline is the one that the operator set for its pause, by field ownership.
    deadline_by_operator: bool = False
    # Field manager of the newest change of the specification; empty when that was the operator, or nothing tells.
    changed_by: str = ""
    progress_deadline_seconds: int = 600
    # Its controller has given up on its rollout.
    deadline_exceeded: bool = False

    @property
    def observed(self) -> bool:
        """The workload's own controller has observed the newest specification."""
        return self.observed_generation >= self.generation

    @property
    def rolling(self) -> bool:
        """The controller is replacing pods of an older template. Scaling alone is not rolling."""
        return self.stale and not self.paused

    @property
    def stale(self) -> bool:
        """Pods of an older template still exist."""
        return self.current > self.updated

    @property
    def settled(self) -> bool:
        """The newest template, and no other, is available at full size."""
        return self.observed and not self.stale and self.available >= self.replicas


@dataclass(frozen=True, slots=True)
class ReplicaSet:
    """A ReplicaSet of a Deployment."""

    name: str
    uid: str
    template_hash: str
    replicas: int
    # True when its template equals the Deployment's present template.
    is_current: bool
    fingerprint: str = ""
    # Images by container.
    images: Mapping[str, str] = field(default_factory=dict)
    # The objects that its pods mount or read into their environment.
    configs: tuple[ConfigReference, ...] = ()
