"""A small cluster in memory: a Deployment with its ReplicaSets, pods, Services and EndpointSlices, each with lag.

It follows the rules that a replacement relies on: a ReplicaSet owns the pods that refer to it and creates or ends pods
until the number is right (unready ones first, as the real one does), slices follow labels and readiness late, ends take
time. The real `decide` and the real `Executor` work on it; `Harm` is raised when one of their writes costs a client.
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, cast

from resilience.api.names import ANNOTATION_CLAIM, ANNOTATION_FAILED, ANNOTATION_PAUSED_FOR, request_annotation
from resilience.api.reasons import ReplaceStep
from resilience.api.status import Status
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.model.actions import Resume
from resilience.core.model.api_refusal import ApiRefusal
from resilience.core.model.decision import Advance, Decision, DeletePod, EvictPod, GiveBack, TakeOver
from resilience.core.model.observation import Observation, Pod, PodsView, Resource
from resilience.core.model.service import Endpoint, Service
from resilience.core.model.workload import ReplicaSet, Template, Workload
from resilience.core.reconcile import decide
from resilience.core.report.diff import is_worth_writing
from resilience.ports import Clock, Conflict, Drainer, Metrics, PortError, Secrets
from resilience.ports.cluster import Cluster
from resilience.runtime.dead_letters import Replays
from resilience.runtime.executor import Executor
from resilience.runtime.observer import Observer
from tests.support.factories import (
    KEY,
    LABELS,
    NOW,
    make_container,
    make_endpoint,
    make_pod,
    make_resource,
    make_service,
    make_workload,
)

TERMINATION: Final = timedelta(seconds=2)


class Harm(AssertionError):
    """A write of the operator took away a pod that clients needed."""


class Killed(Exception):
    """The operator's process ends here."""


@dataclass(slots=True)
class ModelPod:
    """A pod; `owner` is a template's hash, or empty when the Deployment itself owns it."""

    name: str
    revision: str
    owner: str
    created: datetime
    ready_at: datetime | None
    labels: dict[str, str]
    ready: bool = False
    gone_at: datetime | None = None
    step: ReplaceStep | None = None
    since: datetime | None = None
    taken: datetime | None = None
    version: int = 1


