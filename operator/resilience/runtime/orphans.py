"""Workloads that carry the claim of a ResilientService that is gone: it had no finalizer, or somebody took that off.

They are handed back as if it were being deleted. A claim is an orphan only if no resource holds or is about to take it.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from resilience.api.names import ANNOTATION_CLAIM
from resilience.api.reasons import Reason
from resilience.api.status import Status
from resilience.api.v1alpha1 import TargetRef
from resilience.core.model.decision import Action, Event, earliest
from resilience.core.model.observation import Key, Observation, Resource
from resilience.core.model.workload import Workload
from resilience.core.ownership.handback import hand_back
from resilience.core.ownership.remains import completed
from resilience.ports import Clock, PortError, Refused
from resilience.ports.cluster import Cluster
from resilience.runtime.executor import Executor
from resilience.runtime.observer import Observer
from resilience.runtime.store import Store

log = structlog.get_logger(__name__)


class Orphans:
    """Hands orphans back, one pass at a time, by the last state of their resource if `store` has that."""

    def __init__(self, *, cluster: Cluster, observer: Observer, executor: Executor, clock: Clock, store: Store) -> None:
        self._store = store
        self._cluster = cluster
        self._observer = observer
        self._executor = executor
        self._clock = clock
        # When each orphan was first seen, by the uid of its workload; their patience begins then.
        self._since: dict[str, datetime] = {}

    async def run(self, key: Key) -> timedelta | None:
        """As `hand_back`, but after a refusal the next resync tries again.

        A namespace that has ended may have taken our rights in it along: that is no error to repeat.
        """
        try:
            return await self.hand_back(key)
        except Refused as error:
            log.info("orphans not looked for", key=str(key), why=str(error))
            self._store.drop_deleted(key)
            return None

    async def hand_back(self, key: Key) -> timedelta | None:
        """Runs one pass over each orphan with a claim of this name; returns the time of the next, None at the end.

        Raises:
            PortError: something could not be read or written.
        """
        every_claim = await self._cluster.claimed(namespace=key.namespace)
        claimed = [workload for workload in every_claim if claimant(workload) == key]
        if not claimed:
            self._store.drop_deleted(key)
            return None
        # Read after the claims: a resource that takes one meanwhile is in this list.
        live = await self._cluster.resources(lambda resource: resource, namespace=key.namespace)
        is_replaced = any(resource.key == key for resource in live)
        waits = [
            await self._pass(workload, is_replaced=is_replaced)
            for workload in claimed
            if not any(_has(resource, workload) for resource in live)
        ]
        if earliest(*waits) is None:
            self._store.drop_deleted(key)
        return earliest(*waits)

    async def _pass(self, workload: Workload, *, is_replaced: bool) -> timedelta | None:
        now = self._clock.now()
        since = self._since.setdefault(workload.uid, now)
        orphan = _stand_in(workload, self._store.deleted(claimant(workload)), since)
        observation = await self._observer.observe(orphan, thorough=True)
        if observation.workload is None:
            # Gone meanwhile, or in a namespace that ends or is not ours to touch.
            self._since.pop(workload.uid, None)
            return None
        if is_replaced:
            # The flags of this name are published for the resource that came after.
            observation = replace(observation, flags_map=None)
        decision = hand_back(orphan, observation, now)
        if decision.requeue_after is None:
            await self._tell(orphan, decision.events, workload)
            self._since.pop(workload.uid, None)
        await self._act(orphan, observation, decision.actions)
        return decision.requeue_after

    async def _act(self, orphan: Resource, observation: Observation, actions: Sequence[Action]) -> None:
        """Runs all actions: a refused one does not prevent the others."""
        for action in actions:
            try:
                await self._executor.run(orphan, observation, action)
            except Refused as error:
                log.warning("refused", key=str(orphan.key), why=str(error))

    async def _tell(self, orphan: Resource, events: Sequence[Event], workload: Workload) -> None:
        words = (
            f"{workload.kind} {workload.name} is handed back: it still had the claim of this ResilientService, which "
            "is gone; it had no finalizer, or somebody took that off"
        )
        log.info("orphan handed back", key=str(orphan.key), workload=workload.name)
        for event in (*events, Event(Reason.GIVEN_BACK, words)):
            try:
                await self._cluster.emit(orphan, event)
            except PortError as error:
                log.warning("event lost", key=str(orphan.key), reason=event.reason, why=str(error))


async def read(cluster: Cluster, store: Store, key: Key) -> Resource | None:
    """The resource, or None when it is gone.

    Raises:
        PortError: it could not be read.
    """
    try:
        return await cluster.resource(key)
    except Refused:
        if store.deleted(key) is None:
            raise
        # The watch has seen its end. The rights in a namespace may end with it: that is no error to repeat.
        return None


def claimant(workload: Workload) -> Key:
    """The ResilientService that a claim names; it may be gone."""
    return Key(workload.namespace, workload.annotations.get(ANNOTATION_CLAIM, "").partition("/")[0])


def _has(resource: Resource, workload: Workload) -> bool:
    """The resource holds the claim, or takes it in its next pass. One that cannot be read keeps what it has."""
    target, reference = resource.target_ref, TargetRef(kind=workload.kind, name=workload.name)
    if workload.annotations.get(ANNOTATION_CLAIM) == resource.claim:
        return resource.deleting_since is not None or target in (None, reference)
    return resource.spec is not None and resource.deleting_since is None and target == reference


def _stand_in(workload: Workload, last: Resource | None, since: datetime) -> Resource:
    """The resource that is gone, as if it were being deleted: its last state, or what the claim tells of it."""
    if last is not None and last.claim == workload.annotations.get(ANNOTATION_CLAIM):
        return completed(replace(last, finalizers=(), deleting_since=since), workload)
    return Resource(
        key=claimant(workload),
        uid=workload.annotations.get(ANNOTATION_CLAIM, "").partition("/")[2],
        resource_version="",
        generation=0,
        created=since,
        annotations={},
        finalizers=(),
        deleting_since=since,
        spec=None,
        status=Status(),
        raw_status={},
        target=TargetRef(kind=workload.kind, name=workload.name),
    )
