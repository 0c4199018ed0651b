"""The observed state, as small immutable views: the only input of a decision besides spec, status and time.

Adapters build the views from raw objects. A view keeps no state of its own; it is as old as the read that made it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from resilience.api.parts import Problem
from resilience.api.reasons import Colour, Reason, ReleaseStep, ReplaceStep
from resilience.api.status import Status
from resilience.api.v1alpha1 import ResilientServiceSpec, TargetRef
from resilience.core.model.api_refusal import ApiRefusal
from resilience.core.model.autoscaler import Autoscaler
from resilience.core.model.check_state import CheckState
from resilience.core.model.flags import FlagsMap
from resilience.core.model.pod_policy import PodPolicy
from resilience.core.model.replays import Replayed
from resilience.core.model.service import Endpoint, Service
from resilience.core.model.traffic import Traffic
from resilience.core.model.workload import ContainerPort, Labels, ReplicaSet, Resources, Workload


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Namespace and name of a ResilientService; the items of the queue."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Resource:
    """A ResilientService as read. `spec` lacks what cannot be read, or is None; `problems` then say why."""

    key: Key
    uid: str
    resource_version: str
    generation: int
    created: datetime
    annotations: Mapping[str, str]
    finalizers: tuple[str, ...]
    deleting_since: datetime | None
    spec: ResilientServiceSpec | None
    status: Status
    raw_status: Mapping[str, object]
    problems: tuple[Problem, ...] = ()
    # Of a specification that cannot be read as a whole: its target, and, for handing back only, what else can be read.
    target: TargetRef | None = None
    remains: ResilientServiceSpec | None = None

    @property
    def claim(self) -> str:
        """Value of the target's claim annotation when this resource has the target."""
        return f"{self.key.name}/{self.uid}"

    @property
    def target_ref(self) -> TargetRef | None:
        """The target that its specification names; None when that cannot be read."""
        return self.spec.target_ref if self.spec is not None else self.target


@dataclass(frozen=True, slots=True)
class Alerting:
    """State of the receivers of alerts. `default`: the operator's own receiver, for alerts that have no other."""

    default: Key | None = None
    # Receivers that do not exist or cannot be reached, with the reason and a sentence about it.
    troubles: Mapping[Key, tuple[Reason, str]] = field(default_factory=dict)
    # Repeats of this service's alerts of which nobody was notified.
    suppressed: int = 0
    # False until the receivers were listed. Until then troubles neither begin nor end.
    known: bool = True


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the target, or a former pod of the target that is being replaced."""

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
    # Cause of its not being ready, in the kubelet's or scheduler's words; empty when nothing is known.
    trouble: str
    # The same cause in one word of theirs (ErrImagePull, Unschedulable, OOMKilled ...).
    fault: str = ""
    # Its readiness gates that are not True, by condition type.
    open_gates: tuple[str, ...] = ()
    # Its containers have been ready for at least minReadySeconds, so only its readiness gates keep it from being
    # available.
    awaits_gates: bool = False
    # Time since which all its containers are ready; None when they are not.
    containers_ready_since: datetime | None = None
    # Restarts of the container that restarted most often.
    restarts: int = 0
    node: str = ""
    # Names of the Secrets that its images are pulled with.
    pull_secrets: tuple[str, ...] = ()
    # Time of a drain signal that it received although it is not being replaced.
    signalled_at: datetime | None = None
    # Time at which it last became ready or unready.
    ready_changed: datetime | None = None
    # Latest start of a container; None when no container runs.
    started: datetime | None = None
    grace_period: timedelta = timedelta(seconds=30)
    # The flags in its annotation; empty when it never had one.
    flags: str = ""
    # Families of its addresses; empty when it has none yet.
    families: frozenset[str] = frozenset()
    # Its init containers have ended.
    initialized: bool = True
    # The resources that each container really has, by its name. They are not always those of the template: a resize in
    # place changes them, and defaults of a LimitRange and recommendations of a VPA are written into pods only.
    resources: Mapping[str, Resources] = field(default_factory=dict)
    ends_by: datetime | None = None  # End of the grace period of its deletion.
    finalizers: tuple[str, ...] = ()
    step: ReplaceStep | None = None
    step_since: datetime | None = None
    taken_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """A PodDisruptionBudget that selects the target's pods, and possibly others: some of them must stay healthy."""

    name: str
    desired_healthy: int
    current_healthy: int


