"""Carries out what is to be told of flags: the ConfigMap, and a word to each pod, a few pods at a time."""

import asyncio
from datetime import datetime
from typing import Final, assert_never

from resilience.core.model.decision import FlagAction, PublishFlags, RemoveFlags, TellPods
from resilience.core.model.observation import Pod, Resource
from resilience.ports import Clock, Metrics, PortError
from resilience.ports.cluster import FlagWriter

_AT_ONCE: Final = 10


class FlagPublisher:
    """Nothing of it can take a pod away, so no guard is asked."""

    def __init__(self, *, cluster: FlagWriter, metrics: Metrics, clock: Clock) -> None:
        self._cluster = cluster
        self._metrics = metrics
        self._clock = clock

    async def run(self, resource: Resource, action: FlagAction) -> None:
        """Carries out one action.

        Raises:
            PortError: it was not done, or not for every pod; the next look finds what is missing.
        """
        match action:
            case PublishFlags():
                await self._cluster.publish_flags(resource, action.publication)
                self._told("configmap", action.publication.updated_at)
            case RemoveFlags():
                await self._cluster.remove_flags(resource.key)
            case TellPods():
                await self._tell(resource, action)
            case _:
                assert_never(action)

    async def _tell(self, resource: Resource, action: TellPods) -> None:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(pod: Pod) -> PortError | None:
            async with slots:
                try:
                    await self._cluster.tell_pod(pod, namespace=resource.key.namespace, value=action.value)
                except PortError as error:
                    return error
            if action.since is not None:
                self._told("annotation", action.since)
            return None

        for error in await asyncio.gather(*(one(pod) for pod in action.pods)):
            if error is not None:
                raise error

    def _told(self, channel: str, since: datetime) -> None:
        self._metrics.told(channel=channel, seconds=(self._clock.now() - since).total_seconds())
