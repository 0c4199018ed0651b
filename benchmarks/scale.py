"""What the operator costs on a real API server, with pods that kwok plays.

    python -m benchmarks.scale [--services 1000] [--replicas 2] [--strategy BlueGreen] [--churn 10000] [--minutes 5]

It brings the local cluster up if need be, installs the operator, and takes everything of its own away again.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from kubernetes.aio import client, config
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from benchmarks.fleet import PORT, Fleet
from resilience.adapters.kube.transport import Transport
from tests.cluster import binaries, images, network
from tests.cluster.fixture import LocalCluster
from tests.cluster.local import Local
from tests.cluster.paths import KUBECONFIG
from tests.cluster.progress import Progress
from tests.support.release import Release

# All pods' addresses lead to this machine, but for those of the real node, whose route is longer.
_ROUTE: Final = ("local", network.POD_RANGE, "dev", "lo", "table", "main")
_PATIENCE: Final = timedelta(minutes=30)
# Seconds. Asking is work for the same API server, so what takes how long is known to that.
_POLL: Final = 3
Say = Callable[[str, str], None]
_EVENTS: Final = "resilience_operator_event_to_action_seconds"


@dataclass(frozen=True, slots=True)
class Sample:
    """The operator's own metrics at one moment. `requests` by verb; `events`: count by upper bound in seconds."""

    at: float
    cpu: float
    rss: float
    series: int
    passes: float
    requests: dict[str, float]
    events: dict[float, float]


@dataclass(frozen=True, slots=True)
class Span:
    """What happened between two moments."""

    before: Sample
    after: Sample

    @property
    def seconds(self) -> float:
        return self.after.at - self.before.at

    @property
    def cpu(self) -> float:
        """Share of a core."""
        return (self.after.cpu - self.before.cpu) / self.seconds

    def per_minute(self, *verbs: str) -> float:
        """Requests to the API a minute; all of them without a verb."""
        made = {verb: count - self.before.requests.get(verb, 0) for verb, count in self.after.requests.items()}
        return sum(count for verb, count in made.items() if not verbs or verb in verbs) * 60 / self.seconds

    def quantile(self, share: float) -> float:
        """Seconds from an event to the action, as histogram_quantile has it."""
        counts = sorted((bound, count - self.before.events.get(bound, 0)) for bound, count in self.after.events.items())
        whole = counts[-1][1] if counts else 0.0
        low, below = 0.0, 0.0
        for bound, count in counts:
            if whole and count >= share * whole:
                within = (share * whole - below) / (count - below) if count > below else 1.0
                return low if bound == float("inf") else low + (bound - low) * within
            low, below = bound, count
        return float("nan")


def sample(release: Release) -> Sample:
    """The leader's metrics now."""
    text = release.kube.text(f"/api/v1/namespaces/{release.kube.namespace}/pods/{release.leader()}:8080/proxy/metrics")
    values: dict[str, float] = {}
    requests: dict[str, float] = {}
    events: dict[float, float] = {}
    passes, series = 0.0, 0
    for family in text_string_to_metric_families(text):
        for each in family.samples:
            series += 1
            values[each.name] = each.value
            if each.name == "resilience_operator_api_requests_total":
                requests[each.labels["verb"]] = requests.get(each.labels["verb"], 0) + each.value
            elif each.name == f"{_EVENTS}_bucket":
                events[float(each.labels["le"])] = each.value
            elif each.name == "resilience_operator_reconciles_total":
                passes += each.value
    cpu, rss = values["process_cpu_seconds_total"], values["process_resident_memory_bytes"]
    return Sample(time.monotonic(), cpu, rss, series, passes, requests, events)


@contextmanager
def kubelets() -> Iterator[None]:
    """kwok in place of kubelets, and one server that answers for every pod."""
    binary, here = binaries.program("kwok"), Path(__file__).resolve().parent
    subprocess.run(["ip", "-n", network.NAMESPACE, "route", "replace", *_ROUTE], check=True)
    options = (
        f"--kubeconfig={KUBECONFIG}",
        "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        f"--node-ip={network.NODE_IP}",
        "--node-lease-duration-seconds=40",
        f"--config={here / 'kwok.yaml'}",
    )
    log = Path(os.environ.get("KWOK_LOG", os.devnull)).open("wb")  # noqa: SIM115 - as long as the processes
    quiet = {"stdout": log, "stderr": log}
    pods = [*network.ENTER, sys.executable, str(here / "fake_pods.py"), str(PORT)]
    started = [subprocess.Popen([str(binary), *options], **quiet), subprocess.Popen(pods, **quiet)]  # type: ignore[call-overload]
    try:
        yield
    finally:
        for each in started:
            each.send_signal(signal.SIGTERM)
        for each in started:
            each.wait(timeout=20)
        subprocess.run(["ip", "-n", network.NAMESPACE, "route", "del", *_ROUTE], check=False)
        log.close()


async def until(what: str, look: Callable[[], Awaitable[int]], wanted: int, progress: Progress) -> float:
    """Waits until so many are there; seconds."""
    began = time.monotonic()
    with progress.step(what):
        while (found := await look()) < wanted:
            if time.monotonic() - began > _PATIENCE.total_seconds():
                raise TimeoutError(f"{what}: {found} of {wanted} after {_PATIENCE}")
            await asyncio.sleep(_POLL)
    return time.monotonic() - began


