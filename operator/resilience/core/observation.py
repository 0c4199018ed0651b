"""What exists, as small immutable views: the only input of a decision besides the spec, the status and the time.

Adapters build these from raw objects. Nothing here remembers; a view is as old as the read that made it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from resilience.api.names import LABEL_TEMPLATE_HASH
from resilience.api.reasons import Colour, HealthState, ReleaseStep, ReplaceStep
from resilience.api.status import Status
from resilience.api.v1alpha1 import ResilientServiceSpec, TargetKind

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Namespace and name of a ResilientService: what the queue carries."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Resource:
    """A ResilientService as read. `spec` is None when it cannot be read; `problem` then says why."""

    key: Key
    uid: str
    resource_version: str
    generation: int
    created: datetime
    annotations: Mapping[str, str]
    finalizers: tuple[str, ...]
    deleting_since: datetime | None
    spec: ResilientServiceSpec | None
    problem: str
    status: Status
    raw_status: Mapping[str, object]

    @property
    def claim(self) -> str:
        """What the target's claim annotation says when it is this resource's."""
        return f"{self.key.name}/{self.uid}"


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A named or unnamed port of a container."""

    name: str
    number: int
    on_host: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a pod template."""

    name: str
    image: str
    ports: tuple[ContainerPort, ...] = ()
    # By resource: cpu in cores, memory in bytes.
    limits: Mapping[str, float] = field(default_factory=dict)
    requests: Mapping[str, float] = field(default_factory=dict)
    # Fields of TEMPLATE_FIELDS that are set, as raw JSON: compared with what we would write.
    fields: Mapping[str, object] = field(default_factory=dict)
    # Who owns each of those fields, by field manager; ours included.
    owners: Mapping[str, frozenset[str]] = field(default_factory=dict)


# The fields of a container that may be managed, by their API names.
TEMPLATE_FIELDS = ("readinessProbe", "startupProbe", "livenessProbe", "lifecycle")


@dataclass(frozen=True, slots=True)
class Template:
    """A workload's pod template."""

    labels: Labels
    containers: tuple[Container, ...]
    # Identity of the template: equal for equal templates, whoever runs them; empty when it was not read.
    fingerprint: str = ""
    host_network: bool = False
    grace_period: timedelta = timedelta(seconds=30)
    claims: tuple[str, ...] = ()
    # Whether the scheduler must not put two pods with these labels on one node.
    apart: bool = False

    def image(self, container: str | None) -> str:
        """Image of the container that counts: the named one, else the first."""
        return next((each.image for each in self.containers if container in (None, each.name)), "")


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
    # Why its controller cannot make pods, in the API server's words; empty when nothing is known.
    trouble: str = ""
    # Labels that pods of the newest template carry; empty where ReplicaSets tell, or nobody does.
    newest_labels: Labels = field(default_factory=dict)
    # Deployments only: the controller moves nothing between ReplicaSets.
    paused: bool = False
    progress_deadline_seconds: int = 600
    # Its controller has given up on its rollout.
    deadline_exceeded: bool = False

    @property
    def observed(self) -> bool:
        """Whether the workload's own controller has seen the newest specification."""
        return self.observed_generation >= self.generation

    @property
    def rolling(self) -> bool:
        """Whether the controller replaces pods of an older template. Scaling alone is not rolling."""
        return self.stale and not self.paused

    @property
    def stale(self) -> bool:
        """Whether pods of an older template are still there."""
        return self.current > self.updated

    @property
    def settled(self) -> bool:
        """Whether the newest template, and only it, is available at full size."""
        return self.observed and not self.stale and self.available >= self.replicas


