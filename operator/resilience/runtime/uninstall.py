"""Hands every workload back before the operator is uninstalled: as if each resource were deleted, but it stays.

Runs alone: the operator itself must be stopped and leadership acquired, or it would adopt everything again.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from resilience.api.names import ANNOTATION_CLAIM, FINALIZER
from resilience.core.model.decision import SetFinalizer
from resilience.core.model.observation import Key, Resource
from resilience.core.ownership.handback import hand_back
from resilience.core.report.status import uninstalled_status
from resilience.ports import Clock, PortError
from resilience.ports.cluster import Cluster
from resilience.runtime.executor import Executor
from resilience.runtime.observer import Observer
from resilience.runtime.orphans import Orphans, claimant
from resilience.runtime.store import Store

log = structlog.get_logger(__name__)

_PAUSE: Final = 0.5


class Uninstaller:
    """Hands back all resources one after the other; `say` is called with a sentence about each."""

    def __init__(
        self, *, cluster: Cluster, observer: Observer, executor: Executor, clock: Clock, say: Callable[[str], None]
    ) -> None:
        self._cluster = cluster
        self._observer = observer
        self._executor = executor
        self._clock = clock
        self._say = say
        self._orphans = Orphans(cluster=cluster, observer=observer, executor=executor, clock=clock, store=Store())

    async def run(self, *, patience: float) -> list[Key]:
        """Hands back everything; returns the keys that could not be handed back within `patience` seconds."""
        deadline = self._clock.monotonic() + patience
        left = set(await self._cluster.resources(lambda resource: resource.key))
        left |= {claimant(workload) for workload in await self._cluster.claimed()}
        while left and self._clock.monotonic() < deadline:
            for key in sorted(left):
                if await self._try(key):
                    left.discard(key)
                    self._say(f"{key}: handed back")
            if left:
                await asyncio.sleep(_PAUSE)
        return sorted(left)

    async def _try(self, key: Key) -> bool:
        """Runs one pass over one resource; true when nothing of ours is left."""
        try:
            resource = await self._cluster.resource(key)
            if resource is None:
                return await self._orphans.hand_back(key) is None
            return await self._pass(resource)
        except PortError as error:
            log.warning("not released yet", key=str(key), why=str(error))
            return False

    async def _pass(self, resource: Resource) -> bool:
        now = self._clock.now()
        # Observed as if it were being deleted: what it claims is found, although its specification cannot be read.
        leaving = replace(resource, deleting_since=resource.deleting_since or now)
        observation = await self._observer.observe(leaving, thorough=True)
        is_claimed = observation.workload is not None and observation.workload.annotations.get(ANNOTATION_CLAIM)
        if FINALIZER not in resource.finalizers and is_claimed != resource.claim:
            return True
        if observation.namespace_refused:
            await self._executor.run(leaving, observation, SetFinalizer(present=False))
            return True
        decision = hand_back(leaving, observation, now)
        last = decision.requeue_after is None
        if last:
            written = await self._cluster.write_status(resource, uninstalled_status(resource, now))
            leaving = replace(written, deleting_since=leaving.deleting_since)
        for action in decision.actions:
            await self._executor.run(leaving, observation, action)
        return last
