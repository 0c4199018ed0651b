"""This operator and Argo Rollouts, one after the other: the same pods on the same API server in one sitting."""

import argparse
import asyncio
from collections.abc import Callable
from typing import Final

from benchmarks import argo
from benchmarks.burst import Burst
from benchmarks.kinds import Argos, Kind, Ours
from benchmarks.operator_figures import Operator
from benchmarks.releasing import Controller, released
from benchmarks.stage import api_server, fleet_of, installed, made, transport_of
from tests.cluster.progress import Progress
from tests.support.kube import Kube
from tests.support.release import Release

Say = Callable[[str, str], None]
# Seconds from the moment when all are looked after, for what the controller still has to do.
_SETTLING: Final = 60.0


async def compare(release: Release, arguments: argparse.Namespace, progress: Progress, say: Say) -> None:
    """Both, then ours divided by Argo's. Without checks, of which Argo has none."""
    options = {"replicas": arguments.replicas, "strategy": arguments.strategy}
    with installed(release, services=arguments.services, progress=progress):
        ours = await _measured(Ours(**options, checks=False), lambda: Operator(release), arguments, progress, say)
    with argo.running(Kube(release.kube.cluster)) as controller:
        theirs = await _measured(Argos(**options), lambda: controller, arguments, progress, say)
    say("ours, Argo's, ratio (less than 1: ours is better)", "")
    for name, mine, other, ratio in ours.compared(theirs):
        say(f"  {name}", f"{mine:.2f}, {other:.2f}, {ratio:.2f}")


async def _measured(
    kind: Kind, controller: Callable[[], Controller], arguments: argparse.Namespace, progress: Progress, say: Say
) -> Burst:
    async with api_server() as api:
        fleet = fleet_of(transport_of(api), kind, arguments)
        async with made(fleet, progress):
            await asyncio.sleep(_SETTLING)
            with progress.step(f"{arguments.releases} releases at once"):
                burst = await released(api, fleet, controller(), arguments.releases, version="2", pause=0)
    name = "this operator" if isinstance(kind, Ours) else f"Argo Rollouts {argo.version()}"
    say(f"{name}: {arguments.releases} of {arguments.services} services", f"per namespace {arguments.per_namespace}")
    for each, value in burst.rows():
        say(f"  {each}", value)
    return burst