@dataclass(frozen=True, slots=True)
class ReplicaSet:
    """A ReplicaSet of a Deployment."""

    name: str
    uid: str
    template_hash: str
    replicas: int
    # Whether its template is the one that the Deployment keeps now, by comparing templates.
    is_current: bool
    fingerprint: str = ""
    # Images by container.
    images: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the target, or one that was and is being replaced."""

    name: str
    uid: str
    resource_version: str
    labels: Labels
    created: datetime
    ready: bool
    # Ready for at least minReadySeconds.
    available: bool
    deleting: bool
    owner_kind: str
    owner_uid: str
    ip: str
    ports: tuple[ContainerPort, ...]
    # Why it is not ready, in the kubelet's or scheduler's words; empty when nothing is known.
    trouble: str
    # The same in one word of theirs (ErrImagePull, Unschedulable, OOMKilled ...).
    fault: str = ""
    # Restarts of the container that restarted most.
    restarts: int = 0
    node: str = ""
    # Names of the Secrets that its images are pulled with.
    pull_secrets: tuple[str, ...] = ()
    # When it was told to let its clients go although it is not being replaced.
    signalled_at: datetime | None = None
    # When it last became ready or unready.
    ready_changed: datetime | None = None
    grace_period: timedelta = timedelta(seconds=30)
    # The flags that it was told; empty when it never was.
    flags: str = ""
    step: ReplaceStep | None = None
    step_since: datetime | None = None
    taken_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a Service. `target` is a container port's name or number."""

    name: str
    number: int
    target: int | str


@dataclass(frozen=True, slots=True)
class Service:
    """A Service. `cluster_ip` is empty when it is headless."""

    namespace: str
    name: str
    selector: Labels
    cluster_ip: str
    ports: tuple[ServicePort, ...]
    managed: bool
    resource_version: str = ""
    # Whether the template hash in its selector is ours.
    pinned: bool = False
    # Name of the Deployment whose candidates this Service previews; empty for every other Service.
    preview_of: str = ""
    # The Apply manager that owns the selector, unless its owner accepts that a release pins it; else empty.
    selector_owner: str = ""

    @property
    def pin(self) -> str:
        """The template hash that it is pinned to; empty when it is not."""
        return self.selector.get(LABEL_TEMPLATE_HASH, "") if self.pinned else ""

    @property
    def base(self) -> Labels:
        """The selector without our pin."""
        return {key: value for key, value in self.selector.items() if not self.pinned or key != LABEL_TEMPLATE_HASH}

    def concerns(self, labels: Labels) -> bool:
        """Whether it selects such pods when it is not pinned."""
        return bool(self.base) and all(labels.get(key) == value for key, value in self.base.items())

    def selects(self, labels: Labels) -> bool:
        """Whether a pod with these labels belongs to it; a Service without a selector selects nothing."""
        return bool(self.selector) and all(labels.get(key) == value for key, value in self.selector.items())

    def port(self, wanted: int | str) -> ServicePort | None:
        """The port of that name or number."""
        return next((port for port in self.ports if wanted in (port.name, port.number)), None)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A pod as an EndpointSlice of one Service lists it."""

    service: str
    pod_name: str
    pod_uid: str
    ip: str
    serving: bool
    terminating: bool
    # Port numbers at the pod by port name of the Service.
    ports: Mapping[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> bool:
        """Whether new connections may go to it."""
        return self.serving and not self.terminating


@dataclass(frozen=True, slots=True)
class Budget:
    """A PodDisruptionBudget that selects the target's pods, and maybe others': some must stay healthy."""

    name: str
    desired_healthy: int
    current_healthy: int


@dataclass(frozen=True, slots=True)
class Green:
    """The Deployment that stands in for the user's during a release, with the facts that we keep on it."""

    workload: Workload
    # Hash that its pods carry; empty until its ReplicaSet exists.
    template_hash: str
    pods: tuple[Pod, ...]
    step: ReleaseStep
    towards: Colour
    since: datetime
    started: datetime
    pull_retries: int = 0
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """A HorizontalPodAutoscaler of the target."""

    name: str
    min_replicas: int


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster."""

    name: str
    # Cordoned: no new pods, and those that run there are probably about to go.
    unschedulable: bool


@dataclass(frozen=True, slots=True)
class PodsView:
    """Everything about pods that a replacement needs, read together just before it is decided."""

    pods: tuple[Pod, ...] = ()
    replica_sets: tuple[ReplicaSet, ...] = ()
    budgets: tuple[Budget, ...] = ()
    # Claims of the template that only one pod or node can mount.
    exclusive_claims: tuple[str, ...] = ()
    # Label keys that NetworkPolicies select pods by in this namespace or from others.
    policy_labels: frozenset[str] = frozenset()
    # Connections that draining pods still have, by pod uid; None when the pod did not answer.
    connections: Mapping[str, int | None] = field(default_factory=dict)
    green: Green | None = None
    # Name of a Deployment of somebody else that stands where green would; empty when the place is free.
    green_taken: str = ""
    autoscaler: Autoscaler | None = None
    # When containers of a pod were seen to have restarted, by pod uid; older ones are not known.
    container_restarts: Mapping[str, tuple[datetime, ...]] = field(default_factory=dict)
    # Read only before a release begins; None when they were not, or may not be.
    nodes: tuple[Node, ...] | None = None
    # What the namespace's quotas have left too little of for a second set of pods; empty when there is room.
    quota_short: str = ""


@dataclass(frozen=True, slots=True)
class Component:
    """A part of the application as its own health body tells of it."""

    name: str
    state: HealthState
    message: str = ""


@dataclass(frozen=True, slots=True)
class CheckState:
    """A check's folded state, as the check runner holds it."""

    name: str
    state: HealthState
    reason: str
    message: str
    since: datetime
    latency_seconds: float | None
    # For scope Pod: state by pod uid.
    by_pod: Mapping[str, HealthState] = field(default_factory=dict)
    # Whether it is Unknown because as many runs as a verdict takes could not say anything.
    silent: bool = False
    # Since when every pod has had its state.
    settled_since: datetime | None = None
    # Runs in a row until now that did not fail, whatever the thresholds say; for scope Pod by pod uid.
    passes: int = 0
    failures: int = 0
    passes_by_pod: Mapping[str, int] = field(default_factory=dict)
    # Why a pod is Unhealthy, by pod uid.
    words_by_pod: Mapping[str, str] = field(default_factory=dict)
    # What was read last, for checks that look for changes, and since when it is that.
    fingerprint: str = ""
    read_since: datetime | None = None
    components: tuple[Component, ...] = ()
    # Since this process knows it.
    failed: int = 0
    reconnects: int = 0
    # For streams that have them: how many dead letters there are.
    dead_letters: int | None = None


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests sent through the Service so far, by this process."""

    sent: int
    failed: int
    p99_seconds: float | None
    # Failures without a success between them, until now.
    failed_in_row: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """A place in the queue of restarts by policies, which are capped for the cluster and for each namespace."""

    granted: bool
    # Services before it, and how long it probably takes until it is its turn.
    ahead: int = 0
    expected: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of dead letters since `started`. `more`: some are left that may go back."""

    started: datetime
    count: int
    left: int = 0
    more: bool = True
    # Why the last try did nothing; empty when it did.
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class FlagsMap:
    """The ConfigMap that has the name of the one with the flags. `ours`: it carries our label."""

    data: Mapping[str, str]
    ours: bool


