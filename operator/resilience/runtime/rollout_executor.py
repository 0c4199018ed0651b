"""Applies the actions of a rollout. The guard checks those that can take capacity away on a fresh observation first.

Every write carries the state that was read as a precondition; after a change in between, the state is observed again.
"""

from typing import assert_never

import structlog

from resilience.core.health import targets
from resilience.core.model.actions import (
    AdvanceGreen,
    CreateGreen,
    DeleteGreen,
    DeletePreview,
    EmptyReplicaSet,
    Hold,
    LimitAutoscaler,
    MarkFailed,
    MarkLeft,
    PauseFailed,
    PutPreview,
    ReleaseAction,
    RestoreTemplate,
    Resume,
    RetryPull,
    Route,
    ScaleGreen,
    ScaleTarget,
    SignalPod,
    TakeBackSignal,
    TargetAction,
)
from resilience.core.model.headers import parse_headers
from resilience.core.model.observation import Green, Observation, Pod, Resource
from resilience.core.model.probes import HttpTarget
from resilience.core.model.service import Service
from resilience.core.rollouts import guard
from resilience.ports import (
    CandidateRefused,
    Conflict,
    Drainer,
    Invalid,
    Leadership,
    Metrics,
    NamespaceEnding,
    PortError,
    Refused,
    Secrets,
)
from resilience.ports.cluster import Cluster
from resilience.runtime.observer import Observer

log = structlog.get_logger(__name__)


