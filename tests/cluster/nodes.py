"""The nodes of the local cluster: names, addresses, folders, all of which follow from a node's number.

The first node carries the control plane, DNS and metrics-server, too. A node is there when its folder or its network
namespace is, however much of it works. Must not start, make or remove anything.
"""

from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.cluster.paths import CONTAINERD_SOCKET, NAMESPACES, PKI, STATE
from tests.cluster.shell import ClusterError

# Links are /30s of 10.255.0.0/24: more have no address.
MOST = 64
_NAMESPACE = "kt"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Node:
    """One kubelet with its own containerd, network namespace and cgroup."""

    number: int

    @property
    def name(self) -> str:
        """Of the Node object."""
        return f"node{self.number}"

    @property
    def namespace(self) -> str:
        """Of its network; the cgroup and the first node's end of the link have the same name."""
        return _NAMESPACE if self.number == 1 else f"{_NAMESPACE}{self.number}"

    @property
    def namespace_file(self) -> Path:
        return NAMESPACES / self.namespace

    @property
    def enter(self) -> tuple[str, str]:
        """Before a command: runs it in the node's network. `ip netns exec` remounts /sys and so hides the cgroups."""
        return "nsenter", f"--net={self.namespace_file}"

    @property
    def link(self) -> str:
        """The /30 between the node and its gateway."""
        return f"10.255.0.{4 * (self.number - 1)}/30"

    @property
    def gateway(self) -> str:
        """The machine for the first node, the first node for all others."""
        return f"10.255.0.{4 * (self.number - 1) + 1}"

    @property
    def address(self) -> str:
        return f"10.255.0.{4 * (self.number - 1) + 2}"

    @property
    def cni_network(self) -> str:
        """Tells whose pods the CNI library's notes are about, long after the node is gone."""
        return "resilience-cluster" if self.number == 1 else f"resilience-cluster-{self.name}"

    @property
    def folder(self) -> Path:
        """Everything that is its alone; the first node's is the cluster's."""
        return STATE if self.number == 1 else STATE / self.name

    @property
    def pki(self) -> Path:
        return PKI if self.number == 1 else self.folder / "pki"

    @property
    def socket(self) -> Path:
        """Of its containerd."""
        return self.folder / CONTAINERD_SOCKET.name

    @property
    def going(self) -> Path:
        """The mark of a node that is half removed: it must not be resumed."""
        return self.folder / "going-down"

    def process(self, program: str) -> str:
        """The name under which a program of this node is known."""
        return program if self.number == 1 else f"{program}-{self.name}"


FIRST = Node(number=1)


def known() -> list[Node]:
    """The first node, and all others that are there."""
    names = [folder.name.removeprefix("node") for folder in STATE.glob("node*")]
    names += [file.name.removeprefix(_NAMESPACE) for file in NAMESPACES.glob(f"{_NAMESPACE}*")]
    return [FIRST, *(Node(number=number) for number in sorted({int(name) for name in names if name.isdigit()}))]


def named(name: str) -> Node:
    """Raises ClusterError for a node that is not there."""
    for node in known():
        if node.name == name:
            return node
    raise ClusterError(f"there is no node {name}; there are {', '.join(node.name for node in known())}")


def unused(there: list[Node]) -> Node:
    """The one to add next. Raises ClusterError when there is none."""
    taken = {node.number for node in there}
    number = next(number for number in count(2) if number not in taken)
    if number > MOST:
        raise ClusterError(f"{MOST} nodes are the most")
    return Node(number=number)
