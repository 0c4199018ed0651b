"""A small cluster in memory for blue-green releases: a Deployment that can be paused, green, a Service and its slices.

It follows the rules that a release relies on: a paused Deployment scales but does not roll, an un-paused one rolls with
one pod more and none fewer, slices follow labels, selectors and readiness late, deletions take time. The real `decide`
and the real `Executor` work on it; `Harm` is raised when one of their writes costs a client.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from resilience.api.names import (
    ANNOTATION_CLAIM,
    ANNOTATION_FAILED,
    ANNOTATION_SERVING,
    LABEL_MANAGED,
    LABEL_TRACK,
    request_annotation,
)
from resilience.api.reasons import Colour, HealthState, ReleaseStep
from resilience.api.status import Status
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.model import held
from resilience.core.model.actions import AdvanceGreen, CreateGreen, Resume
from resilience.core.model.autoscaler import SCALING_UP_OFF, Autoscaler
from resilience.core.model.check_state import CheckState
from resilience.core.model.observation import Green, Observation, Pod, PodsView, Resource
from resilience.core.model.service import Endpoint, Service
from resilience.core.model.workload import ReplicaSet, Template, Workload
from resilience.core.rollouts import gates
from resilience.ports import Conflict
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
GREEN_LABELS: Final = LABELS | {LABEL_TRACK: "green"}


@dataclass(frozen=True, slots=True)
class Kind:
    """Behaviour of a template: seconds until its pods are ready (None for never), and a gate that fails if `bad`."""

    delay: int | None = 1
    bad: bool = False
    # Its pods have a readiness gate that a load balancer sets this many seconds after a Service lists them, and takes
    # away as soon as none does (None: no gate).
    gate: int | None = None


@dataclass(slots=True)
class ModelPod:
    """A pod; `owner` is the name of its ReplicaSet."""

    name: str
    fingerprint: str
    owner: str
    created: datetime
    ready_at: datetime | None
    containers_ready: bool = False
    gone_at: datetime | None = None
    version: int = 1
    gated: bool = False
    # Time at which the load balancer answers its gate; None while no Service selects it.
    answered_at: datetime | None = None
    gate_open: bool = False

    @property
    def ready(self) -> bool:
        return self.containers_ready and not self.gate_open

    @property
    def green(self) -> bool:
        return self.owner.startswith("green")


@dataclass(slots=True)
class ModelGreen:
    """Green, and the state that is recorded on it."""

    fingerprint: str
    replicas: int
    step: ReleaseStep
    towards: Colour
    since: datetime
    started: datetime
    number: int
    deleting: bool = False
    # Its ReplicaSet is there, which stays when it has no pods.
    grown: bool = False
    version: int = 1
    # What the operator can read of its marks: all, the direction, nothing.
    readable: str = "all"

    @property
    def owner(self) -> str:
        return f"green{self.number}-{self.fingerprint}"


@dataclass(slots=True)
class ReleaseModel:
    """The cluster, and one ResilientService over it."""

    spec: ResilientServiceSpec
    replicas: int = 2
    autoscaled: bool = False
    # The autoscaler in detail; `autoscaled` alone is one that does nothing by itself.
    scaler: Autoscaler | None = None
    now: datetime = NOW
    status: Status = field(default_factory=lambda: Status(observed_generation=1))
    annotations: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=lambda: {"t0": Kind()})
    wanted: str = "t0"
    paused: bool = False
    # The pause is the operator's own.
    held: bool = False
    # Times that the API server's defaults changed: all templates are shown otherwise since then.
    drifts: int = 0
    # By ReplicaSet: its revision, and the annotations that it carries of the Deployment.
    revisions: dict[str, int] = field(default_factory=dict)
    carried: dict[str, dict[str, str]] = field(default_factory=dict)
    generation: int = 1
    observed: int = 1
    desired: dict[str, int] = field(default_factory=dict)
    pods: dict[str, ModelPod] = field(default_factory=dict)
    green: ModelGreen | None = None
    pin: str = ""
    slices: tuple[Endpoint, ...] = ()
    version: int = 1
    service_version: int = 1
    resource_version: int = 1
    made: int = 0
    greens: int = 0
    # Templates whose pods clients reached.
    met: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.desired = {"t0": self.replicas}
        self.replica_sets()
        for pod in self.pods.values():
            pod.containers_ready, pod.gate_open, pod.created = True, False, self.now - timedelta(hours=1)
        self.endpoints()

    # Controllers and nodes.

    def tick(self) -> None:
        for work in (self.deployment, self.replica_sets, self.kubelets, self.load_balancer, self.endpoints):
            work()

    def deployment(self) -> None:
        self.observed = self.generation
        if not self.paused:
            self.desired.setdefault(self.wanted, 0)
        self._carry()
        if self.paused:
            self._scale()
            return
        old = [name for name, count in self.desired.items() if count and name != self.wanted]
        if not old:
            self.desired[self.wanted] = self.replicas
            return
        if sum(self.desired.values()) < self.replicas + 1 and self.desired[self.wanted] < self.replicas:
            self.desired[self.wanted] += 1
        unavailable = self.desired[self.wanted] - self._ready(self.wanted)
        if sum(self.desired.values()) - self.replicas - unavailable <= 0:
            return
        # Old pods that are not ready go first; one that is ready goes only if enough others are.
        unready = [name for name in old if self._ready(name) < self.desired[name]]
        if unready or sum(map(self._ready, self.desired)) > self.replicas:
            self.desired[(unready or old)[0]] -= 1

    def _carry(self) -> None:
        """The newest ReplicaSet gets the highest revision and, paused or not, the Deployment's annotations."""
        if self.wanted in self.desired:
            highest = max(self.revisions.values(), default=0)
            if self.revisions.get(self.wanted) != highest or not highest:
                self.revisions[self.wanted] = highest + 1
            self.carried[self.wanted] = self.carried.get(self.wanted, {}) | self.notes

    def _scale(self) -> None:
        """A paused Deployment only scales: existing ReplicaSets change, the newest first; from zero the newest."""
        old = [name for name, count in self.desired.items() if count and name != self.wanted]
        if old and self._is_saturated():
            self.desired |= dict.fromkeys(old, 0)
            return
        active = [name for name, count in self.desired.items() if count]
        # One pod more is allowed between several, as in a rolling update.
        size = self.replicas + (len(active) > 1 and self.replicas > 0)
        active = active or ([self.wanted] if self.wanted in self.desired else list(self.desired)[-1:])
        difference = size - sum(self.desired.values())
        for name in sorted(active, key=lambda name: self.desired[name], reverse=True):
            change = max(difference, -self.desired[name])
            self.desired[name] += change
            difference -= change

    def _is_saturated(self) -> bool:
        """The newest ReplicaSet is complete: the controller ends all other pods then, even of a paused Deployment."""
        return self.desired.get(self.wanted, 0) == self.replicas == self._ready(self.wanted)

    def _ready(self, owner: str) -> int:
        """Ready pods of a ReplicaSet that are not ending."""
        return sum(pod.ready and pod.gone_at is None for pod in self.pods.values() if pod.owner == owner)

    def replica_sets(self) -> None:
        targets = dict(self.desired)
        if self.green is not None:
            self.green.grown = True
            targets[self.green.owner] = 0 if self.green.deleting else self.green.replicas
        for owner, count in targets.items():
            own = [pod for pod in self.pods.values() if pod.owner == owner and pod.gone_at is None]
            for _ in range(count - len(own)):
                self._make(owner)
            ranked = sorted(
                own, key=lambda candidate: (candidate.ready, -candidate.created.timestamp(), candidate.name)
            )
            for pod in ranked[: max(len(own) - count, 0)]:
                self.end(pod)

    def _make(self, owner: str) -> None:
        fingerprint = owner.rpartition("-")[2]
        delay = self.kinds[fingerprint].delay
        self.made += 1
        name = f"pod-{self.made}"
        ready_at = None if delay is None else self.now + timedelta(seconds=delay)
        gated = self.kinds[fingerprint].gate is not None
        created = self.now.replace(microsecond=0)
        self.pods[name] = ModelPod(name, fingerprint, owner, created, ready_at, gated=gated, gate_open=gated)

    def kubelets(self) -> None:
        for pod in list(self.pods.values()):
            if pod.gone_at is not None and self.now >= pod.gone_at:
                del self.pods[pod.name]
            elif pod.ready_at is not None and self.now >= pod.ready_at and not pod.containers_ready:
                pod.containers_ready = True
        if self.green is not None and self.green.deleting and not any(pod.green for pod in self.pods.values()):
            self.green = None

    def load_balancer(self) -> None:
        """Answers readiness gates only of pods that the Service selects, and late."""
        service = self.service()
        for pod in self.pods.values():
            if not pod.gated:
                continue
            if not service.selects(self.view(pod).labels):
                pod.answered_at, pod.gate_open = None, True
            elif pod.answered_at is None:
                pod.answered_at = self.now + timedelta(seconds=self.kinds[pod.fingerprint].gate or 0)
            pod.gate_open = pod.answered_at is None or self.now < pod.answered_at

    def endpoints(self) -> None:
        service = self.service()
        views = [self.view(pod) for pod in self.pods.values()]
        self.slices = tuple(make_endpoint(pod) for pod in views if service.selects(pod.labels))
        self.met |= {pod.fingerprint for pod in self.pods.values() if self._listed(pod)}

    def _listed(self, pod: ModelPod) -> bool:
        return any(endpoint.counts and endpoint.pod_name == pod.name for endpoint in self.slices)

    def end(self, pod: ModelPod, after: timedelta = TERMINATION) -> None:
        pod.gone_at = pod.gone_at or self.now + after
        pod.version += 1

    # People and faults.

    def change(self, name: str, kind: Kind) -> None:
        """Changes to another template; a known name is the same template again."""
        self.kinds.setdefault(name, kind)
        if self.wanted != name:
            self.wanted = name
            self.generation += 1
            self.version += 1

    def scale(self, replicas: int) -> None:
        if self.replicas != replicas:
            self.replicas = replicas
            self.generation += 1
            self.version += 1

    def unpin(self) -> None:
        """Removes the pin: somebody applies the Service again."""
        self.pin = ""
        self.service_version += 1

    def undo(self) -> None:
        """The patch of `kubectl rollout undo`: template and annotations of the last revision, whatever is paused."""
        others = [name for name in self.desired if name != self.wanted and name in self.revisions]
        if not others:
            return
        self.wanted = max(others, key=lambda name: self.revisions[name])
        self.notes = dict(self.carried.get(self.wanted, {}))
        self.generation += 1
        self.version += 1

    def drift(self) -> None:
        """A later API server defaults one more field: every template is shown with it, and nothing was written."""
        self.drifts += 1

    def resume(self) -> None:
        self.held = False
        self.paused = False
        self.generation += 1
        self.version += 1

    def die(self, index: int) -> None:
        if self.pods:
            self.end(list(self.pods.values())[index % len(self.pods)], after=timedelta())

    def ask(self, request: str, value: str) -> None:
        self.annotations[request_annotation(request)] = value
        self.resource_version += 1

    # Views for the operator.

    def service(self) -> Service:
        selector = LABELS | ({"pod-template-hash": self.pin} if self.pin else {})
        return make_service(selector=selector, pinned=bool(self.pin), resource_version=str(self.service_version))

    def view(self, pod: ModelPod) -> Pod:
        labels = (GREEN_LABELS if pod.green else LABELS) | {"pod-template-hash": f"h-{pod.owner}"}
        return make_pod(
            pod.name,
            ready=pod.ready and pod.gone_at is None,
            open_gates=("lb.example/healthy",) if pod.gate_open else (),
            awaits_gates=pod.gate_open and pod.containers_ready and pod.gone_at is None,
            containers_ready_since=pod.ready_at if pod.containers_ready else None,
            labels=labels,
            created=pod.created,
            deleting=pod.gone_at is not None,
            resource_version=str(pod.version),
            owner_uid=f"uid-{pod.owner}",
        )

    def shown(self, name: str) -> str:
        """Fingerprint of the template of this name as it is read now."""
        return f"{name}+{self.drifts}" if self.drifts else name

    def template(self, name: str, labels: Any = LABELS) -> Template:
        container = make_container(image=f"shop:{name}")
        return Template(labels=labels, containers=(container,), fingerprint=self.shown(name))

    def workload(self) -> Workload:
        own = [pod for pod in self.pods.values() if not pod.green and pod.gone_at is None]
        return make_workload(
            replicas=self.replicas,
            generation=self.generation,
            observed_generation=self.observed,
            resource_version=str(self.version),
            current=len(own),
            updated=sum(pod.owner == self.wanted for pod in own),
            available=sum(pod.ready for pod in own),
            paused=self.paused,
            paused_by_operator=self.paused and self.held,
            template=self.template(self.wanted),
            labels={LABEL_MANAGED: "true"},
            annotations={ANNOTATION_CLAIM: f"{KEY.name}/resource-uid"} | self.notes,
        )

    def green_view(self) -> Green | None:
        green = self.green
        if green is None:
            return None
        pods = tuple(self.view(pod) for pod in self.pods.values() if pod.owner == green.owner)
        ready = sum(pod.available for pod in pods)
        workload = make_workload(
            replicas=green.replicas,
            uid=f"green-{green.number}",
            resource_version=str(green.version),
            name="checkout-green",
            template=self.template(green.fingerprint, GREEN_LABELS),
            available=ready,
        )
        known = f"h-{green.owner}" if pods or green.grown else ""
        step = green.step if green.readable == "all" else ReleaseStep.PREPARING
        towards = Colour.GREEN if green.readable == "nothing" else green.towards
        view = Green(workload, known, pods, step, towards, green.since, green.started, 0, green.deleting)
        return replace(view, is_step_known=green.readable == "all")

    def resource(self) -> Resource:
        return make_resource(
            self.spec,
            status=self.status,
            annotations=dict(self.annotations),
            resource_version=str(self.resource_version),
        )

    def observe(self) -> Observation:
        workload, sets = self.workload(), self._sets()
        kept = held.serving_template(workload, sets) if self.paused else ""
        kept = kept or workload.template.fingerprint
        sets = tuple(replace(made, is_current=made.fingerprint == kept) for made in sets)
        pods = tuple(self.view(pod) for pod in self.pods.values() if not pod.green)
        scaler = self.scaler or (Autoscaler("hpa", 1) if self.autoscaled else None)
        return Observation(
            workload=workload,
            services=(self.service(),),
            endpoints=self.slices,
            pods=PodsView(pods, sets, green=self.green_view(), autoscaler=scaler),
            checks=self._checks(),
        )

    def _sets(self) -> tuple[ReplicaSet, ...]:
        return tuple(
            ReplicaSet(
                f"rs-{name}", f"uid-{name}", f"h-{name}", count, False, self.shown(name), {"app": f"shop:{name}"}
            )
            for name, count in self.desired.items()
        )

    def _checks(self) -> dict[str, CheckState]:
        """The gate's check at every pod: it passes from readiness on, unless the template is a bad one."""
        live = [pod for pod in self.pods.values() if pod.containers_ready and pod.gone_at is None]
        states = {
            f"uid-{pod.name}": HealthState.UNHEALTHY if self.kinds[pod.fingerprint].bad else HealthState.HEALTHY
            for pod in live
            if self.green is not None and self._is_candidate(pod)
        }
        if not states:
            return {}
        worst = HealthState.UNHEALTHY if HealthState.UNHEALTHY in states.values() else HealthState.HEALTHY
        since = max(pod.ready_at or self.now for pod in live)
        return {
            gates.PREFIX + "ready": CheckState(
                "ready", worst, "Said", "said so", since, 0.01, states, settled_since=since
            )
        }

    def _is_candidate(self, pod: ModelPod) -> bool:
        assert self.green is not None
        return pod.green if self.green.towards is Colour.GREEN else not pod.green

    def serving(self) -> int:
        """Pods that clients reach: ready, selected and listed."""
        service = self.service()
        return sum(
            pod.ready and pod.gone_at is None and self._listed(pod) and service.selects(self.view(pod).labels)
            for pod in self.pods.values()
        )

    @property
    def resting(self) -> bool:
        """Nothing of a release is left."""
        return self.green is None and not self.pin