@dataclass(frozen=True, slots=True)
class Observation:
    """What exists around one ResilientService."""

    workload: Workload | None
    # The name of the older ResilientService that has the target; empty when it is ours.
    taken_by: str = ""
    services: tuple[Service, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    # None when nothing needed them this time.
    pods: PodsView | None = None
    checks: Mapping[str, CheckState] = field(default_factory=dict)
    traffic: Traffic | None = None
    namespace_refused: bool = False
    # Time until every node has caught up after the API server was away; zero in calm times.
    unsettled: timedelta = timedelta()
    # What the API refused when the last action was tried; empty when nothing was.
    refusal: str = ""
    # Its place among the services whose policies fire at the same time; None when it has not asked for one.
    turn: Turn | None = None
    # What is published of its flags; None when there is nothing.
    flags_map: FlagsMap | None = None
    # Replays of dead letters, by check.
    replays: Mapping[str, Replayed] = field(default_factory=dict)

    @property
    def selecting(self) -> tuple[Service, ...]:
        """The Services that lead to the target's pods when no release pins them; previews aside.

        By the template's labels, or by those that only pods have.
        """
        if self.workload is None:
            return ()
        labels = [self.workload.template.labels, *(pod.labels for pod in (self.pods.pods if self.pods else ()))]
        return tuple(
            service
            for service in self.services
            if not service.preview_of and any(service.concerns(each) for each in labels)
        )
