"""Does to nodes what a person or a broken machine does: drains, taints, hangs, cuts off, adds and removes them.

Whatever lasts is a context that undoes itself. Must not know what runs on a node.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pytest_kind import KindCluster

from tests.cluster import engine
from tests.support.kube import Kube, wait_until

HOSTNAME = "kubernetes.io/hostname"


class Nodes:
    """The nodes of the cluster, by their names."""

    def __init__(self, cluster: KindCluster) -> None:
        self._kube = Kube(cluster)
        self._cluster = engine.current()

    def names(self) -> list[str]:
        """All of them; where there are several, the first is the control plane's."""
        return sorted(node["metadata"]["name"] for node in self._kube.list("nodes"))

    def is_ready(self, name: str) -> bool:
        """As the API server knows it: a node that hangs stays ready until its lease is too old, after 40 s."""
        conditions = self._kube.get("nodes", name)["status"]["conditions"]
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def wait_ready(self, name: str, *, timeout: float = 60) -> None:
        wait_until(lambda: self.is_ready(name), what=f"node {name} to be ready", timeout=timeout)

    def drain(self, name: str, *options: str, timeout: float = 60) -> str:
        """Evict all pods but those of DaemonSets, and keep new ones away. Raises KubectlError when it takes longer."""
        usual = ("--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={timeout:.0f}s")
        return self._kube.kubectl("drain", name, *usual, *options)

    def cordon(self, name: str) -> None:
        """No new pods."""
        self._kube.kubectl("cordon", name)

    def uncordon(self, name: str) -> None:
        """Undo `cordon` and what `drain` leaves."""
        self._kube.kubectl("uncordon", name)

    @contextmanager
    def tainted(self, name: str, taint: str) -> Iterator[None]:
        """`taint` as kubectl wants it: `key=value:NoExecute`."""
        self._kube.kubectl("taint", "node", name, taint, "--overwrite")
        try:
            yield
        finally:
            self._kube.kubectl("taint", "node", name, f"{taint}-")

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Its kubelet and its pods' processes stand still; connections are accepted, and nobody answers."""
        try:
            self._cluster.freeze(name)
            yield
        finally:
            self._cluster.thaw(name)

    @contextmanager
    def cut_off(self, name: str) -> Iterator[None]:
        """Packets from and to it are lost; its pods run on, and nobody knows."""
        try:
            self._cluster.cut(name)
            yield
        finally:
            self._cluster.mend(name)

    @contextmanager
    def another(self) -> Iterator[str]:
        """One beside the first: added for this, or one of kind's workers. Skips the test where kind has none."""
        if not engine.uses_kind():
            name = self._cluster.add_node()
            try:
                yield name
            finally:
                self._cluster.remove_node(name)
            return
        names = self.names()
        if len(names) < 2:
            pytest.skip("kind cannot add a node; for this test: python -m tests.cluster down, then up --nodes 2")
        yield names[-1]
