"""The reconcile loop: take a key, observe, decide, write status, act, and requeue.

The only place that catches every exception: a failure of one service must not stop the operator.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from resilience.api.reasons import Reason
from resilience.core.model import trace_ids
from resilience.core.model.api_refusal import ApiRefusal
from resilience.core.model.decision import Decision, Event
from resilience.core.model.observation import Key, Observation, Resource
from resilience.core.reconcile import decide
from resilience.core.report import metrics
from resilience.core.report.diff import is_worth_writing
from resilience.ports import (
    CandidateRefused,
    Clock,
    Conflict,
    Invalid,
    Leadership,
    Metrics,
    NamespaceEnding,
    PortError,
    Refused,
)
from resilience.ports.cluster import Cluster
from resilience.ports.on_behalf import on_behalf_of
from resilience.runtime import results
from resilience.runtime.executor import Executor
from resilience.runtime.observer import Observer
from resilience.runtime.orphans import Orphans, read
from resilience.runtime.queue import Priority
from resilience.runtime.service_state import ServiceState
from resilience.runtime.unsaid import Unsaid

log = structlog.get_logger(__name__)

# A write that the API refuses may be allowed later, by people or by a budget that recovers.
_AFTER_REFUSAL: Final = timedelta(seconds=10)
_AFTER_CONFLICT: Final = timedelta(milliseconds=200)
# The watch ignores status: a pass that wrote it is followed by a pass that observes the effect.
_AFTER_STATUS: Final = timedelta(seconds=1)
# Longest time between two passes over what is in flight: an event of a watch may be lost.
_LONGEST_POLL: Final = timedelta(seconds=5)
# Seconds; a pass that takes longer is logged.
_SLOW: Final = 5.0


class Controller:
    """Runs workers over one queue."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        observer: Observer,
        executor: Executor,
        state: ServiceState,
        leadership: Leadership,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._queue = state.queue
        self._cluster = cluster
        self._observer = observer
        self._executor = executor
        self._state = state
        self._leadership = leadership
        self._metrics = metrics
        self._clock = clock
        self._orphans = Orphans(cluster=cluster, observer=observer, executor=executor, clock=clock, store=state.store)
        # The API's latest refusal by key: shown in status until an action succeeds.
        self._refusals: dict[Key, ApiRefusal] = {}
        # Keys whose pods are read in full in the next pass: after the start and on resync.
        self._thorough: set[Key] = set()
        self._unsaid = Unsaid()
        self.last_turn = clock.monotonic()

    def requeue_thoroughly(self, key: Key) -> None:
        """Requeues the key and has its pods read, even when nothing indicates that there is work to do."""
        self._thorough.add(key)
        self._queue.add(key, Priority.RESYNC)

    async def run(self, workers: int) -> None:
        """Runs the workers until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work())
            group.create_task(self._beat())

    async def _beat(self) -> None:
        """Records that the event loop runs, for /healthz, and publishes the depth of the queue."""
        while True:
            self.last_turn = self._clock.monotonic()
            self._metrics.queue(depth=len(self._queue))
            await asyncio.sleep(1)

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            try:
                await self._turn(key)
            finally:
                self._queue.done(key)

    async def _turn(self, key: Key) -> None:
        began, result = self._clock.monotonic(), "ok"
        self._metrics.waited(seconds=began - self._queue.requested_at(key))
        try:
            with on_behalf_of({key.namespace}):
                await self.reconcile(key)
            self._queue.succeeded(key)
        except Conflict as error:
            result = "conflict"
            log.info("looked again", key=str(key), why=str(error))
            self._queue.add_after(key, _AFTER_CONFLICT)
        except NamespaceEnding as error:
            result = "conflict"
            log.info("the namespace is ending", key=str(key), why=str(error))
            self._observer.suspect(key.namespace)
            self._queue.add_after(key, _AFTER_CONFLICT)
        except (Refused, Invalid) as error:
            result = "refused"
            refusal = ApiRefusal(str(error), of_candidate=isinstance(error, CandidateRefused))
            log.warning("refused", key=str(key), why=str(refusal))
            self._refusals[key] = refusal
            self._observer.suspect(key.namespace)
            self._queue.add_after(key, _AFTER_REFUSAL)
        except PortError as error:
            result = "unavailable"
            delay = self._queue.failed(key)
            log.warning("inconclusive", key=str(key), why=str(error), again_in=round(delay.total_seconds(), 1))
        except Exception:
            result = "error"
            delay = self._queue.failed(key)
            log.exception("reconcile failed", key=str(key), again_in=round(delay.total_seconds(), 1))
        seconds = self._clock.monotonic() - began
        if seconds > _SLOW:
            log.warning("slow pass", key=str(key), seconds=round(seconds, 1))
        self._metrics.reconciled(seconds=seconds, result=result)

    async def reconcile(self, key: Key) -> None:
        """Runs one pass over one key.

        Raises:
            PortError: something could not be read or written.
        """
        resource = await read(self._cluster, self._state.store, key)
        if resource is None:
            self._forget(key)
            self._queue_again(key, await self._orphans.run(key))
            return
        thorough = key in self._thorough
        self._thorough.discard(key)
        try:
            observation = await self._observer.observe(resource, thorough=thorough, refusal=self._refusals.get(key))
            decision = decide(resource, observation, self._clock.now())
            thorough = thorough or decision.pods_next
            await self._carry_out(resource, observation, decision)
            thorough = decision.pods_next
        finally:
            # An interrupted pass leaves the reading of the pods to the next one.
            if thorough:
                self._thorough.add(key)
        target = resource.target_ref
        if target is not None and resource.deleting_since is None and self._state.store.has_orphans(key, target):
            self._queue_again(key, await self._orphans.run(key))

    def _queue_again(self, key: Key, wait: timedelta | None) -> None:
        if wait is not None:
            self._queue.add_after(key, wait)

    async def _carry_out(self, resource: Resource, observation: Observation, decision: Decision) -> None:
        key = resource.key
        self._state.store.concern(key, concerned(resource, observation))
        self._state.checks.sync(key, decision.checks)
        self._state.traffic.sync(key, decision.verify)
        if decision.status is not None:
            picture = metrics.of(resource.spec, decision.status, observation.workload, self._clock.now())
            self._metrics.observed(key=key, picture=picture)
        if decision.refused:
            self._metrics.refused(reason=decision.refused)
        before = resource
        after = decision.status or resource.status
        trace = trace_ids.of_pass(resource.uid, resource.status, after, self._clock.now())
        with structlog.contextvars.bound_contextvars(trace=trace):
            resource = await self._publish(resource, observation, decision, trace)
            await self._act(resource, observation, decision)
        if decision.actions or resource is not before:
            self._metrics.acted(seconds=self._clock.monotonic() - self._queue.requested_at(key))
        self._refusals.pop(key, None)

    async def _publish(self, resource: Resource, observation: Observation, decision: Decision, trace: str) -> Resource:
        """Writes status, then notifies everything that depends on it."""
        key, before = resource.key, resource
        resource = await self._write_status(resource, observation, decision, trace)
        if decision.status is not None and resource.deleting_since is None:
            # After the write: status shows an alert before its receiver is notified.
            self._state.alerts.put(resource, decision.status)
        self._state.turns.ask(key, decision.ticket, running=moves_by_itself(resource, observation, decision))
        self._queue_again(key, decision.requeue_after)
        wait = decision.requeue_after
        if resource is not before and (wait is None or wait > _LONGEST_POLL):
            self._queue.add_after(key, _AFTER_STATUS)
        return resource

    async def _act(self, resource: Resource, observation: Observation, decision: Decision) -> None:
        """Runs all actions: a refused one does not prevent the others."""
        refusal: Refused | None = None
        for action in decision.actions:
            try:
                await self._executor.run(resource, observation, action)
            except Refused as error:
                refusal = refusal or error
        if refusal is not None:
            raise refusal

    async def _write_status(
        self, resource: Resource, observation: Observation, decision: Decision, trace: str
    ) -> Resource:
        """Writes status before any action, so that accepted work is recorded before it begins; emits Events last."""
        status = decision.status
        if status is not None and not is_worth_writing(resource.status, status):
            return resource
        if self._unsaid.may_wait(resource, observation, decision):
            return resource
        if not self._leadership.held():
            raise Conflict("not leading any more; nothing is written")
        if status is not None:
            written = await self._cluster.write_status(resource, status)
            log.info("decided", key=str(resource.key), phase=status.phase, explanation=status.explanation)
            results.publish(
                self._metrics,
                resource.key,
                before=resource.status,
                after=status,
                observation=observation,
                now=self._clock.now(),
            )
            resource = written
        for event in decision.events:
            await self._emit(resource, replace(event, trace=trace))
        return resource

    async def _emit(self, resource: Resource, event: Event) -> None:
        """Emits an Event. One that cannot be written does not stop the pass: status contains the same facts."""
        if event.reason is Reason.PIN_LOST:
            self._metrics.pins_lost(count=1)
        try:
            if event.logs_of:
                tail = await self._cluster.logs(namespace=resource.key.namespace, pod=event.logs_of)
                event = replace(
                    event, message=f"{event.message}\nlast lines of {event.logs_of}:\n{tail}" if tail else event.message
                )
            await self._cluster.emit(resource, event)
        except NamespaceEnding:
            self._observer.suspect(resource.key.namespace)
        except PortError as error:
            log.warning("event lost", key=str(resource.key), reason=event.reason, why=str(error))

    def _forget(self, key: Key) -> None:
        next_in_line = self._state.store.first_without_place(key.namespace)
        self._state.forget(key)
        if next_in_line is not None:
            self._queue.add(next_in_line)
        self._metrics.forget(key)
        self._refusals.pop(key, None)
        self._unsaid.forget(key)
        self._thorough.discard(key)


def concerned(resource: Resource, seen: Observation) -> set[str]:
    """Names of the Services whose changes can affect the resource: those that select its pods, and the one it names."""
    names = {service.name for service in seen.selecting}
    if resource.spec is not None and resource.spec.service is not None:
        names.add(resource.spec.service.name)
    return names


def moves_by_itself(resource: Resource, seen: Observation, decision: Decision) -> bool:
    """A restart that nobody requested is in flight and can proceed; one that cannot does not keep others waiting."""
    restart, spec = resource.status.restart, resource.spec
    if restart is None or restart.request or spec is None or spec.suspend or seen.workload is None:
        return False
    return not decision.refused or decision.pods_next
