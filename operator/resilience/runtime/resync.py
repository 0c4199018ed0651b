"""Lists the resources every few minutes, reconciles those that the watches missed, and drops those that are gone.

After `410 Gone` a watch lists again and never reports what vanished meanwhile; the resync does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from resilience.core.model.observation import Key, Resource
from resilience.ports import PortError
from resilience.ports.cluster import ClusterReader, Marked
from resilience.runtime.alerting.dispatcher import Dispatcher
from resilience.runtime.controller import Controller
from resilience.runtime.queue import Priority
from resilience.runtime.service_state import ServiceState

log = structlog.get_logger(__name__)

RETRY: Final = 2.0


class Resync:
    """Repeats itself every `interval`; `marked` lists the objects that carry our label."""

    def __init__(
        self,
        *,
        cluster: ClusterReader,
        marked: Callable[[], Awaitable[Marked]],
        controller: Controller,
        state: ServiceState,
        couriers: Dispatcher,
        interval: timedelta,
        monotonic: Callable[[], float],
    ) -> None:
        self._cluster = cluster
        self._marked = marked
        self._controller = controller
        self._state = state
        self._couriers = couriers
        self._interval = interval
        self._monotonic = monotonic
        self.last_success = monotonic()

    async def run(self) -> None:
        """Resyncs until cancelled; the first time at once."""
        first, self._state.store.listed = True, False
        while True:
            try:
                await self.once(thorough=first)
                first = False
            except PortError as error:
                log.warning("resync inconclusive", why=str(error))
            await asyncio.sleep(RETRY if first else self._interval.total_seconds())

    async def once(self, *, thorough: bool) -> None:
        """Runs one resync; a thorough one has all pods read, because an earlier process may have died at work."""
        with self._state.store.listing():
            marked = await self._marked()
            self._state.store.keep(services=marked.services, slices=marked.slices, flags=marked.flags)
        listed = await self._cluster.resources(partial(self._register, thorough=thorough))
        self._state.turns.open()
        self._state.store.listed = True
        await self._couriers.resync()
        for key in self._state.alerts.listed(listed):
            self._state.queue.add(key)
        self.last_success = self._monotonic()
        for key in (self._state.store.keys() - set(listed)) | self._state.store.orphaned():
            self._state.queue.add(key)

    def _register(self, resource: Resource, *, thorough: bool) -> Key:
        self._state.store.put_resource(resource)
        self._state.turns.seen(resource)
        if thorough:
            self._controller.requeue_thoroughly(resource.key)
        else:
            self._state.queue.add(resource.key, Priority.RESYNC)
        return resource.key
