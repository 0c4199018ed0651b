"""What a quiet service costs: requests and CPU of a pass, and memory as services grow in number and come and go.

    python -m benchmarks.quiet [--services 1000] [--churn 10000] [--patience 12]

The real controller, observer and check runner run over an API in memory; checks are not sent.
"""

import argparse
import asyncio
import gc
import logging
import time
import tracemalloc
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import structlog
from rich.console import Console
from rich.table import Table

from benchmarks.sample import NAMESPACE, MemoryApi, endpoint_slice, resource, service
from resilience import __version__
from resilience.adapters.clock import SystemClock
from resilience.adapters.kube import parse
from resilience.adapters.kube.cluster import KubeCluster
from resilience.adapters.kube.transport import Transport
from resilience.adapters.telemetry.metrics import PrometheusMetrics
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.destinations import ConnectionsTarget, DeadLetters
from resilience.core.model.observation import Key
from resilience.core.model.probes import HttpTarget, Probe
from resilience.ports import Batch
from resilience.runtime.alerting.alert_index import AlertIndex
from resilience.runtime.checking.check_runner import CheckRunner
from resilience.runtime.controller import Controller
from resilience.runtime.executor import Executor
from resilience.runtime.observer import Observer
from resilience.runtime.queue import KeyQueue
from resilience.runtime.service_state import Limits, ServiceState
from resilience.runtime.store import Store

PASSES = 3


class Nobody:
    """Stands for everything that a quiet service does not ask: the lease is held, nothing else is called."""

    def held(self) -> bool:
        """We lead."""
        return True

    def left(self) -> timedelta:
        """ApiOutage times."""
        return timedelta()

    async def check(self, probe: Probe, *, timeout: timedelta) -> CheckResult:
        """Never run here."""
        return CheckResult(Outcome.INCONCLUSIVE, "NotRun", "not run")

    async def connections(self, target: ConnectionsTarget) -> int | None:
        """Nothing drains."""
        return None

    async def signal(self, target: HttpTarget, *, headers: object) -> None:
        """Nothing drains."""

    async def take_back(self, target: HttpTarget, *, headers: object) -> None:
        """Nothing drains."""

    async def replay(self, letters: DeadLetters) -> Batch:
        """Nothing is replayed."""
        return Batch(0, 0, False)

    async def request(self, target: HttpTarget) -> float:
        """Nothing is measured."""
        return 0.0

    async def read(self, *, namespace: str, name: str, key: str) -> str:
        """No Secret is named."""
        return ""


@dataclass(slots=True)
class Bench:
    """The parts under measurement."""

    api: MemoryApi
    store: Store
    controller: Controller
    checks: CheckRunner
    metrics: PrometheusMetrics
    alerts: AlertIndex

    @classmethod
    def make(cls) -> "Bench":
        """Everything as app.py wires it, but for the network."""
        api, clock, nobody = MemoryApi(), SystemClock(), Nobody()
        metrics = PrometheusMetrics(version=__version__)
        cluster = KubeCluster(transport=cast(Transport, api), namespaces=(), instance="bench")
        queue = KeyQueue(monotonic=clock.monotonic, workers=16)
        alerts = AlertIndex(namespace="bench", default=None, heartbeat=None, now=clock.now, wake_service=queue.add)
        state = ServiceState.make(
            queue=queue,
            alerts=alerts,
            checker=nobody,
            prober=nobody,
            replayer=nobody,
            metrics=metrics,
            clock=clock,
            limits=Limits(),
        )
        observer = Observer(cluster=cluster, drainer=nobody, state=state, calm=nobody, refused=lambda _: False)
        executor = Executor(
            cluster=cluster,
            observer=observer,
            drainer=nobody,
            secrets=nobody,
            leadership=nobody,
            metrics=metrics,
            clock=clock,
            replays=state.replays,
        )
        controller = Controller(
            cluster=cluster,
            observer=observer,
            executor=executor,
            state=state,
            leadership=nobody,
            metrics=metrics,
            clock=clock,
        )
        return cls(api, state.store, controller, state.checks, metrics, alerts)

    async def adopt(self, name: str) -> Key:
        """What the watches show, and the first pass."""
        self.api.put(name)
        self.store.put_resource(parse.resource(resource(name)))
        self.store.put_service(parse.service(service(name)))
        raw = endpoint_slice(name)
        self.store.put_slice(
            namespace=NAMESPACE, name=raw["metadata"]["name"], service=name, endpoints=parse.endpoints(raw)
        )
        key = Key(NAMESPACE, name)
        await self.controller.reconcile(key)
        return key

    async def forget(self, name: str) -> None:
        """What the watches show when everything of a service is deleted."""
        self.api.forget(name)
        await self.controller.reconcile(Key(NAMESPACE, name))
        self.store.drop_service(NAMESPACE, name)
        self.store.drop_slice(NAMESPACE, f"{name}-1")


async def measure(services: int, churn: int, patience: float) -> Table:
    """The table."""
    bench = Bench.make()
    tracemalloc.start()
    empty = _memory()
    keys = [await bench.adopt(f"s{number}") for number in range(services)]
    held = _memory() - empty
    tracemalloc.stop()
    # The second pass still has news: by then the checks are appointed.
    await _pass_over(bench, keys)
    reads, writes, began = bench.api.reads, bench.api.writes, time.process_time()
    for _ in range(PASSES):
        await _pass_over(bench, keys)
    count = services * PASSES
    cpu = (time.process_time() - began) / count
    table = Table("figure", "value", title=f"{services} quiet services of 2 pods", title_justify="left")
    table.add_row("API reads of a quiet pass", f"{(bench.api.reads - reads) / count:.2f}")
    table.add_row("API writes of a quiet pass", f"{(bench.api.writes - writes) / count:.2f}")
    table.add_row("CPU of a quiet pass", f"{cpu * 1000:.2f} ms")
    table.add_row("memory of a service", f"{held / services / 1024:.1f} KiB")
    left = await _left_behind(churn, patience)
    table.add_row(f"memory left by {churn} that came and went", f"{left / 1024:+.0f} KiB")
    return table


async def _pass_over(bench: Bench, keys: list[Key]) -> None:
    for key in keys:
        await bench.controller.reconcile(key)


async def _left_behind(churn: int, patience: float) -> int:
    """Bytes that services left behind which came and went."""
    bench = Bench.make()
    checking = asyncio.create_task(bench.checks.run())
    await _come_and_go(bench, min(churn, 200))
    tracemalloc.start()
    before = _memory()
    await _come_and_go(bench, churn)
    # Appointments of checks that are gone are dropped when they fall due.
    await asyncio.sleep(patience)
    # As a resync does; what is gone is remembered until then.
    bench.alerts.listed(())
    left = _memory() - before
    tracemalloc.stop()
    checking.cancel()
    if b"gone-" in bench.metrics.exposition("")[0]:
        raise AssertionError("series of deleted resources are left")
    return left


async def _come_and_go(bench: Bench, count: int) -> None:
    for number in range(count):
        await bench.adopt(f"gone-{number}")
        await asyncio.sleep(0)
        await bench.forget(f"gone-{number}")


def _memory() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--churn", type=int, default=10_000)
    parser.add_argument("--patience", type=float, default=12.0)
    chosen = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    Console().print(asyncio.run(measure(chosen.services, chosen.churn, chosen.patience)))
