"""Every few minutes: list the resources, look at those that watches missed, and forget those that are gone.

After `410 Gone` a watch lists again and never reports what vanished meanwhile; this does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final

import structlog

from resilience.core.observation import Service
from resilience.ports import ClusterReader, PortError
from resilience.runtime.controller import Controller
from resilience.runtime.queue import KeyQueue, Priority
from resilience.runtime.store import Store

log = structlog.get_logger(__name__)

RETRY: Final = 2.0


class Resync:
    """Repeats itself with `interval`; `marked_services` lists the Services with our label."""

    def __init__(
        self,
        *,
        cluster: ClusterReader,
        marked_services: Callable[[], Awaitable[Sequence[Service]]],
        controller: Controller,
        queue: KeyQueue,
        store: Store,
        interval: timedelta,
        monotonic: Callable[[], float],
    ) -> None:
        self._cluster = cluster
        self._marked_services = marked_services
        self._controller = controller
        self._queue = queue
        self._store = store
        self._interval = interval
        self._monotonic = monotonic
        self.last_success = monotonic()

    async def run(self) -> None:
        """Resyncs until cancelled, at once for the first time."""
        first = True
        while True:
            try:
                await self.once(thorough=first)
                first = False
            except PortError as error:
                log.warning("resync inconclusive", why=str(error))
            await asyncio.sleep(RETRY if first else self._interval.total_seconds())

    async def once(self, *, thorough: bool) -> None:
        """One resync; a thorough one has all pods read, for an earlier process may have died at work."""
        self._store.keep_services(await self._marked_services())
        resources = await self._cluster.resources()
        for resource in resources:
            self._store.put_resource(resource)
            if thorough:
                self._controller.look_thoroughly(resource.key)
            else:
                self._queue.add(resource.key, Priority.RESYNC)
        self.last_success = self._monotonic()
        for key in self._store.keys() - {resource.key for resource in resources}:
            self._queue.add(key)
