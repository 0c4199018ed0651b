"""What exists, as small immutable views: the only input of a decision besides the spec, the status and the time.

Adapters build these from raw objects. Nothing here remembers; a view is as old as the read that made it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from resilience.api.reasons import Colour, Reason, ReleaseStep, ReplaceStep
from resilience.api.status import Status
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.model.check_state import CheckState
from resilience.core.model.service import Endpoint, Service
from resilience.core.model.workload import ContainerPort, Labels, ReplicaSet, Workload


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
class Alerting:
    """What is known of those who are told of alerts. `default`: the operator's own receiver, for what has no other."""

    default: Key | None = None
    # Receivers that do not exist or cannot be reached: why, in a word and in a sentence.
    troubles: Mapping[Key, tuple[Reason, str]] = field(default_factory=dict)
    # Repeats of this service's alerts that nobody was told of.
    suppressed: int = 0
    # False until the receivers were listed: what is not known yet is no trouble, and no end of one.
    known: bool = True


# The fields of a container that may be managed, by their API names.
TEMPLATE_FIELDS = ("readinessProbe", "startupProbe", "livenessProbe", "lifecycle")


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
    # When the container that started last did so; None when none runs.
    started: datetime | None = None
    grace_period: timedelta = timedelta(seconds=30)
    # The flags that it was told; empty when it never was.
    flags: str = ""
    step: ReplaceStep | None = None
    step_since: datetime | None = None
    taken_at: datetime | None = None


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
    # Whether what follows was read. Without it pods can be told of, and nothing may be done to them.
    limits_read: bool = True
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
class Traffic:
    """Requests sent through the Service so far, by this process."""

    sent: int
    failed: int
    p99_seconds: float | None
    # Failures without a success between them, until now.
    failed_in_row: int = 0


@dataclass(frozen=True, slots=True)
class Ticket:
    """A service that waits for its turn to restart pods. `priority`: lower goes first; `since`: when it last asked."""

    key: Key
    priority: int
    since: datetime


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
    # A batch may have been put back without being counted: its answer, or the operator that waited for it, was lost.
    uncounted: bool = False


@dataclass(frozen=True, slots=True)
class FlagsMap:
    """The ConfigMap that has the name of the one with the flags. `ours`: it carries our label."""

    data: Mapping[str, str]
    ours: bool


@dataclass(frozen=True)
class Observation:
    """What exists around one ResilientService. Without slots, so that what is derived from all Services is kept."""

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
    alerting: Alerting = field(default_factory=Alerting)
    # Replays of dead letters, by check.
    replays: Mapping[str, Replayed] = field(default_factory=dict)

    @cached_property
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
