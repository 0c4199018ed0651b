"""The nodes' own network namespaces: the host's firewall stays clean, and deleting them takes all of it away.

The first node hangs on the machine, all others on the first node, which passes on what is not for itself. Pods reach
pods under their own addresses, as Kubernetes wants it. Must not touch any link, route or namespace but the cluster's.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.nodes import FIRST, Node
from tests.cluster.paths import NAMESPACES
from tests.cluster.shell import ClusterError, run, succeeds

NAMESPACE = FIRST.namespace
HOST_LINK = "kt0"
HOST_IP = FIRST.gateway
NODE_IP = FIRST.address
ENTER = FIRST.enter
POD_RANGE = "10.42.0.0/16"
# The node controller gives the first node the first /24 of the range.
FIRST_POD_RANGE = "10.42.0.0/24"
SERVICE_RANGE = "10.43.0.0/16"
# The second family, where this machine has it: on the first node alone, so that the others are nodes with one family.
_HOST_IP6 = "fd00:10:255::1"
NODE_IP6 = "fd00:10:255::2"
POD_RANGE6 = "fd00:10:42::/56"
FIRST_POD_RANGE6 = "fd00:10:42::/64"
SERVICE_RANGE6 = "fd00:10:43::/112"
API_SERVICE_IP = "10.43.0.1"
CNI_RESULTS = Path("/var/lib/cni/results")

# Every node's end of its link.
_NODE_LINK = "eth0"
_IPV6_ADDRESSES = Path("/proc/net/if_inet6")
# Packets that kube-proxy has marked stay: it masquerades those itself, as for a pod that reaches itself by a Service.
_BETWEEN_PODS = (
    *("POSTROUTING", "--source", POD_RANGE, "--destination", POD_RANGE),
    *("--match", "mark", "!", "--mark", "0x4000/0x4000", "--jump", "ACCEPT"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """The CNI library's note about a pod's network: tells what to remove with containerd long gone.

    A pod has two, one for its loopback link; only the other one's network has a name that tells the node.
    """

    file: Path
    network: str
    pod_sandbox: str
    namespace: str


def has_ipv6() -> bool:
    """This machine's kernel has IPv6, and nobody has switched it off."""
    return bool(_IPV6_ADDRESSES.exists() and _IPV6_ADDRESSES.read_text())


def families(first: str, second: str) -> tuple[str, ...]:
    """Addresses or ranges of IPv4 and IPv6: the second where this machine has it."""
    return (first, second) if has_ipv6() else (first,)


def up() -> None:
    """Make the first node's namespace and the way to it; pods and Services are then reachable from the host."""
    _namespace(FIRST)
    if not succeeds("ip", "link", "show", HOST_LINK):
        run("ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", _NODE_LINK, "netns", NAMESPACE)
    run("ip", "addr", "replace", f"{HOST_IP}/30", "dev", HOST_LINK)
    run("ip", "link", "set", HOST_LINK, "up")
    _node_end(FIRST)
    for destination in (POD_RANGE, SERVICE_RANGE):
        run("ip", "route", "replace", destination, "via", NODE_IP)
    if has_ipv6():
        _up6()


def _up6() -> None:
    """The same for IPv6. Nobody else is on the link, so that no address need be checked for duplicates first."""
    run("ip", "addr", "replace", f"{_HOST_IP6}/64", "dev", HOST_LINK, "nodad")
    inside = ("ip", "-n", NAMESPACE)
    run(*inside, "addr", "replace", f"{NODE_IP6}/64", "dev", _NODE_LINK, "nodad")
    run(*inside, "-6", "route", "replace", "default", "via", _HOST_IP6)
    run(*ENTER, "tee", "/proc/sys/net/ipv6/conf/all/forwarding", stdin=b"1")
    for destination in (POD_RANGE6, SERVICE_RANGE6):
        run("ip", "-6", "route", "replace", destination, "via", NODE_IP6)


def join(node: Node) -> None:
    """Make a further node's namespace and the way to it. Its pods are reached only after `route`."""
    _namespace(node)
    in_first = ("ip", "-n", NAMESPACE)
    if not succeeds(*in_first, "link", "show", node.namespace):
        peer = ("peer", "name", _NODE_LINK, "netns", node.namespace)
        run(*in_first, "link", "add", node.namespace, "type", "veth", *peer)
    run(*in_first, "addr", "replace", f"{node.gateway}/30", "dev", node.namespace)
    run(*in_first, "link", "set", node.namespace, "up")
    _node_end(node)
    # Only the first node's link is the host's own.
    run("ip", "route", "replace", node.link, "via", NODE_IP)
    for passing in (FIRST, node):
        _let_pass(passing)


