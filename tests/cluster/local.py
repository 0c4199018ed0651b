"""Brings the cluster of plain processes up and takes it down again: the order of things, and nothing else.

Every step may find its work done, half done or undone, since both `up` and `down` can be cut anywhere.
Must not leave anything behind on `down` but the cache.
"""

import os
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
    ending,
    imports,
    joining,
    metrics,
    network,
    nodes,
    outage,
    packages,
    pki,
    processes,
)
from tests.cluster.components import Component
from tests.cluster.images import Image
from tests.cluster.nodes import FIRST
from tests.cluster.paths import KUBECONFIG, PKI, STATE, cache
from tests.cluster.progress import Progress
from tests.cluster.shell import ClusterError, exclusive

_BOOT = STATE / "boot"


@dataclass(frozen=True, slots=True)
class Local:
    """The cluster on this machine."""

    progress: Progress

    def up(self, *, count: int = 1) -> None:
        """Have it running with at least so many nodes, whatever was there before. Returns at once when it is."""
        _require_root()
        begun = monotonic()
        if _healthy(count):
            self.progress.say(f"the cluster is up (checked in {monotonic() - begun:.1f} s)")
            return
        packages.ensure(progress=self.progress)
        binaries.ensure(progress=self.progress)
        with exclusive(_lock()):
            if _stale():
                self._take_down()
            # Another `up` may have done it all while this one waited.
            if not _first_healthy():
                self._bring_up()
            self._complete(count)
        self.progress.say(f"the cluster is up after {monotonic() - begun:.1f} s; KUBECONFIG={KUBECONFIG}")

    def down(self) -> None:
        """Remove it, however much of it there is."""
        _require_root()
        with exclusive(_lock()):
            self._take_down()

    def status(self) -> dict[str, bool]:
        """What of it works, by name."""
        there = nodes.known()
        names = [name for node in there for name in components.names(node)]
        return {
            **{name: processes.running(name) is not None for name in names},
            "API": api.ready(),
            **{node.name: api.node_ready(node) for node in there},
            "DNS": api.dns_ready(),
            **{node.process("Services"): api.proxy_ready(node) for node in there},
            "metrics": api.metrics_ready(),
        }

    def kubeconfig(self) -> Path:
        """The administrator's, with everything inside."""
        return KUBECONFIG

    def host(self) -> str:
        """The machine's end of the way into the network of the cluster."""
        return network.HOST_IP

    def authority(self) -> tuple[str, str]:
        """Certificate and key of the authority that pods trust as the API server's."""
        return (PKI / "ca.crt").read_text(), (PKI / "ca.key").read_text()

    def stop_api_server(self) -> None:
        """Kill the API server: connections are refused until it is started again. All else runs on."""
        processes.kill("apiserver")

    def start_api_server(self) -> None:
        """Start the API server and wait until it is ready."""
        _start(components.api_server(), "API server", api.ready)

    def add_node(self, *, taint: str = "") -> str:
        """Add one node and return its name. Raises ClusterError when the cluster is not up."""
        with exclusive(_lock()):
            if not _first_healthy():
                raise ClusterError("the cluster is not up: run `python -m tests.cluster up` first")
            node = nodes.unused(nodes.known())
            joining.join(node, progress=self.progress, taint=taint)
        return node.name

    def remove_node(self, name: str) -> None:
        """Remove a further node with all that runs on it; to move its pods elsewhere, drain it before."""
        with exclusive(_lock()):
            node = nodes.named(name)
            if node == FIRST:
                raise ClusterError(f"{name} carries the control plane: `down` removes it, with all others")
            joining.leave(node, progress=self.progress)

    def freeze(self, name: str) -> None:
        """Stop its kubelet and its pods' processes, as on a machine that hangs."""
        outage.freeze(nodes.named(name))

    def thaw(self, name: str) -> None:
        """Undo `freeze`."""
        outage.thaw(nodes.named(name))

    def cut(self, name: str) -> None:
        """Lose every packet from and to a further node."""
        network.cut(nodes.named(name))

    def mend(self, name: str) -> None:
        """Undo `cut`."""
        network.mend(nodes.named(name))

    def has_image(self, name: str) -> bool:
        """True when pods can use the image on every node; `name` in full, as in `docker.io/library/shop:dev`."""
        return imports.everywhere(name)

    def load(self, image: Path | str) -> None:
        """Import a `docker save` or OCI archive, or an image that was built here, by its full tag, on every node."""
        archive_file = image if isinstance(image, Path) else buildah.archive_of(image)
        if not archive_file.is_file():
            raise ClusterError(f"{image} is neither a file nor an image that was built here")
        # A node that joins meanwhile would miss it.
        with exclusive(_lock()):
            imports.load(archive_file)

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
            cgroups.up(FIRST)
        with step("certificates and configuration"):
            pki.up()
            config.write_all()
            (STATE / "etcd").mkdir(mode=0o700, exist_ok=True)
        with step("etcd and API server"):
            for component in (components.etcd(), components.containerd(FIRST)):
                processes.start(component)
            self.start_api_server()
        with step("controllers"):
            for component in (components.controller_manager(), components.scheduler()):
                processes.start(component)
        with step("containerd and pause image"):
            processes.expect("containerd", "containerd", lambda: imports.answers(FIRST))
            imports.load(archive.pause_image())
        with step("kubelet, proxy and DNS"):
            for component in (components.kubelet(FIRST), components.kube_proxy(FIRST)):
                processes.start(component)
            _start(components.coredns(), "DNS", api.dns_ready)
            processes.expect("kubelet", "node", lambda: api.node_ready(FIRST))
            processes.expect("proxy", "Service rules", lambda: api.proxy_ready(FIRST))
        with step("default ServiceAccount"):
            processes.expect("kcm", "default ServiceAccount", api.default_account)
        with step("metrics-server"):
            metrics.apply(metrics.for_process(), kubeconfig=KUBECONFIG)
            _start(components.metrics_server(), "metrics.k8s.io", api.metrics_ready)

    def _complete(self, count: int) -> None:
        """Have every further node that is there or asked for; one that is half removed goes first."""
        for node in nodes.known()[1:]:
            if node.going.exists():
                joining.leave(node, progress=self.progress)
        wanted = nodes.known()
        while len(wanted) < count:
            wanted.append(nodes.unused(wanted))
        for node in wanted[1:]:
            if not joining.healthy(node):
                joining.join(node, progress=self.progress)

    def _take_down(self) -> None:
        there = nodes.known()
        if not (STATE.exists() or any(network.exists(node) for node in there)):
            self.progress.say("the cluster is down")
            return
        with self.progress.step("processes and pods"):
            for node in reversed(there):
                ending.stop(node)
        with self.progress.step("mounts, network and state"):
            for node in reversed(there):
                ending.clear(node)


def _start(component: Component, what: str, ready: Callable[[], bool]) -> None:
    processes.start(component)
    processes.expect(component.name, what, ready)


def _healthy(count: int) -> bool:
    there = nodes.known()
    return len(there) >= count and _first_healthy() and all(joining.healthy(node) for node in there[1:])


def _first_healthy() -> bool:
    answers = (api.default_account, api.dns_ready, api.metrics_ready)
    return joining.healthy(FIRST) and not _stale() and all(ready() for ready in answers)


def _stale() -> bool:
    """Whether what is there cannot be resumed: half removed, or from before the machine's last boot."""
    if not STATE.exists():
        return False
    known = _BOOT.read_text() if _BOOT.exists() else ""
    return FIRST.going.exists() or known not in ("", processes.boot_id())


def _require_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            "the local cluster needs root (network namespace, cgroups, mounts): use sudo, or a Docker engine"
        )


def _lock() -> Path:
    return cache() / "cluster.lock"