@dataclass(slots=True)
class Model:
    """The cluster, and one ResilientService over it. `delays`: seconds until new pods are ready, None for never."""

    spec: ResilientServiceSpec
    replicas: int = 3
    delays: Sequence[int | None] = (1,)
    now: datetime = NOW
    services: tuple[Service, ...] = (make_service(),)
    status: Status = field(default_factory=lambda: Status(observed_generation=1))
    annotations: dict[str, str] = field(default_factory=dict)
    version: int = 1
    generation: int = 1
    observed: int = 1
    revision: str = "r1"
    paused: bool = False
    notes: dict[str, str] = field(default_factory=dict)
    desired: dict[str, int] = field(default_factory=dict)
    pods: dict[str, ModelPod] = field(default_factory=dict)
    slices: tuple[Endpoint, ...] = ()
    made: int = 0
    writes: int = 0

    def __post_init__(self) -> None:
        self.desired = {self.revision: self.replicas}
        self.replica_sets()
        for pod in self.pods.values():
            pod.ready, pod.created = True, self.now - timedelta(hours=1)
        self.endpoints()

    # Controllers and nodes.

    def tick(self) -> None:
        """Runs every controller once, in the usual order."""
        for work in (self.deployment, self.replica_sets, self.kubelets, self.endpoints):
            work()

    def deployment(self) -> None:
        """Rolls with at most one pod more and none fewer."""
        self.observed = self.generation
        if self.paused:
            # Existing ReplicaSets grow or shrink, the newest first.
            active = [name for name, count in self.desired.items() if count] or [self.revision]
            missing = self.replicas - sum(self.desired.values())
            self.desired[active[-1]] = max(self.desired.get(active[-1], 0) + missing, 0)
            return
        self.desired.setdefault(self.revision, 0)
        old = [name for name, count in self.desired.items() if count and name != self.revision]
        if not old:
            self.desired[self.revision] = self.replicas
            return
        if sum(self.desired.values()) < self.replicas + 1 and self.desired[self.revision] < self.replicas:
            self.desired[self.revision] += 1
        unavailable = self.desired[self.revision] - sum(
            pod.ready and not pod.gone_at for pod in self.pods.values() if pod.owner == self.revision
        )
        # Old pods that are not ready are ended first, by replica_sets, and count as room too.
        if sum(self.desired.values()) - self.replicas - unavailable > 0:
            self.desired[old[0]] -= 1

    def replica_sets(self) -> None:
        for name, count in self.desired.items():
            own = [pod for pod in self.pods.values() if pod.owner == name and pod.gone_at is None]
            for _ in range(count - len(own)):
                self._make(name)
            ranked = sorted(
                own, key=lambda candidate: (candidate.ready, -candidate.created.timestamp(), candidate.name)
            )
            for pod in ranked[: max(len(own) - count, 0)]:
                self.end(pod)

    def _make(self, revision: str) -> None:
        delay = self.delays[self.made % len(self.delays)]
        self.made += 1
        name = f"pod-{self.made}"
        self.pods[name] = ModelPod(
            name=name,
            revision=revision,
            owner=revision,
            created=self.now.replace(microsecond=0),
            ready_at=None if delay is None else self.now + timedelta(seconds=delay),
            labels=LABELS | {"pod-template-hash": revision},
        )

    def kubelets(self) -> None:
        for pod in list(self.pods.values()):
            if pod.gone_at is not None and self.now >= pod.gone_at:
                del self.pods[pod.name]
            elif pod.ready_at is not None and self.now >= pod.ready_at and not pod.ready:
                pod.ready = True
                pod.version += 1

    def endpoints(self) -> None:
        views = [self.view(pod) for pod in self.pods.values()]
        self.slices = tuple(
            make_endpoint(pod, service=service.name)
            for service in self.services
            for pod in views
            if service.selects(pod.labels)
        )

    def end(self, pod: ModelPod, after: timedelta = TERMINATION) -> None:
        pod.gone_at = pod.gone_at or self.now + after
        pod.version += 1

    # People and faults.

    def scale(self, replicas: int) -> None:
        self.replicas = replicas
        self.generation += 1

    def release(self) -> None:
        self.generation += 1
        self.revision = f"r{self.generation}"

    def hang(self, index: int) -> None:
        """A pod permanently stops being ready."""
        if self.pods:
            pod = list(self.pods.values())[index % len(self.pods)]
            pod.ready, pod.ready_at = False, None
            pod.version += 1

    def mend(self) -> None:
        """Hanging pods recover and become ready again."""
        for pod in self.pods.values():
            if not pod.ready and pod.ready_at is None:
                pod.ready_at = self.now
                pod.version += 1

    def die(self, index: int) -> None:
        """Ends a pod at once."""
        if self.pods:
            self.end(list(self.pods.values())[index % len(self.pods)], after=timedelta())

    def ask(self, request: str, value: str) -> None:
        self.annotations[request_annotation(request)] = value
        self.version += 1

    # Views for the operator.

    def view(self, pod: ModelPod) -> Pod:
        revision = pod.owner or pod.revision
        return make_pod(
            pod.name,
            ready=pod.ready and pod.gone_at is None,
            labels=dict(pod.labels),
            created=pod.created,
            deleting=pod.gone_at is not None,
            resource_version=str(pod.version),
            owner_kind="ReplicaSet" if pod.owner else "Deployment",
            owner_uid=f"uid-{revision}" if pod.owner else "workload-uid",
            step=pod.step,
            step_since=pod.since,
            taken_at=pod.taken,
        )

    def workload(self) -> Workload:
        own = [pod for pod in self.pods.values() if pod.owner and pod.gone_at is None]
        return make_workload(
            replicas=self.replicas,
            generation=self.generation,
            observed_generation=self.observed,
            current=len(own),
            updated=sum(pod.owner == self.revision for pod in own),
            available=sum(pod.ready for pod in own),
            paused=self.paused,
            template=Template(labels=LABELS, containers=(make_container(),), fingerprint=self.revision),
            annotations={ANNOTATION_CLAIM: f"{KEY.name}/resource-uid"} | self.notes,
        )

    def resource(self) -> Resource:
        return make_resource(
            self.spec, status=self.status, annotations=dict(self.annotations), resource_version=str(self.version)
        )

    def observe(self) -> Observation:
        sets = tuple(
            ReplicaSet(f"checkout-{name}", f"uid-{name}", name, count, name == self.revision, name)
            for name, count in self.desired.items()
        )
        pods = tuple(self.view(pod) for pod in self.pods.values())
        return Observation(
            workload=self.workload(), services=self.services, endpoints=self.slices, pods=PodsView(pods, sets)
        )

    def serving(self) -> int:
        """Pods that clients reach: ready, selected and listed."""
        listed = {endpoint.pod_name for endpoint in self.slices if endpoint.counts}
        return sum(
            pod.ready
            and pod.gone_at is None
            and pod.name in listed
            and all(service.selects(pod.labels) for service in self.services)
            for pod in self.pods.values()
        )

    @property
    def retiring(self) -> list[ModelPod]:
        return [pod for pod in self.pods.values() if pod.step is not None]