async def restarted(release: Release, count: int, progress: Progress) -> float:
    """Seconds from a fresh operator's start until it has looked at every service."""
    release.scale(0)
    began = time.monotonic()
    release.scale(1)

    async def looked_at() -> int:
        return int((await asyncio.to_thread(sample, release)).passes)

    await until("a fresh operator has looked at all of them", looked_at, count, progress)
    return time.monotonic() - began


async def measure(release: Release, arguments: argparse.Namespace, progress: Progress, say: Say) -> None:
    """All figures, one after the other, each said as soon as it is known."""
    count = arguments.services
    settings = client.Configuration()
    await config.load_kube_config(config_file=str(KUBECONFIG), client_configuration=settings)
    async with client.ApiClient(settings) as api:
        transport = Transport(api=api, timeout=60, observer=lambda *_: None, on_date=lambda _: None)
        fleet = Fleet(transport, count, replicas=arguments.replicas, strategy=arguments.strategy)
        try:
            with progress.step(f"{count} Deployments, Services and ResilientServices"):
                await fleet.make(lambda _: None)
            await until("all pods are ready", fleet.ready, count, progress)
            await until("all services are healthy", fleet.running, count, progress)
            say(f"services, of {arguments.replicas} pods each", f"{count}")
            say("start-up until all were looked at", f"{await restarted(release, count, progress):.0f} s")
            await asyncio.sleep(60)
            await _idle(release, arguments, progress, say)
            for version, pause in (("2", 0.5), ("3", 0.0)):
                await _released(release, fleet, version, pause, progress, say)
            await _restarted_one(release, fleet, progress, say)
            if arguments.churn:
                await _churned(release, fleet, arguments.churn, progress, say)
        finally:
            with progress.step("cleaning up"):
                await fleet.gone()


async def _idle(release: Release, arguments: argparse.Namespace, progress: Progress, say: Say) -> None:
    before = sample(release)
    with progress.step(f"{arguments.minutes} quiet minutes"):
        await asyncio.sleep(arguments.minutes * 60)
    span = Span(before, sample(release))
    say("CPU, quiet", f"{span.cpu:.1%} of a core")
    say("RSS, quiet", f"{span.after.rss / 2**20:.0f} MiB")
    say("API requests a minute, quiet", f"{span.per_minute():.0f}, of them writes {_writes(span):.0f}")
    say("series", f"{span.after.series}")


async def _released(release: Release, fleet: Fleet, version: str, pause: float, progress: Progress, say: Say) -> None:
    """A tenth of the services; a `pause` of 0 is all of them in the same moment, which no control plane likes."""
    how = f"{1 / pause:.0f} a second" if pause else "all at once"
    before, ended = sample(release), await fleet.ended()
    chosen = await fleet.release(0.1, version, pause=pause)

    async def done() -> int:
        return sum(trace != ended[name] for name, trace in (await fleet.ended()).items())

    await until(f"{chosen} releases, {how}", done, chosen, progress)
    span = Span(before, sample(release))
    say(f"{chosen} releases, {how}: all done after", f"{span.seconds:.0f} s")
    say("  CPU meanwhile", f"{span.cpu:.0%} of a core")
    say("  API requests a minute", f"{span.per_minute():.0f}, of them writes {_writes(span):.0f}")
    slow = ", ".join(f"{span.quantile(share):.2f} s" for share in (0.5, 0.95, 0.99))
    say("  event to action, p50, p95, p99", slow)
    await asyncio.sleep(10)


async def _restarted_one(release: Release, fleet: Fleet, progress: Progress, say: Say) -> None:
    before = sample(release)
    await fleet.restart("benchmark")
    await until("a restart of one service", lambda: fleet.restarted("benchmark"), 1, progress)
    span = Span(before, sample(release))
    say("one restart: done after", f"{span.seconds:.0f} s")
    say("  CPU meanwhile", f"{span.cpu:.0%} of a core")


async def _churned(release: Release, fleet: Fleet, count: int, progress: Progress, say: Say) -> None:
    before = sample(release)
    with progress.step(f"{count} services come and go"):
        await fleet.churn(count, lambda _: None)
    await asyncio.sleep(60)
    after = sample(release)
    change = after.rss / before.rss - 1
    say(f"RSS after {count} services came and went", f"{after.rss / 2**20:.0f} MiB ({change:+.1%})")
    say("series after that", f"{after.series} ({after.series - before.series:+d})")


def _writes(span: Span) -> float:
    return span.per_minute("POST", "PUT", "PATCH", "DELETE")


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--strategy", choices=["RollingUpdate", "BlueGreen"], default="RollingUpdate")
    parser.add_argument("--churn", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=5)
    arguments = parser.parse_args()
    console = Console(highlight=False)
    progress = Progress(console)
    binaries.ensure("kwok", progress=progress)
    local, cluster = Local(progress), LocalCluster()
    cluster.create()
    for image in images.ALL:
        local.provide(image)
    release = Release(cluster)
    table = Table("figure", "value", title="What it costs", title_justify="left")

    def say(name: str, value: str) -> None:
        console.print(f"  {name}: {value}")
        table.add_row(name, value)

    with ExitStack() as stack:
        stack.enter_context(kubelets())
        with progress.step("helm install resilience-operator"):
            release.install(replicas=1, resources={"limits": {"memory": "1Gi"}})
        stack.callback(release.uninstall)
        asyncio.run(measure(release, arguments, progress, say))
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
