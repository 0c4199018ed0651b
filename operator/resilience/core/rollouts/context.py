"""The facts behind each step of a blue-green rollout: the two colours, the routes of traffic, and pods that lag behind.

The hash that Deployments put on their pods distinguishes the colours. Templates are compared by fingerprint, never by
size or age.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from resilience.api.names import ANNOTATION_FAILED, ANNOTATION_SERVING, LABEL_TEMPLATE_HASH
from resilience.api.reasons import Colour, ReleaseStep, Request
from resilience.api.v1alpha1 import BlueGreen
from resilience.core.failures import stuck_pods
from resilience.core.failures.classify import Failure
from resilience.core.model import held, requests, wrong_parts
from resilience.core.model.context import PartContext
from resilience.core.model.decision import Action
from resilience.core.model.observation import Green, Pod, PodsView
from resilience.core.model.service import Service
from resilience.core.model.workload import ReplicaSet
from resilience.core.replacement import availability

# Steps at which a candidate has no clients.
BEFORE_TRAFFIC: Final = (ReleaseStep.PREPARING, ReleaseStep.SCALING)


@dataclass(frozen=True, slots=True)
class Move:
    """Outcome of one pass over a rollout."""

    actions: tuple[Action, ...] = ()
    waiting: str = ""
    wait: timedelta | None = None
    # A failure that was observed in this pass; it is recorded before anything is undone.
    failure: Failure | None = None
    # True when only a person's promotion is missing.
    awaits_promotion: bool = False
    # Services whose pin somebody removed.
    pins_lost: tuple[str, ...] = ()
    # Share of the step that is done, 0 to 1, if it is known.
    share: float = 0.0
    # It has waited in one place for longer than that may take.
    is_overdue: bool = False


@dataclass(frozen=True, slots=True)
class RolloutContext(PartContext):
    """The facts that a rollout is decided from. `leaving`: the workload is to be handed back."""

    view: PodsView
    leaving: bool = False
    # Managed fields are about to be written into the template.
    writing: bool = False

    @property
    def settings(self) -> BlueGreen:
        """The blue-green settings of the spec, or their defaults."""
        return self.spec.rollout.blue_green or BlueGreen()

    @property
    def unread(self) -> str:
        """The reason for which no rollout begins: settings that cannot be read; empty when they can be."""
        return wrong_parts.lacks(self.resource, "rollout")

    @property
    def unread_checks(self) -> frozenset[str]:
        """Names of the checks that cannot be read, so no gate can ask for them."""
        return wrong_parts.left_out(self.resource, "health")

    @property
    def green(self) -> Green:
        """Green. Callers use it only where green exists."""
        assert self.view.green is not None
        return self.view.green

    @property
    def services(self) -> tuple[Service, ...]:
        """The Services that a rollout pins and switches."""
        return self.observation.selecting

    @property
    def is_adopted(self) -> bool:
        """The operator has paused the target for blue-green and has not handed it back."""
        return held.is_held(self.workload)

    @property
    def noted(self) -> str:
        """Fingerprint that is recorded on the target as the one that serves; empty when none is."""
        return self.workload.annotations.get(ANNOTATION_SERVING, "")

    @property
    def serving(self) -> str:
        """Fingerprint of the template that the target's own pods serve with, or did until green took over."""
        if self.noted and self.is_preparing_blue:
            # Green serves. The target's own pods are about to become others.
            return self.noted
        # While green exists, status names the version that clients reach, which may be green's.
        version = self.status.rollout.serving if self.view.green is None else None
        known = version.hash if version is not None else ""
        return held.serving_template(self.workload, self.view.replica_sets, known=known)

    @property
    def wanted(self) -> str:
        """Fingerprint of the template that the user wants."""
        return self.workload.template.fingerprint

    @property
    def blue(self) -> ReplicaSet | None:
        """The target's own ReplicaSet that serves or, while blue is prepared, is going to serve; or None."""
        fingerprint = self.wanted if self.is_preparing_blue else self.serving
        matching = [replica_set for replica_set in self.view.replica_sets if replica_set.fingerprint == fingerprint]
        # Templates that differed become equal when a later API server defaults the difference: pods decide.
        return max(matching, key=lambda replica_set: replica_set.replicas, default=None)

    @property
    def is_preparing_blue(self) -> bool:
        """Green serves, and the target's own pods get its template, or a newer one, without traffic."""
        green = self.view.green
        return green is not None and green.towards is Colour.BLUE and green.step is ReleaseStep.PREPARING

    @property
    def blue_is_candidate(self) -> bool:
        """The target's own pods get a template that green does not serve with, so it is checked first."""
        return self.view.green is not None and self.green.workload.template.fingerprint != (
            self.wanted if self.green.step is ReleaseStep.PREPARING else self.serving
        )

    def image_of(self, fingerprint: str) -> str:
        """Image of the main container of the template with this fingerprint; empty when no ReplicaSet has it."""
        if fingerprint == self.wanted:
            return self.workload.template.image(self.spec.container)
        images = next((known.images for known in self.view.replica_sets if known.fingerprint == fingerprint), {})
        return images.get(self.spec.container or "", next(iter(images.values()), ""))

    def failed(self, fingerprint: str) -> bool:
        """This template failed and is not to be tried again."""
        return bool(fingerprint) and self.workload.annotations.get(ANNOTATION_FAILED) == fingerprint

    def is_requested(self, request: Request) -> bool:
        """A person's request is pending."""
        return requests.pending(self.resource.annotations, self.status, request) is not None

    def aborted(self, fingerprint: str) -> bool:
        """A person asked to stop the rollout of this template; a template that came meanwhile is another rollout."""
        rollout = self.status.rollout
        return rollout.aborted and rollout.candidate is not None and rollout.candidate.hash == fingerprint

    def hash_of(self, colour: Colour) -> str:
        """The hash that Services are pinned to for this colour; empty when it has no pods yet."""
        if colour is Colour.GREEN:
            return self.view.green.template_hash if self.view.green is not None else ""
        return self.blue.template_hash if self.blue is not None else ""

    def pods_of(self, colour: Colour) -> tuple[Pod, ...]:
        """The colour's pods that are not being deleted."""
        pods = self.view.green.pods if colour is Colour.GREEN and self.view.green is not None else ()
        if colour is Colour.BLUE:
            pods = tuple(pod for pod in self.view.pods if pod.labels.get(LABEL_TEMPLATE_HASH) == self.hash_of(colour))
        return tuple(pod for pod in pods if not pod.deleting)

    @property
    def being_replaced(self) -> tuple[Pod, ...]:
        """Pods whose replacement something has to wait for."""
        return tuple(pod for pod in self.view.pods if pod.step is not None and not self.is_out(pod))

    def is_out(self, pod: Pod) -> bool:
        """The pod is ending and in no Service, or does not end, so nothing waits for it."""
        return availability.is_out(self.observation, pod) or stuck_pods.is_stuck(pod, self.now)

    def available_pods(self, colour: Colour) -> tuple[Pod, ...]:
        """The colour's pods that can serve."""
        return tuple(pod for pod in self.pods_of(colour) if pod.available)

    def available(self, colour: Colour) -> int:
        """Number of the colour's pods that can serve."""
        return len(self.available_pods(colour))

    def able(self, colour: Colour) -> int:
        """Number of the colour's pods that can serve, or that only their readiness gates keep from it."""
        return sum(pod.available or pod.awaits_gates for pod in self.pods_of(colour))

    def usable_pods(self, colour: Colour) -> tuple[Pod, ...]:
        """The colour's pods that can serve as far as can be known at this step.

        A load balancer sets a pod's readiness gate only when a Service lists the pod, so the gate of a pod that no
        Service selects is not waited for.
        """
        return tuple(pod for pod in self.pods_of(colour) if pod.available or self.is_gated_outside(pod))

    def usable(self, colour: Colour) -> int:
        """Number of the colour's pods that can serve as far as can be known at this step."""
        return len(self.usable_pods(colour))

    def is_gated_outside(self, pod: Pod) -> bool:
        """Only its readiness gates keep the pod from serving, and no Service selects it."""
        return pod.awaits_gates and not any(service.selects(pod.labels) for service in self.services)

    def leading_to(self, colour: Colour) -> tuple[Service, ...]:
        """The Services that select the colour's pods when they are not pinned."""
        pods = self.pods_of(colour)
        return tuple(service for service in self.services if any(service.concerns(pod.labels) for pod in pods))

    def all_listed(self, colour: Colour) -> bool:
        """Every available pod of the colour gets new connections from all its Services, and there is such a pod."""
        pods = self.available_pods(colour)
        return bool(pods) and all(
            self.observation.lists(service, pod)
            for pod in pods
            for service in self.services
            if service.concerns(pod.labels)
        )

    def any_listed(self, colour: Colour) -> bool:
        """A pod of the colour gets new connections."""
        if colour is Colour.GREEN:
            uids = {pod.uid for pod in self.green.pods}
        else:
            green_uids = {pod.uid for pod in self.view.green.pods} if self.view.green is not None else set()
            uids = {pod.uid for pod in self.view.pods} - green_uids
        return any(endpoint.counts and endpoint.pod_uid in uids for endpoint in self.observation.endpoints)

    @property
    def full_size(self) -> int:
        """Number of pods that a colour needs to take over: what is wanted, or what serves if that is more.

        What serves counts only with an autoscaler. The number is at least 1. Replicas that people or an autoscaler set
        meanwhile are followed, upwards.
        """
        serving_pods = self.pods_of(Colour.BLUE) if self.green.towards is Colour.GREEN else self.pods_of(Colour.GREEN)
        serving_count = sum(pod.available for pod in serving_pods)
        return max(self.workload.replicas, serving_count if self.view.autoscaler is not None else 0, 1)

    def left(self, span: timedelta) -> timedelta | None:
        """Time left of a span that began with the step; None when it is over."""
        remaining = self.green.since + span - self.now
        return remaining if remaining > timedelta() else None
