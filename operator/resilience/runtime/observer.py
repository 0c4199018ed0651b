"""Reads what one decision needs, at once and bounded. A read that fails ends the pass: it decides nothing."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from resilience.api.checks import Scope
from resilience.api.names import ANNOTATION_CLAIM
from resilience.api.reasons import ReplaceStep
from resilience.core.health import targets
from resilience.core.model.observation import FlagsMap, Observation, PodsView, Resource
from resilience.core.model.workload import Workload
from resilience.core.read_depth import Depth, includes_green, read_depth
from resilience.core.rollouts import drain
from resilience.ports import Calm, Drainer
from resilience.ports.cluster import Cluster
from resilience.runtime.alerting.alert_index import AlertHub
from resilience.runtime.checking.check_runner import CheckRunner
from resilience.runtime.checking.traffic_meter import TrafficMeter
from resilience.runtime.container_restarts import RestartLog
from resilience.runtime.dead_letters import Replays
from resilience.runtime.fair_queue import StormControl
from resilience.runtime.store import Store


class Observer:
    """Makes Observations. `refused` tells which namespaces the operator must not touch."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        drainer: Drainer,
        store: Store,
        checks: CheckRunner,
        traffic: TrafficMeter,
        calm: Calm,
        storm: StormControl,
        restarts: RestartLog,
        replays: Replays,
        alerts: AlertHub,
        refused: Callable[[str], bool],
    ) -> None:
        self._cluster = cluster
        self._drainer = drainer
        self._store = store
        self._checks = checks
        self._traffic = traffic
        self._calm = calm
        self._storm = storm
        self._restarts = restarts
        self._replays = replays
        self._alerts = alerts
        self._refused = refused

    async def observe(self, resource: Resource, *, thorough: bool = False, refusal: str = "") -> Observation:
        """As `_around`, with what is known of who is told of alerts.

        Raises:
            PortError: something could not be read.
        """
        seen = await self._around(resource, thorough=thorough, refusal=refusal)
        return replace(seen, alerting=self._alerts.alerting(resource))

    async def _around(self, resource: Resource, *, thorough: bool, refusal: str) -> Observation:
        """What exists around the resource; pods are read when something goes on, or when `thorough`.

        Raises:
            PortError: something could not be read.
        """
        spec, namespace = resource.spec, resource.key.namespace
        if self._refused(namespace):
            return Observation(workload=None, namespace_refused=True)
        if spec is None:
            return Observation(workload=None)
        ref = spec.target_ref
        workload = await self._cluster.workload(kind=ref.kind, namespace=namespace, name=ref.name)
        if workload is None:
            return Observation(workload=None)
        taken_by = await self._taken_by(resource, workload)
        if taken_by and resource.deleting_since is None:
            return Observation(workload=workload, taken_by=taken_by)
        new = workload.annotations.get(ANNOTATION_CLAIM) != resource.claim
        depth = read_depth(resource, workload)
        seen = self._known(workload)
        unknown = new or not self._watched(resource) or (_checks_pods(resource) and not seen.selecting)
        if thorough or unknown or depth is Depth.LIMITS:
            seen = await self._afresh(resource, workload)
        elif depth is Depth.PODS:
            seen = self._known(workload, await self._pods(resource, workload, limits=False))
        return replace(
            seen,
            checks=self._checks.states(resource.key),
            traffic=self._traffic.result(resource.key),
            unsettled=self._calm.left(),
            refusal=refusal,
            turn=self._storm.turn(resource.key),
            flags_map=await self._flags_map(resource),
            replays=self._replays.of(resource.key),
        )

    async def _flags_map(self, resource: Resource) -> FlagsMap | None:
        """As the watch shows it; what it does not show may be somebody else's, who has no label of ours."""
        shown = self._store.flags_map(resource.key)
        wanted = resource.spec is not None and (resource.spec.degradation.flags or resource.status.flags is not None)
        return shown if shown is not None or not wanted else await self._cluster.flags_map(resource.key)

    def _watched(self, resource: Resource) -> bool:
        """Whether the watches have shown the Service of the spec; before they did, their silence says nothing."""
        spec = resource.spec
        return spec is None or spec.service is None or self._store.shows(resource.key.namespace, spec.service.name)

    def _known(self, workload: Workload, pods: PodsView | None = None) -> Observation:
        """Around these pods, from the watches alone: no request."""
        seen = Observation(workload=workload, services=self._store.services(workload.namespace), pods=pods)
        names = [service.name for service in seen.selecting]
        return replace(seen, endpoints=self._store.endpoints(workload.namespace, names))

    async def _afresh(self, resource: Resource, workload: Workload) -> Observation:
        """From the API: pods first, then where traffic may go to, so that no pod seems to serve that is gone."""
        found, view = await asyncio.gather(
            self._cluster.services(workload.namespace), self._pods(resource, workload, limits=True)
        )
        seen = Observation(workload=workload, services=tuple(found), pods=view)
        names = [service.name for service in seen.selecting]
        endpoints = await self._cluster.endpoints(namespace=workload.namespace, services=names)
        return replace(seen, endpoints=tuple(endpoints))

    async def _pods(self, resource: Resource, workload: Workload, *, limits: bool) -> PodsView:
        releases = includes_green(resource, workload)
        view = await self._cluster.pods_view(workload, releases=releases, limits=limits)
        view = await self._with_connections(resource, view)
        return replace(view, container_restarts=self._restarts.look(resource.key, view.pods))

    async def _with_connections(self, resource: Resource, view: PodsView) -> PodsView:
        """Asks the pods that are about to go for their connections."""
        if resource.spec is None:
            return view
        asked = {}
        leaving = [pod for pod in view.pods if pod.step in (ReplaceStep.LEFT, ReplaceStep.DRAINING)]
        for pod in (*leaving, *drain.audience(view)):
            target = targets.connections_target(resource.spec, pod)
            if target is not None and not pod.deleting:
                asked[pod.uid] = self._drainer.connections(target)
        answers = await asyncio.gather(*asked.values())
        counts: Mapping[str, int | None] = dict(zip(asked, answers, strict=True))
        return replace(view, connections=counts)

    async def _taken_by(self, resource: Resource, workload: Workload) -> str:
        """The older ResilientService that points at the same target; empty when there is none.

        The claim on the target saves the look at the others: whoever has it was the oldest when it was written.
        """
        claim = workload.annotations.get(ANNOTATION_CLAIM)
        if claim == resource.claim:
            return ""
        assert resource.spec is not None
        ref = resource.spec.target_ref

        def rival(other: Resource) -> Resource | None:
            same = other.uid != resource.uid and other.spec is not None and other.spec.target_ref == ref
            # One that is being deleted gives the target up, unless it still has to give it back.
            return other if same and (other.deleting_since is None or claim == other.claim) else None

        found = await self._cluster.resources(rival, namespace=resource.key.namespace)
        rivals = [other for other in found if other is not None]
        oldest = min(rivals, key=lambda other: (other.created, other.uid), default=None)
        if oldest is None or (resource.created, resource.uid) < (oldest.created, oldest.uid):
            return ""
        return oldest.key.name


def _checks_pods(resource: Resource) -> bool:
    """Whether addresses of pods are needed; those of a target without a Service are in no watch."""
    return resource.spec is not None and any(check.scope is Scope.POD for check in resource.spec.health.checks)
