"""Reads everything that one decision needs, at once and bounded. A read that fails ends the pass without a decision."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from resilience.api.checks import Scope
from resilience.api.names import ANNOTATION_CLAIM
from resilience.api.reasons import ReplaceStep
from resilience.core.health import targets
from resilience.core.model.api_refusal import ApiRefusal
from resilience.core.model.flags import FlagsMap
from resilience.core.model.observation import Observation, PodsView, Resource
from resilience.core.model.service import Service
from resilience.core.model.workload import Workload
from resilience.core.ownership.remains import completed
from resilience.core.read_depth import Depth, includes_green, read_depth
from resilience.core.report.phase import is_down
from resilience.core.rollouts import drain
from resilience.ports import ApiOutage, Conflict, Drainer, Unavailable
from resilience.ports.cluster import Cluster
from resilience.runtime.service_state import ServiceState


class Observer:
    """Makes Observations.

    `refused` is true for namespaces that the operator must not touch; `finalizers`: resources get one.
    """

    def __init__(
        self,
        *,
        cluster: Cluster,
        drainer: Drainer,
        state: ServiceState,
        calm: ApiOutage,
        refused: Callable[[str], bool],
        finalizers: bool = True,
    ) -> None:
        self._cluster = cluster
        self._drainer = drainer
        self._state = state
        self._calm = calm
        self._refused = refused
        self._finalizers = finalizers
        # Namespaces that may be ending; every pass over one of their resources begins with that question.
        self._suspected: set[str] = set()

    def suspect(self, namespace: str) -> None:
        """A request was refused there: the namespace may be ending, and the operator's rights in it gone."""
        self._suspected.add(namespace)

    async def observe(
        self, resource: Resource, *, thorough: bool = False, refusal: ApiRefusal | None = None
    ) -> Observation:
        """The observation of `_around`, and who is notified of alerts.

        Raises:
            PortError: something could not be read.
        """
        observation = await self._around(resource, thorough=thorough, refusal=refusal)
        alerting = self._state.alerts.alerting(resource)
        return replace(observation, alerting=alerting, with_finalizer=self._finalizers)

    async def _around(self, resource: Resource, *, thorough: bool, refusal: ApiRefusal | None) -> Observation:
        """Everything around the resource; pods are read when work is under way, or when `thorough`.

        Raises:
            PortError: something could not be read.
        """
        namespace = resource.key.namespace
        if self._refused(namespace):
            return Observation(workload=None, namespace_refused=True)
        if resource.deleting_since is not None:
            return await self._leaving(resource, thorough=thorough, refusal=refusal)
        if not self._state.store.has_place(resource.key):
            return Observation(workload=None, too_many=self._state.store.most)
        if resource.spec is None:
            return Observation(workload=None)
        if namespace in self._suspected and await self._is_ending(namespace):
            return Observation(workload=None, namespace_ending=True)
        workload = await self._target(resource)
        # A namespace's pods end before its resources: nobody is told of that, and nothing is put right.
        if (workload is None or is_down(workload)) and await self._is_ending(namespace):
            return Observation(workload=None, namespace_ending=True)
        if workload is None:
            return Observation(workload=None)
        if workload.annotations.get(ANNOTATION_CLAIM) != resource.claim and not self._state.store.listed:
            raise Conflict("not all resources are listed yet: nobody knows whether this one is among the oldest")
        taken_by = await self._taken_by(resource, workload)
        if taken_by:
            return Observation(workload=workload, taken_by=taken_by)
        return await self._of_workload(resource, workload, thorough=thorough, refusal=refusal)

    async def _leaving(self, resource: Resource, *, thorough: bool, refusal: ApiRefusal | None) -> Observation:
        """Everything around a workload that the resource has to hand back, whether or not its spec can be read."""
        namespace = resource.key.namespace
        if await self._is_ending(namespace):
            return Observation(workload=None, namespace_ending=True)
        every_claim, target = await asyncio.gather(self._cluster.claimed(namespace=namespace), self._target(resource))
        claimed = [one for one in every_claim if one.annotations[ANNOTATION_CLAIM] == resource.claim]
        workload = next((one for one in claimed if target is not None and one.uid == target.uid), None)
        workload = workload or next(iter(claimed), target)
        if workload is None:
            return Observation(workload=None, abandoned=await self._abandoned(namespace, every_claim))
        observation = await self._of_workload(
            completed(resource, workload), workload, thorough=thorough, refusal=refusal
        )
        return replace(observation, more_claimed=len(claimed) > 1)

    async def _is_ending(self, namespace: str) -> bool:
        is_ending = await self._cluster.namespace_ending(namespace)
        if not is_ending:
            self._suspected.discard(namespace)
        return is_ending

    async def _target(self, resource: Resource) -> Workload | None:
        ref, namespace = resource.target_ref, resource.key.namespace
        return None if ref is None else await self._cluster.workload(kind=ref.kind, namespace=namespace, name=ref.name)

    async def _abandoned(self, namespace: str, claimed: Sequence[Workload]) -> tuple[Service, ...]:
        """Services with our pin that select the pods of no claimed workload: the one that they led to is gone."""
        services = await self._cluster.services(namespace)
        if any(service.unread for service in services):
            raise Unavailable("a Service cannot be read: it may have a pin of ours")
        return tuple(
            service
            for service in services
            if service.pin
            and not service.preview_of
            and not any(service.concerns(workload.template.labels) for workload in claimed)
        )

    async def _of_workload(
        self, resource: Resource, workload: Workload, *, thorough: bool, refusal: ApiRefusal | None
    ) -> Observation:
        is_unclaimed = workload.annotations.get(ANNOTATION_CLAIM) != resource.claim
        depth = read_depth(resource, workload)
        observation = self._known(workload)
        is_unknown = (
            is_unclaimed or not self._watched(resource) or (_checks_pods(resource) and not observation.selecting)
        )
        if thorough or is_unknown or depth is Depth.LIMITS:
            observation = await self._afresh(resource, workload)
        elif depth is Depth.PODS:
            observation = self._known(workload, await self._pods(resource, workload, limits=False))
        return replace(
            observation,
            checks=self._state.checks.states(resource.key),
            traffic=self._state.traffic.result(resource.key),
            unsettled=self._calm.left(),
            refusal=refusal,
            turn=self._state.turns.turn(resource.key),
            flags_map=await self._flags_map(resource),
            replays=self._state.replays.of(resource.key),
        )

    async def _flags_map(self, resource: Resource) -> FlagsMap | None:
        """The ConfigMap from the watch, else from the API: somebody else's has no label of ours, and is in no watch."""
        shown = self._state.store.flags_map(resource.key)
        wanted = resource.spec is not None and (resource.spec.degradation.flags or resource.status.flags is not None)
        return shown if shown is not None or not wanted else await self._cluster.flags_map(resource.key)

    def _watched(self, resource: Resource) -> bool:
        """The watches have shown the Service of the spec; until then their silence proves nothing."""
        spec = resource.spec
        return (
            spec is None or spec.service is None or self._state.store.shows(resource.key.namespace, spec.service.name)
        )

    def _known(self, workload: Workload, pods: PodsView | None = None) -> Observation:
        """An observation with these pods, from the watches alone: no request."""
        observation = Observation(workload=workload, services=self._state.store.services(workload.namespace), pods=pods)
        names = [service.name for service in observation.selecting]
        return replace(observation, endpoints=self._state.store.endpoints(workload.namespace, names))

    async def _afresh(self, resource: Resource, workload: Workload) -> Observation:
        """An observation from the API: pods first, endpoints later, so that no pod that is gone seems to serve."""
        services, view = await asyncio.gather(
            self._cluster.services(workload.namespace), self._pods(resource, workload, limits=True)
        )
        observation = Observation(workload=workload, services=tuple(services), pods=view)
        _require_read(resource, observation)
        names = [service.name for service in observation.selecting]
        endpoints = await self._cluster.endpoints(namespace=workload.namespace, services=names)
        return replace(observation, endpoints=tuple(endpoints))

    async def _pods(self, resource: Resource, workload: Workload, *, limits: bool) -> PodsView:
        with_green = includes_green(resource, workload)
        view = await self._cluster.pods_view(workload, releases=with_green, limits=limits)
        view = await self._with_connections(resource, view)
        return replace(view, container_restarts=self._state.restarts.observe(resource.key, view.pods))

    async def _with_connections(self, resource: Resource, view: PodsView) -> PodsView:
        """The view with the connection counts of the pods that are about to go, as those pods report them."""
        if resource.spec is None:
            return view
        requests = {}
        leaving = [pod for pod in view.pods if pod.step in (ReplaceStep.LEFT, ReplaceStep.DRAINING)]
        for pod in (*leaving, *drain.draining_pods(view)):
            target = targets.connections_target(resource.spec, pod)
            if target is not None and not pod.deleting:
                requests[pod.uid] = self._drainer.connections(target)
        answers = await asyncio.gather(*requests.values())
        counts: Mapping[str, int | None] = dict(zip(requests, answers, strict=True))
        return replace(view, connections=counts)

    async def _taken_by(self, resource: Resource, workload: Workload) -> str:
        """Name of the older ResilientService that points at the same target; empty when there is none.

        The resource's own claim on the target saves listing the others: the claimant was the oldest when it was
        written.
        """
        claim = workload.annotations.get(ANNOTATION_CLAIM)
        if claim == resource.claim:
            return ""
        assert resource.spec is not None
        ref = resource.spec.target_ref

        def rival(other: Resource) -> Resource | None:
            # One that cannot be read any more still manages what it has claimed.
            is_at_work = other.spec is not None or claim == other.claim
            is_rival = other.uid != resource.uid and is_at_work and other.target_ref == ref
            # A resource that is being deleted gives up the target, unless it still has to hand it back.
            return other if is_rival and (other.deleting_since is None or claim == other.claim) else None

        listed = await self._cluster.resources(rival, namespace=resource.key.namespace)
        rivals = [other for other in listed if other is not None]
        oldest = min(rivals, key=lambda other: (other.created, other.uid), default=None)
        if oldest is None or (resource.created, resource.uid) < (oldest.created, oldest.uid):
            return ""
        return oldest.key.name


def _require_read(resource: Resource, observation: Observation) -> None:
    """Raises Unavailable when a Service that concerns the resource cannot be read: clients may be led anywhere."""
    named = resource.spec.service.name if resource.spec is not None and resource.spec.service is not None else ""
    own = [*observation.selecting, *(service for service in observation.services if service.name == named)]
    unread = next((service for service in own if service.unread), None)
    if unread is not None:
        raise Unavailable(f"Service {unread.name} cannot be read: {unread.unread}")


def _checks_pods(resource: Resource) -> bool:
    """Addresses of pods are needed; no watch has those of a target without a Service."""
    return resource.spec is not None and any(check.scope is Scope.POD for check in resource.spec.health.checks)
