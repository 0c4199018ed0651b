"""The stage of the benchmarks: nodes and pods that kwok plays, the operator as Helm installs it, and the fleet."""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from kubernetes.aio import client, config

from benchmarks.fleet import Fleet
from benchmarks.kinds import PORT, Kind
from resilience.adapters.clock import SystemClock
from resilience.adapters.kube.transport import Transport
from tests.cluster import binaries, network
from tests.cluster.paths import KUBECONFIG
from tests.cluster.progress import Progress
from tests.support.release import Release

# All pods' addresses lead to this machine, but for those of the real node, whose route is longer.
_ROUTE: Final = ("local", network.POD_RANGE, "dev", "lo", "table", "main")
_PATIENCE: Final = timedelta(minutes=30)
# Seconds. Asking is work for the same API server, so what takes how long is known to that.
_POLL: Final = 3


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


@contextmanager
def installed(release: Release, *, services: int, progress: Progress) -> Iterator[None]:
    """One replica, which may look after all services of a fleet even if they share a namespace."""
    with progress.step("helm install resilience-operator"):
        limits = {"limits": {"memory": "1Gi"}}
        release.install(replicas=1, resources=limits, servicesPerNamespace=max(services, 500))
    try:
        yield
    finally:
        release.uninstall()


async def until(what: str, look: Callable[[], Awaitable[int]], wanted: int, progress: Progress) -> float:
    """Waits until so many are there; seconds."""
    began = time.monotonic()
    with progress.step(what):
        while (found := await look()) < wanted:
            if time.monotonic() - began > _PATIENCE.total_seconds():
                raise TimeoutError(f"{what}: {found} of {wanted} after {_PATIENCE}")
            await asyncio.sleep(_POLL)
    return time.monotonic() - began


@asynccontextmanager
async def api_server() -> AsyncIterator[client.ApiClient]:
    """The client for whoever administers the cluster."""
    settings = client.Configuration()
    await config.load_kube_config(config_file=str(KUBECONFIG), client_configuration=settings)
    async with client.ApiClient(settings) as api:
        yield api


@asynccontextmanager
async def made(fleet: Fleet, progress: Progress) -> AsyncIterator[None]:
    """The fleet, looked after and with all its pods; it is taken away again."""
    count = len(fleet.services)
    try:
        with progress.step(f"{count} services"):
            await fleet.make(lambda _: None)
        await until("all pods are ready", fleet.ready, count, progress)
        await until("all services are looked after", fleet.running, count, progress)
        yield
    finally:
        with progress.step("cleaning up"):
            await fleet.gone()


def fleet_of(transport: Transport, kind: Kind, arguments: argparse.Namespace) -> Fleet:
    """The fleet that was asked for."""
    services: int = arguments.services
    per_namespace = services if arguments.per_namespace == "all" else int(arguments.per_namespace)
    return Fleet(transport, services, kind=kind, replicas=arguments.replicas, per_namespace=per_namespace)


def transport_of(api: client.ApiClient) -> Transport:
    """Requests of the benchmark itself."""
    return Transport(api=api, timeout=60, observer=lambda *_: None, clock=SystemClock())
