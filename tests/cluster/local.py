"""Brings the single-node cluster up and takes it down again: the order of things, and nothing else.

Every step may find its work done, half done or undone, since both `up` and `down` can be cut anywhere.
Must not leave anything behind on `down` but the cache.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.cluster import (
    api,
    archive,
    binaries,
    buildah,
    cgroups,
    components,
    config,
    leftovers,
    metrics,
    network,
    packages,
    pki,
    processes,
)
from tests.cluster.components import Component
from tests.cluster.images import Image
from tests.cluster.paths import CONTAINERD_SOCKET, KUBECONFIG, STATE, cache
from tests.cluster.progress import Progress
from tests.cluster.shell import ClusterError, exclusive, run, succeeds

_BOOT = STATE / "boot"
_GOING_DOWN = STATE / "going-down"
_CTR = ("ctr", "--address", str(CONTAINERD_SOCKET), "--namespace", "k8s.io")


@dataclass(frozen=True, slots=True)
class Local:
    """The cluster on this machine."""

    progress: Progress

    def up(self) -> None:
        """Have it running, whatever was there before. Returns at once when it is healthy."""
        _require_root()
        begun = monotonic()
        if _healthy():
            self.progress.say(f"the cluster is up (checked in {monotonic() - begun:.1f} s)")
            return
        packages.ensure(progress=self.progress)
        binaries.ensure(progress=self.progress)
        with exclusive(_lock()):
            if _stale():
                self._take_down()
            # Another `up` may have done it all while this one waited.
            if not _healthy():
                self._bring_up()
        self.progress.say(f"the cluster is up after {monotonic() - begun:.1f} s; KUBECONFIG={KUBECONFIG}")

    def down(self) -> None:
        """Remove it, however much of it there is."""
        _require_root()
        with exclusive(_lock()):
            self._take_down()

    def status(self) -> dict[str, bool]:
        """What of it works, by name."""
        processes_up = {name: processes.running(name) is not None for name in components.NAMES}
        return {
            **processes_up,
            "API": api.ready(),
            "node": api.node_ready(),
            "DNS": api.dns_ready(),
            "Services": api.proxy_ready(),
            "metrics": api.metrics_ready(),
        }

    def kubeconfig(self) -> Path:
        """The administrator's, with everything inside."""
        return KUBECONFIG

    def host(self) -> str:
        """The machine's end of the way into the network of the cluster."""
        return network.HOST_IP

    def stop_api_server(self) -> None:
        """Kill the API server: connections are refused until it is started again. All else runs on."""
        processes.kill("apiserver")

    def start_api_server(self) -> None:
        """Start the API server and wait until it is ready."""
        _start(components.api_server(), "API server", api.ready)

    def has_image(self, name: str) -> bool:
        """Whether pods can use the image; `name` in full, as in `docker.io/library/shop:dev`."""
        return name in run(*_CTR, "images", "list", "--quiet").split()

    def load(self, image: Path | str) -> None:
        """Import a `docker save` or OCI archive, or an image that was built here, by its full tag."""
        archive_file = image if isinstance(image, Path) else buildah.archive_of(image)
        if not archive_file.is_file():
            raise ClusterError(f"{image} is neither a file nor an image that was built here")
        run(*_CTR, "images", "import", archive_file)

    def build_image(self, image: Image) -> Path:
        """Build it if it changed, and return its archive."""
        _require_root()
        packages.ensure(progress=self.progress)
        return buildah.build(image, progress=self.progress)

    def provide(self, image: Image) -> None:
        """Build and load what changed since it was last loaded."""
        archive_file = self.build_image(image)
        loaded = STATE / "images" / archive_file.stem
        digest = buildah.digest_of(image)
        if self.has_image(image.tag) and loaded.exists() and loaded.read_text() == digest:
            return
        with self.progress.step(f"import {image.tag}"):
            self.load(archive_file)
        loaded.parent.mkdir(exist_ok=True)
        loaded.write_text(digest)

    def _bring_up(self) -> None:
        step = self.progress.step
        with step("network namespace and cgroup"):
            STATE.mkdir(parents=True, exist_ok=True)
            _BOOT.write_text(processes.boot_id())
            network.up()
            cgroups.up()
        with step("certificates and configuration"):
            pki.up()
            config.write_all()
            (STATE / "etcd").mkdir(mode=0o700, exist_ok=True)
        with step("etcd and API server"):
            for component in (components.etcd(), components.containerd()):
                processes.start(name=component.name, argv=component.argv)
            self.start_api_server()
        with step("controllers"):
            for component in (components.controller_manager(), components.scheduler()):
                processes.start(name=component.name, argv=component.argv)
        with step("containerd and pause image"):
            processes.expect("containerd", "containerd", lambda: succeeds(*_CTR, "version"))
            self.load(archive.pause_image())
        with step("kubelet, proxy and DNS"):
            for component in (components.kubelet(), components.kube_proxy()):
                processes.start(name=component.name, argv=component.argv)
            _start(components.coredns(), "DNS", api.dns_ready)
            processes.expect("kubelet", "node", api.node_ready)
            processes.expect("proxy", "Service rules", api.proxy_ready)
        with step("default ServiceAccount"):
            processes.expect("kcm", "default ServiceAccount", api.default_account)
        with step("metrics-server"):
            metrics.apply(metrics.for_process(), kubeconfig=KUBECONFIG)
            _start(components.metrics_server(), "metrics.k8s.io", api.metrics_ready)

    def _take_down(self) -> None:
        if not (STATE.exists() or network.exists()):
            self.progress.say("the cluster is down")
            return
        with self.progress.step("processes and pods"):
            STATE.mkdir(parents=True, exist_ok=True)
            # What is half removed must not be resumed by the next `up`.
            _GOING_DOWN.touch()
            for name in components.NAMES:
                processes.kill(name)
            processes.kill_strays()
            cgroups.down()
        with self.progress.step("mounts, network and state"):
            for mount in _mounts():
                run("umount", "--lazy", mount)
            network.down()
            leftovers.remove()
            shutil.rmtree(STATE)


def _start(component: Component, what: str, ready: Callable[[], bool]) -> None:
    processes.start(name=component.name, argv=component.argv)
    processes.expect(component.name, what, ready)


def _healthy() -> bool:
    programs = all(processes.running(name) for name in components.NAMES)
    answers = (api.node_ready, api.default_account, api.dns_ready, api.proxy_ready, api.metrics_ready)
    return programs and not _stale() and all(ready() for ready in answers)


def _stale() -> bool:
    """Whether what is there cannot be resumed: half removed, or from before the machine's last boot."""
    if not STATE.exists():
        return False
    known = _BOOT.read_text() if _BOOT.exists() else ""
    return _GOING_DOWN.exists() or known not in ("", processes.boot_id())


def _require_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            "the local cluster needs root (network namespace, cgroups, mounts): use sudo, or a Docker engine"
        )


def _lock() -> Path:
    return cache() / "cluster.lock"


def _mounts() -> list[str]:
    """Everything mounted below the state folder, the innermost first."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [point for point in reversed(points) if point.startswith(f"{STATE}/")]
