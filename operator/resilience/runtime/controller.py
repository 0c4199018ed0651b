"""The loop: take a key, observe, decide, write status, act, and appoint the next look.

The only place that catches everything: one service's trouble must not take the operator down.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from resilience.api.reasons import Reason
from resilience.api.status import Status
from resilience.core.degradation import flags
from resilience.core.model import trace_ids
from resilience.core.model.decision import Decision, Event
from resilience.core.model.observation import Key, Observation, Resource
from resilience.core.reconcile import decide
from resilience.core.report import metrics
from resilience.core.report.diff import is_worth_writing
from resilience.ports import Clock, Conflict, Invalid, Leadership, Metrics, PortError, Refused
from resilience.ports.cluster import Cluster
from resilience.runtime.alerting.alert_index import AlertHub
from resilience.runtime.checking.check_runner import CheckRunner
from resilience.runtime.checking.traffic_meter import TrafficMeter
from resilience.runtime.container_restarts import RestartLog
from resilience.runtime.dead_letters import Replays
from resilience.runtime.executor import Executor
from resilience.runtime.fair_queue import StormControl
from resilience.runtime.observer import Observer
from resilience.runtime.queue import KeyQueue, Priority
from resilience.runtime.store import Store

log = structlog.get_logger(__name__)

# What the API refuses may be allowed later, by people or by a budget that recovers.
_AFTER_REFUSAL: Final = timedelta(seconds=10)
_AFTER_CONFLICT: Final = timedelta(milliseconds=200)
# The watch is deaf to status: a pass that wrote it is followed by one that sees what comes of that.
_AFTER_STATUS: Final = timedelta(seconds=1)
# A pass that takes longer, in seconds, is worth a line in the log.
_SLOW: Final = 5.0


class Controller:
    """Workers over one queue."""

    def __init__(
        self,
        *,
        queue: KeyQueue,
        cluster: Cluster,
        observer: Observer,
        executor: Executor,
        checks: CheckRunner,
        traffic: TrafficMeter,
        store: Store,
        storm: StormControl,
        restarts: RestartLog,
        replays: Replays,
        alerts: AlertHub,
        leadership: Leadership,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._cluster = cluster
        self._observer = observer
        self._executor = executor
        self._checks = checks
        self._traffic = traffic
        self._store = store
        self._storm = storm
        self._restarts = restarts
        self._replays = replays
        self._alerts = alerts
        self._leadership = leadership
        self._metrics = metrics
        self._clock = clock
        # What the API refused last, by key: shown in status until an action succeeds.
        self._refusals: dict[Key, str] = {}
        # Keys that get a full look at their pods once: after the start and on resync.
        self._thorough: set[Key] = set()
        self.last_turn = clock.monotonic()

    def look_thoroughly(self, key: Key) -> None:
        """Have pods read even when nothing says that anything is to be done."""
        self._thorough.add(key)
        self._queue.add(key, Priority.RESYNC)

    async def run(self, workers: int) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work())
            group.create_task(self._beat())

    async def _beat(self) -> None:
        """Proves that the loop turns, for /healthz."""
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
        self._metrics.waited(seconds=began - self._queue.asked_at(key))
        try:
            await self.reconcile(key)
            self._queue.succeeded(key)
        except Conflict as error:
            result = "conflict"
            log.info("looked again", key=str(key), why=str(error))
            self._queue.add_after(key, _AFTER_CONFLICT)
        except (Refused, Invalid) as error:
            result = "refused"
            log.warning("refused", key=str(key), why=str(error))
            self._refusals[key] = str(error)
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
        """One pass over one key.

        Raises:
            PortError: something could not be read or written.
        """
        resource = await self._cluster.resource(key)
        if resource is None:
            self._forget(key)
            return
        again = key in self._thorough
        self._thorough.discard(key)
        try:
            seen = await self._observer.observe(resource, thorough=again, refusal=self._refusals.get(key, ""))
            decision = decide(resource, seen, self._clock.now())
            again = again or decision.pods_next
            await self._carry_out(resource, seen, decision)
            again = decision.pods_next
        finally:
            # A pass that was cut off leaves its look at the pods to the next one.
            if again:
                self._thorough.add(key)

    async def _carry_out(self, resource: Resource, seen: Observation, decision: Decision) -> None:
        key = resource.key
        self._store.concern(key, concerned(resource, seen))
        self._checks.sync(key, decision.checks)
        self._traffic.sync(key, decision.verify)
        if decision.status is not None:
            found = metrics.of(resource.spec, decision.status, seen.workload, self._clock.now())
            self._metrics.seen(key=key, picture=found)
        if decision.refused:
            self._metrics.refused(reason=decision.refused)
        before = resource
        after = decision.status or resource.status
        trace = trace_ids.of_pass(resource.uid, resource.status, after, self._clock.now())
        with structlog.contextvars.bound_contextvars(trace=trace):
            resource = await self._tell(resource, seen, decision, trace)
            await self._act(resource, seen, decision)
        if decision.actions or resource is not before:
            self._metrics.acted(seconds=self._clock.monotonic() - self._queue.asked_at(key))
        self._refusals.pop(key, None)

    async def _tell(self, resource: Resource, seen: Observation, decision: Decision, trace: str) -> Resource:
        """Status first, then everybody who waits for what it says."""
        key, before = resource.key, resource
        resource = await self._write_status(resource, seen, decision, trace)
        if decision.status is not None and resource.deleting_since is None:
            # After the write: whoever is told finds it in status.
            self._alerts.put(resource, decision.status)
        self._storm.ask(key, decision.ticket, running=moves_by_itself(resource, seen, decision))
        if decision.requeue_after is not None:
            self._queue.add_after(key, decision.requeue_after)
        if resource is not before:
            self._queue.add_after(key, _AFTER_STATUS)
        return resource

    async def _act(self, resource: Resource, seen: Observation, decision: Decision) -> None:
        """All actions: one that is refused does not keep the others back."""
        refusal: Refused | None = None
        for action in decision.actions:
            try:
                await self._executor.run(resource, seen, action)
            except Refused as error:
                refusal = refusal or error
        if refusal is not None:
            raise refusal

    async def _write_status(self, resource: Resource, seen: Observation, decision: Decision, trace: str) -> Resource:
        """Status first, so that what is accepted is known before it is begun; Events after it, for they are news."""
        status = decision.status
        if status is not None and not is_worth_writing(resource.status, status):
            return resource
        if not self._leadership.held():
            raise Conflict("not leading any more; nothing is written")
        if status is not None:
            written = await self._cluster.write_status(resource, status)
            log.info("decided", key=str(resource.key), phase=status.phase, explanation=status.explanation)
            self._count(resource.key, resource.status, status, seen)
            resource = written
        for event in decision.events:
            await self._emit(resource, replace(event, trace=trace))
        return resource

    def _count(self, key: Key, before: Status, after: Status, seen: Observation) -> None:
        """What has ended, changed or begun since the status before, for metrics."""
        restart, release = after.last_restart, after.last_rollout
        if restart is not None and restart != before.last_restart:
            self._metrics.restarted(key=key, result=restart.result, seconds=restart.duration.total_seconds())
        if release is not None and release != before.last_rollout:
            self._metrics.released(key=key, result=release.result, seconds=release.duration.total_seconds())
        for ended, known in ((restart, before.last_restart), (release, before.last_rollout)):
            if ended is not None and ended != known and ended.requests is not None:
                self._metrics.measured(key=key, sent=ended.requests.sent, failed=ended.requests.failed)
        on = {each.name: each.on for each in before.degradation}
        for flag in after.degradation:
            if flag.on == on.get(flag.name, False):
                continue
            self._metrics.switched(key=key, flag=flag.name, on=flag.on)
            lost = seen.checks.get(flags.PREFIX + flag.name)
            if flag.on and lost is not None and lost.failing_since is not None:
                self._metrics.detected(seconds=(self._clock.now() - lost.failing_since).total_seconds())
        fired = {(each.name, each.subject) for each in before.alerts.firing if not each.held}
        for alert in after.alerts.firing:
            if not alert.held and (alert.name, alert.subject) not in fired:
                self._metrics.fired(key=key, severity=alert.severity)

    async def _emit(self, resource: Resource, event: Event) -> None:
        """An Event that cannot be written is no reason to stop: status says the same."""
        if event.reason is Reason.PIN_LOST:
            self._metrics.pins_lost(count=1)
        try:
            if event.logs_of:
                said = await self._cluster.logs(namespace=resource.key.namespace, pod=event.logs_of)
                event = replace(
                    event, message=f"{event.message}\nlast lines of {event.logs_of}:\n{said}" if said else event.message
                )
            await self._cluster.emit(resource, event)
        except PortError as error:
            log.warning("event lost", key=str(resource.key), reason=event.reason, why=str(error))

    def _forget(self, key: Key) -> None:
        self._checks.sync(key, ())
        self._traffic.sync(key, None)
        self._queue.forget(key)
        self._store.drop_resource(key)
        self._storm.forget(key)
        self._restarts.forget(key)
        self._replays.forget(key)
        self._alerts.drop(key)
        self._metrics.forget(key)
        self._refusals.pop(key, None)
        self._thorough.discard(key)


def concerned(resource: Resource, seen: Observation) -> set[str]:
    """The Services whose changes are worth a look at the resource: those that select its pods, and the one it names."""
    names = {service.name for service in seen.selecting}
    if resource.spec is not None and resource.spec.service is not None:
        names.add(resource.spec.service.name)
    return names


def moves_by_itself(resource: Resource, seen: Observation, decision: Decision) -> bool:
    """Whether a restart that nobody asked for is on its way; one that cannot move keeps no other one waiting."""
    restart, spec = resource.status.restart, resource.spec
    if restart is None or restart.request or spec is None or spec.suspend or seen.workload is None:
        return False
    return not decision.refused or decision.pods_next
