"""Chooses the cluster: kind where a Docker engine answers, else the local one. E2E_CLUSTER=kind|local decides.

Must not start anything by itself.
"""

import os
from pathlib import Path
from typing import Protocol

from tests.cluster.images import Image
from tests.cluster.progress import Progress
from tests.cluster.shell import ClusterError, succeeds


class Cluster(Protocol):
    """What can be done to a cluster of either kind."""

    def up(self, *, count: int = 1) -> None:
        """Have it running with at least so many nodes."""
        ...

    def down(self) -> None: ...

    def status(self) -> dict[str, bool]: ...

    def kubeconfig(self) -> Path: ...

    def stop_api_server(self) -> None: ...

    def start_api_server(self) -> None: ...

    def add_node(self, *, taint: str = "") -> str:
        """Add one node that takes pods (that tolerate `taint`: `key=value:effect`); returns its name.

        Raises ClusterError where that cannot be done.
        """
        ...

    def remove_node(self, name: str) -> None: ...

    def freeze(self, name: str) -> None:
        """Stop the kubelet and the pods' processes of a node, as on a machine that hangs."""
        ...

    def thaw(self, name: str) -> None: ...

    def cut(self, name: str) -> None:
        """Lose every packet from and to a node that does not carry the control plane."""
        ...

    def mend(self, name: str) -> None: ...

    def host(self) -> str:
        """Address at which pods reach servers of this machine that listen on all of its addresses."""
        ...

    def authority(self) -> tuple[str, str]:
        """Certificate and key of the authority that pods trust as the API server's."""
        ...

    def build_image(self, image: Image) -> Path | str: ...

    def load(self, image: Path | str) -> None: ...

    def provide(self, image: Image) -> None: ...


def uses_kind() -> bool:
    """Raises ClusterError for a word that E2E_CLUSTER does not know."""
    mode = os.environ.get("E2E_CLUSTER", "auto")
    if mode not in ("auto", "kind", "local"):
        raise ClusterError(f"E2E_CLUSTER={mode}: must be kind, local or auto")
    # Where only Docker's client is installed, `docker info` fails.
    return mode == "kind" or (mode == "auto" and succeeds("docker", "info"))


def current(*, progress: Progress | None = None) -> Cluster:
    """The cluster of this machine, running or not."""
    shown = progress or Progress()
    if uses_kind():
        # pytest-kind takes its time to load, which `up` of the local cluster need not spend.
        from tests.cluster.kind import Kind

        return Kind(shown)
    from tests.cluster.local import Local

    return Local(shown)