@dataclass(slots=True)
class ReleaseCluster:
    """The writes of `ports.RolloutWriter`, with their preconditions."""

    model: ReleaseModel
    before_write: Any = None

    def _write(self) -> None:
        if self.before_write is not None:
            self.before_write()

    def _target(self, workload: Workload) -> None:
        self._write()
        if workload.resource_version != str(self.model.version):
            raise Conflict("the target changed")
        self.model.version += 1

    def _green(self, green: Green) -> ModelGreen:
        self._write()
        current = self.model.green
        if current is None or f"green-{current.number}" != green.workload.uid:
            raise Conflict("green is another one")
        if str(current.version) != green.workload.resource_version:
            raise Conflict("green changed")
        current.version += 1
        return current

    async def hold(self, workload: Workload, *, serving: str) -> None:
        self._target(workload)
        self.model.notes[ANNOTATION_SERVING] = serving
        self.model.paused = self.model.held = True

    async def resume(self, workload: Workload, action: Resume) -> None:
        self._target(workload)
        self.model.paused = action.stay_paused
        self.model.held = self.model.held and action.stay_paused
        self.model.generation += 1
        if action.give_back:
            self.model.notes.pop(ANNOTATION_SERVING, None)

    async def annotate_failed(self, workload: Workload, *, fingerprint: str) -> None:
        self._write()
        self.model.version += 1
        self.model.notes.pop(ANNOTATION_FAILED, None)
        if fingerprint:
            self.model.notes[ANNOTATION_FAILED] = fingerprint

    async def annotate_left(self, workload: Workload, *, reason: str) -> None:
        self._write()

    async def scale_target(self, workload: Workload, *, replicas: int) -> None:
        self._target(workload)
        self.model.scale(replicas)

    async def limit_autoscaler(self, autoscaler: Autoscaler, *, namespace: str, limited: bool) -> None:
        self._write()
        if autoscaler != self.model.scaler:
            raise Conflict("the autoscaler changed")
        before = autoscaler.scale_up if limited else None
        policy = SCALING_UP_OFF if limited else autoscaler.scale_up_before or ""
        self.model.scaler = replace(autoscaler, scale_up=policy, scale_up_before=before)

    async def empty_replica_set(self, workload: Workload, replica_set: ReplicaSet) -> None:
        self._write()
        self.model.desired[replica_set.fingerprint] = 0

    async def create_green(self, workload: Workload, action: CreateGreen) -> None:
        self._write()
        if workload.template.fingerprint != self.model.shown(self.model.wanted) or self.model.green is not None:
            raise Conflict("the template changed")
        self.model.greens += 1
        self.model.green = ModelGreen(
            self.model.wanted,
            action.replicas,
            ReleaseStep.PREPARING,
            Colour.GREEN,
            action.at,
            action.at,
            self.model.greens,
        )

    async def scale_green(self, green: Green, *, replicas: int) -> None:
        self._green(green).replicas = replicas

    async def advance_green(self, green: Green, action: AdvanceGreen) -> None:
        current = self._green(green)
        current.step, current.towards, current.since = action.step, action.towards, action.at
        current.readable = "all"
        current.replicas = current.replicas if action.replicas is None else action.replicas

    async def delete_green(self, green: Green) -> None:
        current = self._green(green)
        if current.deleting:
            # Deleted in the background now: the garbage collector ends its pods.
            for pod in self.model.pods.values():
                if pod.green and pod.gone_at is None:
                    self.model.end(pod)
            self.model.green = None
        current.deleting = True

    async def route(self, service: Service, *, template_hash: str) -> None:
        self._write()
        if service.resource_version != str(self.model.service_version):
            raise Conflict("the Service changed")
        self.model.service_version += 1
        self.model.pin = template_hash