@dataclass(slots=True)
class ModelCluster:
    """The writes of `ports.ClusterWriter` that a restart uses, with their preconditions."""

    model: Model
    before_write: Callable[[], None] = lambda: None

    async def annotate_failed(self, workload: Workload, *, fingerprint: str) -> None:
        self.before_write()
        self.model.notes[ANNOTATION_FAILED] = fingerprint

    async def pause_failed(self, workload: Workload, *, fingerprint: str) -> None:
        self.before_write()
        self.model.notes |= {ANNOTATION_PAUSED_FOR: fingerprint, ANNOTATION_FAILED: fingerprint}
        self.model.paused = True

    async def resume(self, workload: Workload, action: Resume) -> None:
        self.before_write()
        self.model.notes.pop(ANNOTATION_PAUSED_FOR, None)
        self.model.paused = False

    def forget_policies(self, namespace: str) -> None:
        """A model has no policies."""

    async def take_over(self, workload: Workload, action: TakeOver) -> None:
        pod = self._pod(action.pod)
        pod.owner, pod.step, pod.since, pod.taken = "", ReplaceStep.REPLACING, action.at, action.at

    async def give_back(self, action: GiveBack, *, namespace: str) -> None:
        pod = self._pod(action.pod)
        pod.owner, pod.step, pod.since, pod.taken = action.replica_set.template_hash, None, None, None
        # The ReplicaSet acts at once when it now has one pod too many.
        self.model.replica_sets()

    async def advance(self, action: Advance, *, namespace: str) -> None:
        pod = self._pod(action.pod)
        pod.step, pod.since = action.step, action.at
        pod.labels |= action.labels

    async def delete_pod(self, action: DeletePod, *, namespace: str) -> None:
        self.model.end(self._pod(action.pod))

    async def evict_pod(self, action: EvictPod, *, namespace: str) -> None:
        self.model.end(self._pod(action.pod))

    def _pod(self, observed: Pod) -> ModelPod:
        self.before_write()
        pod = self.model.pods.get(observed.name)
        if pod is None or str(pod.version) != observed.resource_version:
            raise Conflict(f"{observed.name} changed")
        pod.version += 1
        self.model.writes += 1
        return pod


class Observable(Protocol):
    """A model of a cluster, of restarts or of releases."""

    def observe(self) -> Observation: ...


@dataclass(slots=True)
class Seen:
    """Replaces the Observer: every observation is fresh."""

    model: Observable

    async def observe(
        self, resource: Resource, *, thorough: bool = False, refusal: ApiRefusal | None = None
    ) -> Observation:
        return self.model.observe()


class Leading:
    def held(self) -> bool:
        return True


class Uncounted:
    """Metrics that nobody reads."""

    def refused(self, *, reason: str) -> None:
        return


def executor_over(cluster: object, model: Observable) -> Executor:
    """The real executor on a model's cluster, without drain, measurement and replay."""
    return Executor(
        cluster=cast(Cluster, cluster),
        observer=cast(Observer, Seen(model)),
        drainer=cast(Drainer, None),
        secrets=cast(Secrets, None),
        leadership=Leading(),
        metrics=cast(Metrics, Uncounted()),
        clock=cast(Clock, None),
        replays=cast(Replays, None),
    )


@dataclass(slots=True)
class Operator:
    """Passes of the real core and executor over a model, with deaths at any write."""

    model: Model
    executor: Executor = field(init=False)
    cluster: ModelCluster = field(init=False)
    _writes_left: int | None = None

    def __post_init__(self) -> None:
        self.cluster = ModelCluster(self.model, self._count)
        self.executor = executor_over(self.cluster, self.model)

    def _count(self) -> None:
        if self._writes_left is not None:
            if self._writes_left <= 0:
                raise Killed
            self._writes_left -= 1

    def reconcile(self, *, seen: Observation | None = None, dies_after: int | None = None) -> Decision:
        """Runs one pass, on the current observation or on an earlier one in `seen`.

        The process dies after `dies_after` writes, status included.
        """
        self._writes_left = dies_after
        resource = self.model.resource()
        decision = decide(resource, seen or self.model.observe(), self.model.now)
        try:
            if decision.status is not None and is_worth_writing(resource.status, decision.status):
                self._count()
                self.model.status = stored(decision.status)
                self.model.version += 1
            for action in decision.actions:
                before = self.model.serving()
                drive(self.executor.run(resource, self.model.observe(), action))
                after = self.model.serving()
                if after < min(self.model.replicas, before):
                    raise Harm(f"{type(action).__name__}: {before} served, {after} do, of {self.model.replicas}")
        except (PortError, Killed):
            pass
        return decision

    def settle(self, *, passes: int = 200) -> int:
        """Advances time and all controllers until nothing is in flight; returns the number of passes."""
        for count in range(passes):
            self.model.now += timedelta(seconds=1)
            self.model.tick()
            decision = self.reconcile()
            if not decision.actions and not self.model.retiring and self.model.status.restart is None:
                return count
        raise AssertionError(f"not settled after {passes} passes: {self.model.status.explanation}")


def stored(status: Status) -> Status:
    """A status as the API returns it: times to the millisecond, no empty fields."""
    return Status.model_validate(status.to_api())


def drive(work: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")