def route(node: Node, pod_range: str) -> None:
    """Lead packets for these pods to a further node; it sends all that is not for them back to the first one."""
    run("ip", "-n", NAMESPACE, "route", "replace", pod_range, "via", node.address)


def down(node: Node) -> None:
    """Take it all away, the namespaces of the node's pods included. Nothing inside may run any more."""
    for attachment in attachments(node):
        if attachment.namespace and (NAMESPACES / attachment.namespace).exists():
            run("ip", "netns", "del", attachment.namespace)
    if node == FIRST and succeeds("ip", "link", "show", HOST_LINK):
        run("ip", "link", "del", HOST_LINK)
    if node != FIRST and succeeds("ip", "-n", NAMESPACE, "link", "show", node.namespace):
        run("ip", "-n", NAMESPACE, "link", "del", node.namespace)
    if node != FIRST and run("ip", "route", "show", node.link):
        run("ip", "route", "del", node.link)
    if exists(node):
        run("ip", "netns", "del", node.namespace)
    node.namespace_file.unlink(missing_ok=True)


def cut(node: Node) -> None:
    """Lose every packet from and to a further node. Raises ClusterError for the first, which is everybody's way."""
    _queue(node, "pfifo", "limit", "0")


def mend(node: Node) -> None:
    """Undo `cut`, however much of it was done."""
    _queue(node, "noqueue")


def attachments(node: Node) -> list[Attachment]:
    """Those of the node's pods, a pod's most telling one last; with the first node's all that are left of any node."""
    notes = sorted(_notes(), key=lambda note: note.network.startswith(FIRST.cni_network))
    ours = {note.pod_sandbox for note in notes if note.network == node.cni_network}
    return [note for note in notes if note.pod_sandbox in ours or node == FIRST]


def _notes() -> Iterator[Attachment]:
    """Of all nodes: nobody else's pods are told of this DNS server."""
    for file in CNI_RESULTS.glob("*"):
        try:
            note = json.loads(file.read_bytes())
            ours = NODE_IP in note["capabilityArgs"]["dns"]["Servers"]
            sandboxes = [interface.get("sandbox") for interface in note["result"]["interfaces"]]
        except (ValueError, KeyError, TypeError):
            continue
        if ours:
            namespace = next((Path(sandbox).name for sandbox in sandboxes if sandbox), "")
            yield Attachment(
                file=file, network=note["networkName"], pod_sandbox=note["containerId"], namespace=namespace
            )


def exists(node: Node) -> bool:
    """Whether the namespace is there (and not just the file that a cut `ip netns add` leaves)."""
    return succeeds(*node.enter, "true")


def _namespace(node: Node) -> None:
    if not exists(node):
        node.namespace_file.unlink(missing_ok=True)
        run("ip", "netns", "add", node.namespace)


def _node_end(node: Node) -> None:
    """Address, links and default route inside the namespace."""
    inside = ("ip", "-n", node.namespace)
    run(*inside, "addr", "replace", f"{node.address}/30", "dev", _NODE_LINK)
    run(*inside, "link", "set", "lo", "up")
    run(*inside, "link", "set", _NODE_LINK, "up")
    run(*inside, "route", "replace", "default", "via", node.gateway)


def _let_pass(node: Node) -> None:
    """The CNI plugins would hide pods behind their node's address from all pods but the node's own."""
    run(*node.enter, "tee", "/proc/sys/net/ipv4/ip_forward", stdin=b"1")
    iptables = (*node.enter, "iptables", "--wait", "--table", "nat")
    if not succeeds(*iptables, "--check", *_BETWEEN_PODS):
        run(*iptables, "--insert", *_BETWEEN_PODS)


def _queue(node: Node, *words: str) -> None:
    """At both ends of the node's link. With a link that is down, programs would be told that nothing can be reached."""
    if node == FIRST:
        raise ClusterError(f"{node.name} carries the control plane: without it there is no cluster; choose another")
    for namespace, link in ((NAMESPACE, node.namespace), (node.namespace, _NODE_LINK)):
        run("tc", "-n", namespace, "qdisc", "replace", "dev", link, "root", *words)
