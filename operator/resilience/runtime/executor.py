"""Applies a decision. Before a pod is changed, everything is read again and the guard is consulted again.

Writes nothing when leadership may have passed to another replica.
"""

from typing import assert_never

import structlog

from resilience.api.reasons import ReplaceStep
from resilience.core.model.decision import (
    Action,
    Advance,
    ApplyTemplate,
    Claim,
    DeletePod,
    EvictPod,
    GiveBack,
    LetGo,
    MarkService,
    PublishFlags,
    RemoveFlags,
    Replay,
    SendSignal,
    SetFinalizer,
    TakeOver,
    TellPods,
    Unclaim,
)
from resilience.core.model.observation import Observation, Pod, Resource
from resilience.core.replacement import availability
from resilience.ports import Clock, Conflict, Drainer, Leadership, Metrics, PortError, Secrets, Unavailable
from resilience.ports.cluster import Cluster
from resilience.runtime.dead_letters import Replays
from resilience.runtime.flag_publisher import FlagPublisher
from resilience.runtime.observer import Observer
from resilience.runtime.rollout_executor import RolloutExecutor, describe, headers_of

log = structlog.get_logger(__name__)


class Executor:
    """Applies one action at a time; an error other than a refusal ends the pass, and the next pass decides anew."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        observer: Observer,
        drainer: Drainer,
        secrets: Secrets,
        leadership: Leadership,
        metrics: Metrics,
        clock: Clock,
        replays: Replays,
    ) -> None:
        self._cluster = cluster
        self._observer = observer
        self._drainer = drainer
        self._secrets = secrets
        self._leadership = leadership
        self._metrics = metrics
        self._replays = replays
        self._flags = FlagPublisher(cluster=cluster, metrics=metrics, clock=clock)
        self._releases = RolloutExecutor(
            cluster=cluster,
            observer=observer,
            drainer=drainer,
            secrets=secrets,
            leadership=leadership,
            metrics=metrics,
        )

    async def run(self, resource: Resource, seen: Observation, action: Action) -> None:
        """Applies one action.

        Raises:
            PortError: it was not applied, or it is unknown whether it was.
        """
        self._require_leadership()
        match action:
            case TakeOver() | Advance() | DeletePod() | EvictPod() | GiveBack() | SendSignal():
                await self._on_pod(resource, seen, action)
            case Claim() | Unclaim() | LetGo() | MarkService() | SetFinalizer() | ApplyTemplate():
                await self._on_objects(resource, seen, action)
            case PublishFlags() | RemoveFlags() | TellPods():
                await self._flags.run(resource, action)
            case Replay():
                await self._replays.run(resource.key, action)
            case _:
                await self._releases.run(resource, seen, action)
        log.info("acted", key=str(resource.key), action=type(action).__name__, subject=_subject(action))

    def _require_leadership(self) -> None:
        if not self._leadership.held():
            raise Unavailable("not leading any more; nothing is written")

    async def _on_objects(
        self,
        resource: Resource,
        observation: Observation,
        action: Claim | Unclaim | LetGo | MarkService | SetFinalizer | ApplyTemplate,
    ) -> None:
        namespace, workload = resource.key.namespace, observation.workload
        match action:
            case SetFinalizer():
                await self._cluster.set_finalizer(resource, present=action.present)
            case MarkService():
                await self._cluster.mark_service(namespace=namespace, name=action.service, managed=True)
            case LetGo():
                for abandoned in action.services:
                    await self._cluster.route(abandoned, template_hash="")
                    await self._cluster.mark_service(namespace=namespace, name=abandoned.name, managed=False)
            case Claim() if workload is not None:
                await self._cluster.claim(workload, owner=resource.claim)
            case ApplyTemplate() if workload is not None:
                await self._cluster.apply_template(workload, action)
            case Unclaim() if workload is not None:
                for service in action.services:
                    await self._cluster.mark_service(namespace=namespace, name=service, managed=False)
                await self._cluster.unclaim(workload)
            case Claim() | ApplyTemplate() | Unclaim():
                return
            case _:
                assert_never(action)

    async def _on_pod(
        self,
        resource: Resource,
        seen: Observation,
        action: TakeOver | Advance | DeletePod | EvictPod | GiveBack | SendSignal,
    ) -> None:
        """Observes again, consults the guard, then writes with the pod's resourceVersion as precondition."""
        if isinstance(action, Advance) and action.labels:
            # A label that a policy has begun to select by must stay: to overwrite it could cut open connections.
            self._cluster.forget_policies(resource.key.namespace)
        fresh = await self._observer.observe(resource, thorough=True)
        pod = _current(fresh, action.pod)
        self._guard(seen, fresh, action)
        # Leadership may have been lost while reading.
        self._require_leadership()
        namespace = resource.key.namespace
        match action:
            case TakeOver() if fresh.workload is not None:
                await self._cluster.take_over(fresh.workload, action)
            case Advance():
                await self._cluster.advance(action, namespace=namespace)
            case DeletePod():
                await self._cluster.delete_pod(action, namespace=namespace)
            case EvictPod() if pod.ready:
                await self._cluster.evict_pod(action, namespace=namespace)
            case EvictPod():
                # A budget must not block the recovery: a pod that does not serve may always be deleted.
                await self._cluster.delete_pod(DeletePod(action.pod, action.grace), namespace=namespace)
            case GiveBack():
                await self._cluster.give_back(action, namespace=namespace)
            case SendSignal():
                await self._signal(action, namespace)
            case TakeOver():
                return

    def _guard(self, seen: Observation, fresh: Observation, action: Action) -> None:
        refusal = None
        if fresh.workload is None or fresh.pods is None:
            raise Conflict("the target is gone")
        match action:
            case TakeOver():
                refusal = availability.may_begin(fresh)
            case Advance(step=ReplaceStep.LEAVING) | DeletePod() | EvictPod() if fresh.unsettled:
                raise Conflict("the API server was away; nodes may not have caught up")
            case Advance() if new := availability.newly_selected(seen, fresh, action.labels):
                raise Conflict(f"a policy selects pods by {', '.join(new)} now")
            case Advance(step=ReplaceStep.LEAVING) | DeletePod() | EvictPod():
                refusal = availability.may_lose(fresh, fresh.pods, action.pod)
            case GiveBack():
                refusal = availability.may_give_back(fresh, fresh.pods, action.replica_set)
            case _:
                return
        if refusal is not None:
            self._metrics.refused(reason=refusal.reason)
            raise Conflict(f"the guard refused: {refusal.message}")

    async def _signal(self, action: SendSignal, namespace: str) -> None:
        try:
            headers = await headers_of(self._secrets, action.target, namespace)
            await self._drainer.signal(action.target, headers=headers)
        except PortError as error:
            if not action.last:
                raise
            log.warning("the pod goes on without a drain signal", pod=action.pod.name, why=str(error))
        self._require_leadership()
        await self._cluster.advance(Advance(action.pod, ReplaceStep.DRAINING, action.at), namespace=namespace)