class RolloutExecutor:
    """Applies one action at a time; raises PortError when it was not applied."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        observer: Observer,
        drainer: Drainer,
        secrets: Secrets,
        leadership: Leadership,
        metrics: Metrics,
    ) -> None:
        self._cluster = cluster
        self._observer = observer
        self._drainer = drainer
        self._secrets = secrets
        self._leadership = leadership
        self._metrics = metrics

    async def run(self, resource: Resource, seen: Observation, action: ReleaseAction) -> None:
        """Applies one action.

        Raises:
            PortError: it was not applied, or it is unknown whether it was.
        """
        fresh = await self._observer.observe(resource, thorough=True) if isinstance(action, guard.Guarded) else seen
        if fresh.workload is None:
            raise Conflict("the target is gone")
        if isinstance(action, guard.Guarded):
            self._guard(seen, fresh, action)
        match action:
            case SignalPod() | TakeBackSignal():
                await self._signal(resource, action)
            case AdvanceGreen() | ScaleGreen() | RetryPull() | DeleteGreen():
                await self._on_green(fresh, action)
            case Route() | PutPreview() | DeletePreview():
                await self._on_services(resource, fresh, action)
            case _:
                await self._on_target(seen, fresh, action)

    def _guard(self, observation: Observation, fresh: Observation, action: guard.Guarded) -> None:
        refusal = guard.refusal(observation, fresh, action)
        if refusal is not None:
            self._metrics.refused(reason=refusal.reason)
            raise Conflict(f"the guard refused: {refusal.message}")
        # Leadership may have been lost while reading.
        if not self._leadership.held():
            raise Conflict("not leading any more; nothing is written")

    async def _on_target(
        self,
        observation: Observation,
        fresh: Observation,
        action: TargetAction,
    ) -> None:
        """Writes to the target as it was when the action was decided: a change since then is a conflict."""
        workload = observation.workload
        assert workload is not None and fresh.workload is not None
        match action:
            case Hold():
                await self._cluster.hold(workload, serving=action.serving)
            case Resume():
                await self._cluster.resume(fresh.workload, action)
            case PauseFailed():
                await self._cluster.pause_failed(workload, fingerprint=action.fingerprint)
            case MarkFailed():
                await self._cluster.annotate_failed(workload, fingerprint=action.fingerprint)
            case MarkLeft():
                await self._cluster.annotate_left(workload, reason=action.reason)
            case ScaleTarget():
                await self._cluster.scale_target(workload, replicas=action.replicas)
            case LimitAutoscaler():
                await self._limit(workload.namespace, action)
            case EmptyReplicaSet():
                await self._cluster.empty_replica_set(fresh.workload, action.replica_set)
            case RestoreTemplate():
                await self._cluster.restore_template(workload, action)
            case CreateGreen():
                try:
                    await self._cluster.create_green(fresh.workload, action)
                except NamespaceEnding:
                    raise
                except Refused as error:
                    raise CandidateRefused(str(error)) from error
            case _:
                assert_never(action)

    async def _limit(self, namespace: str, action: LimitAutoscaler) -> None:
        """Limits the autoscaler, or not. A refused limit costs pods and no client, so it does not delay the rollout."""
        try:
            await self._cluster.limit_autoscaler(action.autoscaler, namespace=namespace, limited=action.limited)
        except Refused as error:
            if not action.limited:
                raise
            log.warning("the autoscaler may run up replicas", autoscaler=action.autoscaler.name, why=str(error))

    async def _on_green(self, fresh: Observation, action: AdvanceGreen | ScaleGreen | RetryPull | DeleteGreen) -> None:
        green = fresh.pods.green if fresh.pods is not None else None
        if green is None:
            raise Conflict("the second Deployment is gone")
        await self._write_green(green, action)

    async def _write_green(self, green: Green, action: AdvanceGreen | ScaleGreen | RetryPull | DeleteGreen) -> None:
        match action:
            case AdvanceGreen():
                await self._cluster.advance_green(green, action)
            case ScaleGreen():
                await self._cluster.scale_green(green, replicas=action.replicas)
            case RetryPull():
                await self._cluster.retry_pull(green, action)
            case DeleteGreen():
                await self._cluster.delete_green(green)
            case _:
                assert_never(action)

    async def _on_services(
        self, resource: Resource, fresh: Observation, action: Route | PutPreview | DeletePreview
    ) -> None:
        match action:
            case Route():
                service = _service(fresh, action.service)
                if service.pin != action.template_hash:
                    await self._cluster.route(service, template_hash=action.template_hash)
            case PutPreview():
                like = targets.client_service(resource.spec, fresh) if resource.spec is not None else None
                if like is not None and fresh.workload is not None:
                    await self._cluster.put_preview(fresh.workload, action, like=like)
            case DeletePreview():
                await self._cluster.delete_preview(namespace=resource.key.namespace, name=action.name)
            case _:
                assert_never(action)

    async def _signal(self, resource: Resource, action: SignalPod | TakeBackSignal) -> None:
        """Signals a pod, or takes the signal back.

        A signal that fails is repeated in a later pass; the last attempt, and taking back, continue without it.
        """
        namespace = resource.key.namespace
        try:
            if action.target is not None:
                headers = await headers_of(self._secrets, action.target, namespace)
                send = self._drainer.signal if isinstance(action, SignalPod) else self._drainer.take_back
                await send(action.target, headers=headers)
        except PortError as error:
            if isinstance(action, SignalPod) and not action.last:
                raise
            log.warning("the drain signal was not taken", pod=action.pod.name, why=str(error))
        at = action.at if isinstance(action, SignalPod) else None
        await self._cluster.note_signal(action.pod, namespace=namespace, at=at)


def _service(fresh: Observation, name: str) -> Service:
    service = next((service for service in fresh.services if service.name == name), None)
    if service is None:
        raise Conflict(f"Service {name} is gone")
    return service


async def headers_of(secrets: Secrets, target: HttpTarget, namespace: str) -> list[tuple[str, str]]:
    """Headers of a drain signal. Raises Invalid when the Secret contains anything else."""
    if target.secret is None:
        return []
    name, key = target.secret
    try:
        return parse_headers(await secrets.read(namespace=namespace, name=name, key=key))
    except ValueError as error:
        raise Invalid("the Secret for drain headers must hold one `Name: value` a line") from error


def describe(action: ReleaseAction) -> str:
    """The subject of an action, for the log."""
    match action:
        case SignalPod(pod=Pod(name=name)) | TakeBackSignal(pod=Pod(name=name)):
            return f"pod {name}"
        case Route():
            return f"service {action.service} -> {action.template_hash or 'all'}"
        case PutPreview() | DeletePreview():
            return f"service {action.name}"
        case AdvanceGreen():
            return f"green -> {action.step} ({action.towards})"
        case ScaleGreen() | CreateGreen():
            return f"green: {action.replicas} replicas"
        case DeleteGreen() | RetryPull():
            return "green"
        case LimitAutoscaler():
            return f"autoscaler {action.autoscaler.name}"
        case EmptyReplicaSet():
            return f"replica set {action.replica_set.name} -> 0"
        case MarkFailed():
            return f"template {action.fingerprint or 'none'}"
        case _:
            return "target"
