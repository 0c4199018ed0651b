"""What the operator costs on a real API server, with pods that kwok plays.

    python -m benchmarks.scale [--services 1000] [--replicas 2] [--strategy BlueGreen] [--per-namespace 1|100|all]
        [--churn 10000] [--minutes 5]
    python -m benchmarks.scale --peer [--services 300] [--strategy BlueGreen] [--per-namespace all] [--releases 30]

The second one compares with Argo Rollouts: the same pods on the same API server, one controller after the other. Either
brings the local cluster up if need be, installs what it measures, and takes everything of its own away again.
"""

import argparse
import asyncio
import sys
import time
from contextlib import ExitStack

from kubernetes.aio import client
from rich.console import Console
from rich.table import Table

from benchmarks import argo
from benchmarks.fleet import Fleet
from benchmarks.kinds import Ours
from benchmarks.operator_figures import Operator, Span, sample
from benchmarks.peer import Say, compare
from benchmarks.releasing import released
from benchmarks.stage import api_server, fleet_of, installed, kubelets, made, transport_of, until
from tests.cluster import binaries, images
from tests.cluster.fixture import LocalCluster
from tests.cluster.local import Local
from tests.cluster.progress import Progress
from tests.support.release import Release


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
    async with api_server() as api:
        kind = Ours(replicas=arguments.replicas, strategy=arguments.strategy, checks=True)
        fleet = fleet_of(transport_of(api), kind, arguments)
        async with made(fleet, progress):
            say(f"services, of {arguments.replicas} pods each", f"{count}, per namespace {arguments.per_namespace}")
            say("start-up until all were looked at", f"{await restarted(release, count, progress):.0f} s")
            await asyncio.sleep(60)
            await _idle(release, arguments, progress, say)
            for version, pause in (("2", 0.5), ("3", 0.0)):
                await _released(api, release, fleet, version, pause, progress, say)
            await _restarted_one(release, fleet, progress, say)
            if arguments.churn:
                await _churned(release, fleet, arguments.churn, progress, say)


async def _idle(release: Release, arguments: argparse.Namespace, progress: Progress, say: Say) -> None:
    before = sample(release)
    with progress.step(f"{arguments.minutes} quiet minutes"):
        await asyncio.sleep(arguments.minutes * 60)
    span = Span(before, sample(release))
    say("CPU, quiet", f"{span.cpu:.1%} of a core")
    say("RSS, quiet", f"{span.after.rss / 2**20:.0f} MiB")
    say("API requests a minute, quiet", f"{span.per_minute():.0f}, of them writes {_writes(span):.0f}")
    say("series", f"{span.after.series}")


async def _released(
    api: client.ApiClient, release: Release, fleet: Fleet, version: str, pause: float, progress: Progress, say: Say
) -> None:
    """A tenth of the services; a `pause` of 0 is all of them in the same moment, which no control plane likes."""
    how = f"{1 / pause:.0f} a second" if pause else "all at once"
    count = max(len(fleet.services) // 10, 1)
    before = sample(release)
    with progress.step(f"{count} releases, {how}"):
        cost = await released(api, fleet, Operator(release), count, version=version, pause=pause)
    span = Span(before, sample(release))
    say(f"{count} releases, {how}:", "")
    for name, value in cost.rows():
        say(f"  {name}", value)
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
    parser.add_argument("--per-namespace", choices=["1", "100", "all"], default="100")
    parser.add_argument("--peer", action="store_true", help="only compare with Argo Rollouts, without checks")
    parser.add_argument("--releases", type=int, default=30, help="with --peer: so many at once")
    parser.add_argument("--churn", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=5)
    arguments = parser.parse_args()
    if arguments.peer and arguments.releases > arguments.services:
        parser.error("--releases: each service is released once, so there cannot be more than --services")
    console = Console(highlight=False)
    progress = Progress(console)
    binaries.ensure("kwok", progress=progress)
    if arguments.peer:
        argo.ensure(progress=progress)
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
        if arguments.peer:
            asyncio.run(compare(release, arguments, progress, say))
        else:
            stack.enter_context(installed(release, services=arguments.services, progress=progress))
            asyncio.run(measure(release, arguments, progress, say))
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
