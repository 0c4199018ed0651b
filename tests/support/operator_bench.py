"""The product's own parts over an API server in memory, without network, Lease and kopf."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import kopf

from resilience.adapters.kube.cluster import KubeCluster
from resilience.adapters.kube.transport import Transport
from resilience.handlers import resources
from resilience.ports import ApiOutage, Checker, Clock, DeadLetterReplayer, Drainer, Metrics, Prober, Secrets
from resilience.ports.cluster import Cluster
from resilience.runtime.alerting.dispatcher import Dispatcher
from resilience.runtime.controller import Controller
from resilience.runtime.executor import Executor
from resilience.runtime.observer import Observer
from resilience.runtime.queue import KeyQueue
from resilience.runtime.service_state import Limits, ServiceState
from tests.support.protocols import checked
from tests.support.telling import make_hub
from tests.support.virtual_time import VirtualClock


class Calm:
    """The API server was never away."""

    def left(self) -> timedelta:
        return timedelta()


class Leading:
    """This replica leads."""

    def held(self) -> bool:
        return True


class RecordedMetrics:
    """Keeps the results of passes."""

    def __init__(self) -> None:
        self.results: list[str] = []

    def reconciled(self, *, seconds: float, result: str) -> None:
        self.results.append(result)

    def __getattr__(self, name: str) -> Any:
        return checked(Metrics, name)


def make_state(queue: KeyQueue, clock: Clock, metrics: Metrics) -> ServiceState:
    """The state of the parts before anything was watched; nothing is checked or measured."""
    return ServiceState.make(
        queue=queue,
        alerts=make_hub(wake_service=queue.add),
        checker=cast(Checker, None),
        prober=cast(Prober, None),
        replayer=cast(DeadLetterReplayer, None),
        metrics=metrics,
        clock=clock,
        limits=Limits(),
    )


@dataclass
class OperatorBench:
    """The parts over `api`, which answers as `Transport` does."""

    api: Any
    refused: Callable[[str], bool] = lambda name: False
    finalizers: bool = True
    metrics: RecordedMetrics = field(default_factory=RecordedMetrics)

    def __post_init__(self) -> None:
        clock = VirtualClock()
        transport = cast(Transport, self.api)
        self.cluster = cast(Cluster, KubeCluster(transport=transport, namespaces=(), instance="test"))
        metrics, drainer, leading = cast(Metrics, self.metrics), cast(Drainer, None), Leading()
        self.queue = KeyQueue(monotonic=clock.monotonic, workers=16)
        self.state = make_state(self.queue, clock, metrics)
        self.observer = Observer(
            cluster=self.cluster,
            drainer=drainer,
            state=self.state,
            calm=cast(ApiOutage, Calm()),
            refused=self.refused,
            finalizers=self.finalizers,
        )
        self.executor = Executor(
            cluster=self.cluster,
            observer=self.observer,
            drainer=drainer,
            secrets=cast(Secrets, None),
            leadership=leading,
            metrics=metrics,
            clock=clock,
            replays=self.state.replays,
        )
        self.controller = Controller(
            cluster=self.cluster,
            observer=self.observer,
            executor=self.executor,
            state=self.state,
            leadership=leading,
            metrics=metrics,
            clock=clock,
        )

    def handlers(self) -> dict[str, Any]:
        """The functions that watches call with an event, by the plural of the kind."""
        registry = kopf.OperatorRegistry()
        resources.register(registry, queue=self.queue, store=self.state.store, couriers=cast(Dispatcher, None))
        return {str(getattr(handler.selector, "any_name", "")): handler.fn for handler in registry._watching._handlers}