def _current(fresh: Observation, pod: Pod) -> Pod:
    """The pod as it is now. Raises Conflict unless it is exactly the pod that the decision is about."""
    pods = fresh.pods.pods if fresh.pods is not None else ()
    current = next((candidate for candidate in pods if candidate.uid == pod.uid), None)
    if current is None:
        raise Conflict(f"pod {pod.name} is gone or no longer the target's")
    if current.resource_version != pod.resource_version:
        raise Conflict(f"pod {pod.name} changed since it was read")
    return current


def _subject(action: Action) -> str:
    match action:
        case TakeOver() | Advance() | DeletePod() | EvictPod() | GiveBack() | SendSignal():
            step = f" -> {action.step}" if isinstance(action, Advance) else ""
            return f"pod {action.pod.name}{step}"
        case MarkService():
            return f"service {action.service}"
        case LetGo():
            return f"services {', '.join(service.name for service in action.services)}"
        case ApplyTemplate():
            return f"container {action.container}: {', '.join(sorted(action.fields)) or 'nothing'}"
        case SetFinalizer():
            return "present" if action.present else "absent"
        case Claim() | Unclaim():
            return "target"
        case PublishFlags():
            return f"flags, version {action.publication.version}"
        case RemoveFlags():
            return "flags"
        case Replay():
            return f"dead letters of {action.check}"
        case TellPods():
            return f"{len(action.pods)} pods: {action.value}"
        case _:
            return describe(action)