@dataclass(frozen=True, slots=True)
class Green:
    """The Deployment that replaces the user's during a rollout, with the facts that the operator records on it."""

    workload: Workload
    # Template hash of its pods; empty until its ReplicaSet exists.
    template_hash: str
    pods: tuple[Pod, ...]
    step: ReleaseStep
    towards: Colour
    since: datetime
    started: datetime
    pull_retries: int = 0
    deleting: bool = False
    # False when somebody removed the step or its direction, or another version of the operator wrote it.
    is_step_known: bool = True


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster."""

    name: str
    # Cordoned: it takes no new pods, and the pods that run there will probably end soon.
    unschedulable: bool


@dataclass(frozen=True, slots=True)
class PodsView:
    """Everything about pods that a replacement needs, read together just before the decision."""

    pods: tuple[Pod, ...] = ()
    replica_sets: tuple[ReplicaSet, ...] = ()
    # True when the fields below were read. Otherwise pods can be reported, but not acted on.
    limits_read: bool = True
    budgets: tuple[Budget, ...] = ()
    # Claims of the template that only one pod or node can mount.
    exclusive_claims: tuple[str, ...] = ()
    # The reason for which the claims were not read, in words; empty when they were.
    claims_problem: str = ""
    # Label keys that policies of the network or of a mesh select pods by, and these policies.
    policy_labels: frozenset[str] = frozenset()
    policies: tuple[PodPolicy, ...] = ()
    # Kinds of such policies that exist in the cluster and may not be read.
    unread_policies: tuple[str, ...] = ()
    # Label keys that disruption budgets select the pods by.
    budget_labels: frozenset[str] = frozenset()
    # Open connections of draining pods, by pod uid; None when the pod did not answer.
    connections: Mapping[str, int | None] = field(default_factory=dict)
    green: Green | None = None
    # Name of a Deployment of another owner that has the name of green; empty when the name is free.
    green_taken: str = ""
    autoscaler: Autoscaler | None = None
    # Times at which restarts of a pod's containers were observed, by pod uid; older restarts are not known.
    container_restarts: Mapping[str, tuple[datetime, ...]] = field(default_factory=dict)
    # Read only before a rollout begins; None when they were not read or may not be read.
    nodes: tuple[Node, ...] | None = None
    # Shortage in the namespace's quotas for a second set of pods, in words; empty when there is room.
    quota_short: str = ""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A service that waits for its turn to restart pods. `priority`: lower goes first; `since`: its last request."""

    key: Key
    priority: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Turn:
    """A place in the queue of restarts by policies, which are limited per cluster and per namespace."""

    granted: bool
    # Number of services before it, and the expected time until its turn.
    ahead: int = 0
    expected: timedelta | None = None


@dataclass(frozen=True)
class Observation:
    """Observed state around one ResilientService. It has no slots, so that `selecting` can be cached."""

    workload: Workload | None
    # Name of the older ResilientService that has the target; empty when this one has it.
    taken_by: str = ""
    services: tuple[Service, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    # None when this pass did not need them.
    pods: PodsView | None = None
    checks: Mapping[str, CheckState] = field(default_factory=dict)
    traffic: Traffic | None = None
    namespace_refused: bool = False
    # The number of ResilientServices of one namespace that are looked after, when this one is not among them; else 0.
    too_many: int = 0
    # False where the operator's rights end with the namespace, for nobody could take a finalizer off then.
    with_finalizer: bool = True
    namespace_ending: bool = False
    # At a hand-back: more workloads have its claim; without any of them: Services whose pin no claim explains.
    more_claimed: bool = False
    abandoned: tuple[Service, ...] = ()
    # Time until every node has caught up after an outage of the API server; zero without an outage.
    unsettled: timedelta = timedelta()
    # None when the last action was not refused.
    refusal: ApiRefusal | None = None
    # Its place among the services whose policies fire at the same time; None when it has not requested one.
    turn: Turn | None = None
    # The published flags; None when there are none.
    flags_map: FlagsMap | None = None
    alerting: Alerting = field(default_factory=Alerting)
    # Replays of dead letters, by check.
    replays: Mapping[str, Replayed] = field(default_factory=dict)

    @property
    def all_pods(self) -> tuple[Pod, ...]:
        """The pods that were read, of both colours."""
        if self.pods is None:
            return ()
        return (*self.pods.pods, *(self.pods.green.pods if self.pods.green is not None else ()))

    @cached_property
    def _listed(self) -> Mapping[tuple[str, str], frozenset[str]]:
        listed: dict[tuple[str, str], set[str]] = {}
        for endpoint in self.endpoints:
            if endpoint.counts:
                listed.setdefault((endpoint.service, endpoint.pod_uid), set()).add(endpoint.family)
        return {pair: frozenset(families) for pair, families in listed.items()}

    @cached_property
    def reached(self) -> frozenset[str]:
        """Uids of the pods that any Service sends new connections to."""
        return frozenset(uid for _, uid in self._listed)

    def lists(self, service: Service, pod: Pod) -> bool:
        """New connections to the Service may go to the pod, by each family of addresses that both have."""
        families = self._listed.get((service.name, pod.uid))
        return families is not None and (families == {""} or pod.families.intersection(service.families) <= families)

    @cached_property
    def selecting(self) -> tuple[Service, ...]:
        """The Services that select the target's pods when no rollout pins them, except previews.

        A Service selects them by the labels of the template, or by labels that only the pods have.
        """
        if self.workload is None:
            return ()
        labels = [self.workload.template.labels, *(pod.labels for pod in (self.pods.pods if self.pods else ()))]
        return tuple(
            service
            for service in self.services
            if not service.preview_of and any(service.concerns(pod_labels) for pod_labels in labels)
        )
