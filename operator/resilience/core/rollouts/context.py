"""What a step of a blue-green release looks at: the two colours, where traffic goes, and who lags behind.

Colours are told apart by the hash that Deployments put on their pods; templates are compared by fingerprint, never by
size or age.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from resilience.api.names import ANNOTATION_FAILED, ANNOTATION_SERVING, LABEL_TEMPLATE_HASH
from resilience.api.reasons import Colour, ReleaseStep, Request
from resilience.api.status import Effective, Status
from resilience.api.v1alpha1 import BlueGreen, ResilientServiceSpec
from resilience.core.failures.classify import Failure
from resilience.core.model import requests
from resilience.core.model.context import Context
from resilience.core.model.decision import Action
from resilience.core.model.observation import Green, Observation, Pod, PodsView, Resource
from resilience.core.model.service import Service
from resilience.core.model.workload import ReplicaSet, Workload


@dataclass(frozen=True, slots=True)
class Move:
    """Outcome of looking at a release."""

    actions: tuple[Action, ...] = ()
    waiting: str = ""
    wait: timedelta | None = None
    # A failure that was found in this pass; it is noted before anything is undone.
    failure: Failure | None = None
    # Whether only a person's word is missing.
    awaits_promotion: bool = False
    # Services whose pin somebody took away.
    pins_lost: tuple[str, ...] = ()
    # Share of the step that is done, 0 to 1, where that is known.
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class RolloutContext:
    """All that a rollout decides from. `leaving`: the workload is to be given back."""

    base: Context
    view: PodsView
    leaving: bool = False
    # Managed fields are about to be written into the template.
    writing: bool = False

    @property
    def resource(self) -> Resource:
        """As in the pass."""
        return self.base.resource

    @property
    def spec(self) -> ResilientServiceSpec:
        """As in the pass."""
        return self.base.spec

    @property
    def effective(self) -> Effective:
        """As in the pass."""
        return self.base.effective

    @property
    def observation(self) -> Observation:
        """As in the pass."""
        return self.base.observation

    @property
    def workload(self) -> Workload:
        """As in the pass."""
        return self.base.workload

    @property
    def status(self) -> Status:
        """As in the pass."""
        return self.base.status

    @property
    def now(self) -> datetime:
        """As in the pass."""
        return self.base.now

    @property
    def settings(self) -> BlueGreen:
        """The blue-green settings of the spec, or their defaults."""
        return self.spec.rollout.blue_green or BlueGreen()

    @property
    def green(self) -> Green:
        """Green; only asked for where it exists."""
        assert self.view.green is not None
        return self.view.green

    @property
    def services(self) -> tuple[Service, ...]:
        """The Services that a release pins and switches."""
        return self.observation.selecting

    @property
    def held(self) -> bool:
        """Whether the target is paused by us."""
        return ANNOTATION_SERVING in self.workload.annotations

    @property
    def serving(self) -> str:
        """Fingerprint of the template that the target's own pods serve with."""
        return self.workload.annotations.get(ANNOTATION_SERVING, "")

    @property
    def wanted(self) -> str:
        """Fingerprint of the template that the user wants."""
        return self.workload.template.fingerprint

    @property
    def blue(self) -> ReplicaSet | None:
        """The target's own ReplicaSet that serves or, while it hops back, is going to."""
        hopping = (
            self.view.green is not None
            and self.green.towards is Colour.BLUE
            and self.green.step is ReleaseStep.PREPARING
        )
        fingerprint = self.wanted if hopping else self.serving
        return next((each for each in self.view.replica_sets if each.fingerprint == fingerprint), None)

    @property
    def home_candidate(self) -> bool:
        """Whether the target's own pods get a template that green does not serve with: then it is checked first."""
        return self.view.green is not None and self.green.workload.template.fingerprint != (
            self.wanted if self.green.step is ReleaseStep.PREPARING else self.serving
        )

    def failed(self, fingerprint: str) -> bool:
        """Whether this template failed and is not to be tried again."""
        return bool(fingerprint) and self.workload.annotations.get(ANNOTATION_FAILED) == fingerprint

    def asked(self, request: Request) -> bool:
        """Whether a person's request waits."""
        return requests.pending(self.resource.annotations, self.status, request) is not None

    def aborted(self, fingerprint: str) -> bool:
        """Whether a person asked to stop the release of this template; one that came meanwhile is another release."""
        rollout = self.status.rollout
        return rollout.aborted and rollout.candidate is not None and rollout.candidate.hash == fingerprint

    def hash_of(self, colour: Colour) -> str:
        """What Services are pinned to for this colour; empty when it has no pods yet."""
        if colour is Colour.GREEN:
            return self.view.green.template_hash if self.view.green is not None else ""
        return self.blue.template_hash if self.blue is not None else ""

    def pods_of(self, colour: Colour) -> tuple[Pod, ...]:
        """The colour's pods that are not ending."""
        pods = self.view.green.pods if colour is Colour.GREEN and self.view.green is not None else ()
        if colour is Colour.BLUE:
            pods = tuple(pod for pod in self.view.pods if pod.labels.get(LABEL_TEMPLATE_HASH) == self.hash_of(colour))
        return tuple(pod for pod in pods if not pod.deleting)

    def available_pods(self, colour: Colour) -> tuple[Pod, ...]:
        """The colour's pods that could serve."""
        return tuple(pod for pod in self.pods_of(colour) if pod.available)

    def available(self, colour: Colour) -> int:
        """How many pods of the colour could serve."""
        return len(self.available_pods(colour))

    def leading_to(self, colour: Colour) -> tuple[Service, ...]:
        """The Services that lead to pods like those of the colour when they are not pinned."""
        pods = self.pods_of(colour)
        return tuple(each for each in self.services if any(each.concerns(pod.labels) for pod in pods))

    def all_listed(self, colour: Colour) -> bool:
        """Whether every available pod of the colour gets new connections from all its Services."""
        listed = {(each.service, each.pod_uid) for each in self.observation.endpoints if each.counts}
        ready = self.available_pods(colour)
        return bool(ready) and all(
            (service.name, pod.uid) in listed
            for pod in ready
            for service in self.services
            if service.concerns(pod.labels)
        )

    def any_listed(self, colour: Colour) -> bool:
        """Whether a pod of the colour gets new connections."""
        if colour is Colour.GREEN:
            uids = {pod.uid for pod in self.green.pods}
        else:
            greens = {pod.uid for pod in self.view.green.pods} if self.view.green is not None else set()
            uids = {pod.uid for pod in self.view.pods} - greens
        return any(each.counts and each.pod_uid in uids for each in self.observation.endpoints)

    @property
    def full_size(self) -> int:
        """How many pods a colour needs to take over: what is wanted, or what serves now if that is more.

        Replicas that people or an autoscaler set meanwhile are followed, upwards.
        """
        own = self.pods_of(Colour.BLUE) if self.green.towards is Colour.GREEN else self.pods_of(Colour.GREEN)
        serves = sum(pod.available for pod in own)
        return max(self.workload.replicas, serves if self.view.autoscaler is not None else 0, 1)

    def left(self, span: timedelta) -> timedelta | None:
        """Time left of a span that began with the step; None when it is over."""
        left = self.green.since + span - self.now
        return left if left > timedelta() else None
