"""State that the leader keeps in memory for each service, as one object.

Must not hold anything that cannot be made again: after a restart all of it begins anew.
"""

from dataclasses import dataclass, field, fields
from typing import Protocol, Self

from resilience.core.model.observation import Key
from resilience.core.restarts.fair_queue import Caps
from resilience.ports import Checker, Clock, DeadLetterReplayer, Metrics, Prober
from resilience.runtime.alerting.alert_index import AlertIndex
from resilience.runtime.checking.check_runner import CheckRunner
from resilience.runtime.checking.traffic_meter import TrafficMeter
from resilience.runtime.container_restarts import ContainerRestarts
from resilience.runtime.dead_letters import Replays
from resilience.runtime.fair_queue import FairQueue
from resilience.runtime.queue import KeyQueue
from resilience.runtime.store import Store


class PerService(Protocol):
    """Something that holds entries by service."""

    def forget(self, key: Key) -> None:
        """Drops everything about a service that is gone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Shared limits: checks at the same time, measuring requests per second, services that policies restart at once.

    `services_per_namespace` are looked after, the oldest ones.
    """

    checks: int = 1
    requests_per_second: int = 1
    restarts: Caps = field(default_factory=lambda: Caps(cluster=1, namespace=1))
    services_per_namespace: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """Each field is `PerService`."""

    queue: KeyQueue
    store: Store
    checks: CheckRunner
    traffic: TrafficMeter
    turns: FairQueue
    restarts: ContainerRestarts
    replays: Replays
    alerts: AlertIndex

    @classmethod
    def make(
        cls,
        *,
        queue: KeyQueue,
        alerts: AlertIndex,
        checker: Checker,
        prober: Prober,
        replayer: DeadLetterReplayer,
        metrics: Metrics,
        clock: Clock,
        limits: Limits,
    ) -> Self:
        """Empty state; what changes in it wakes the keys of `queue`."""
        return cls(
            queue=queue,
            store=Store(most=limits.services_per_namespace),
            checks=CheckRunner(
                checker=checker, metrics=metrics, clock=clock, on_transition=queue.add, concurrency=limits.checks
            ),
            traffic=TrafficMeter(prober=prober, cap=limits.requests_per_second),
            turns=FairQueue(caps=limits.restarts, clock=clock, on_turn=queue.add),
            restarts=ContainerRestarts(now=clock.now),
            replays=Replays(replayer, now=clock.now),
            alerts=alerts,
        )

    def forget(self, key: Key) -> None:
        """Drops everything about a service that is gone."""
        for entry in fields(self):
            part: PerService = getattr(self, entry.name)
            part.forget(key)
