"""Drains, taints, hangs, cuts off, adds and removes nodes, as a person or a broken machine does.

Every lasting change is a context that undoes itself. Must not know what runs on a node.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pytest_kind import KindCluster

from tests.cluster import engine
from tests.support.kube import Kube, wait_until

HOSTNAME = "kubernetes.io/hostname"
_RESERVED = "tests.resilience.dev/reserved"
# Pods of the test that added a node; those of other tests stay away from it.
TOLERATION = {"key": _RESERVED, "operator": "Exists"}


class Nodes:
    """The nodes of the cluster, by their names."""

    def __init__(self, cluster: KindCluster) -> None:
        self._kube = Kube(cluster)
        self._cluster = engine.current()

    def names(self) -> list[str]:
        """Names of all nodes; where there are several, the first is the control plane's."""
        return sorted(node["metadata"]["name"] for node in self._kube.list("nodes"))

    def is_ready(self, name: str) -> bool:
        """The node is ready to the API server; one that hangs stays ready until its lease is too old, after 40 s."""
        conditions = self._kube.get("nodes", name)["status"]["conditions"]
        return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)

    def wait_ready(self, name: str, *, timeout: float = 60) -> None:
        wait_until(lambda: self.is_ready(name), what=f"node {name} to be ready", timeout=timeout)

    def drain(self, name: str, *options: str, timeout: float = 60) -> str:
        """Evicts all pods but those of DaemonSets, and keeps new ones away. Raises KubectlError after `timeout`."""
        usual = ("--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={timeout:.0f}s")
        return self._kube.kubectl("drain", name, *usual, *options)

    def cordon(self, name: str) -> None:
        """Keeps new pods away."""
        self._kube.kubectl("cordon", name)

    def uncordon(self, name: str) -> None:
        """Undoes `cordon` and the cordon that `drain` leaves."""
        self._kube.kubectl("uncordon", name)

    @contextmanager
    def tainted(self, name: str, taint: str) -> Iterator[None]:
        """Taints the node; `taint` as kubectl reads it: `key=value:NoExecute`."""
        self._kube.kubectl("taint", "node", name, taint, "--overwrite")
        try:
            yield
        finally:
            self._kube.kubectl("taint", "node", name, f"{taint}-")

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Freezes its kubelet and its pods' processes: connections are accepted and never answered."""
        try:
            self._cluster.freeze(name)
            yield
        finally:
            self._cluster.thaw(name)

    @contextmanager
    def cut_off(self, name: str) -> Iterator[None]:
        """Drops packets from and to the node; its pods run on, which nobody can observe."""
        try:
            self._cluster.cut(name)
            yield
        finally:
            self._cluster.mend(name)

    @contextmanager
    def another(self) -> Iterator[str]:
        """A node beside the first: added for this and for pods with `TOLERATION`, or one of kind's workers.

        Skips the test where kind has none.
        """
        if not engine.uses_kind():
            name = self._cluster.add_node(taint=f"{_RESERVED}=yes:NoSchedule")
            try:
                yield name
            finally:
                self._cluster.remove_node(name)
            return
        names = self.names()
        if len(names) < 2:
            pytest.skip("kind cannot add a node; for this test: python -m tests.cluster down, then up --nodes 2")
        yield names[-1]
