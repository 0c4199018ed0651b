"""Publishes flags: in the ConfigMap, and by an annotation on each pod, a few pods at a time."""

import asyncio
from datetime import datetime
from typing import Final, assert_never

from resilience.core.model.decision import FlagAction, PublishFlags, RemoveFlags, TellPods
from resilience.core.model.observation import Pod, Resource
from resilience.ports import Clock, Metrics, PortError
from resilience.ports.cluster import FlagWriter

_AT_ONCE: Final = 10


class FlagPublisher:
    """Applies actions on flags. None of them can remove a pod, so the guard is not consulted."""

    def __init__(self, *, cluster: FlagWriter, metrics: Metrics, clock: Clock) -> None:
        self._cluster = cluster
        self._metrics = metrics
        self._clock = clock

    async def run(self, resource: Resource, action: FlagAction) -> None:
        """Applies one action.

        Raises:
            PortError: it was not applied, or not to every pod; the next observation shows what is missing.
        """
        match action:
            case PublishFlags():
                await self._cluster.publish_flags(resource, action.publication)
                self._record_delay("configmap", action.publication.updated_at)
            case RemoveFlags():
                await self._cluster.remove_flags(resource.key)
            case TellPods():
                await self._annotate(resource, action)
            case _:
                assert_never(action)

    async def _annotate(self, resource: Resource, action: TellPods) -> None:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def annotate(pod: Pod) -> PortError | None:
            async with slots:
                try:
                    await self._cluster.tell_pod(pod, namespace=resource.key.namespace, value=action.value)
                except PortError as error:
                    return error
            if action.since is not None:
                self._record_delay("annotation", action.since)
            return None

        for error in await asyncio.gather(*(annotate(pod) for pod in action.pods)):
            if error is not None:
                raise error

    def _record_delay(self, channel: str, since: datetime) -> None:
        self._metrics.flag_published(channel=channel, seconds=(self._clock.now() - since).total_seconds())
