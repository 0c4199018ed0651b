"""The cluster's own network namespace: the host's firewall stays clean, and one deletion takes all of it away.

Must not touch any link, route or namespace but its own.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.shell import run, succeeds

NAMESPACE = "kt"
NAMESPACE_FILE = Path("/run/netns") / NAMESPACE
HOST_LINK = "kt0"
HOST_IP = "10.255.0.1"
NODE_IP = "10.255.0.2"
POD_RANGE = "10.42.0.0/16"
# The node controller gives the first node the first /24 of the range.
NODE_POD_RANGE = "10.42.0.0/24"
SERVICE_RANGE = "10.43.0.0/16"
API_SERVICE_IP = "10.43.0.1"
CNI_NETWORK = "resilience-cluster"
CNI_RESULTS = Path("/var/lib/cni/results")

# Not `ip netns exec`: that remounts /sys and so hides the cgroups.
ENTER = ("nsenter", f"--net={NAMESPACE_FILE}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """What the CNI library noted about a pod's network: tells what to remove with containerd long gone."""

    file: Path
    pod_sandbox: str
    namespace: str


def up() -> None:
    """Make the namespace and the way to it; pods and Services are then reachable from the host."""
    if not exists():
        NAMESPACE_FILE.unlink(missing_ok=True)
        run("ip", "netns", "add", NAMESPACE)
    if not succeeds("ip", "link", "show", HOST_LINK):
        run("ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", "eth0", "netns", NAMESPACE)
    run("ip", "addr", "replace", f"{HOST_IP}/30", "dev", HOST_LINK)
    run("ip", "link", "set", HOST_LINK, "up")
    inside = ("ip", "-n", NAMESPACE)
    run(*inside, "addr", "replace", f"{NODE_IP}/30", "dev", "eth0")
    run(*inside, "link", "set", "lo", "up")
    run(*inside, "link", "set", "eth0", "up")
    run(*inside, "route", "replace", "default", "via", HOST_IP)
    for destination in (POD_RANGE, SERVICE_RANGE):
        run("ip", "route", "replace", destination, "via", NODE_IP)


def down() -> None:
    """Take it all away, the pods' namespaces included. Nothing inside may run any more."""
    for attachment in attachments():
        if attachment.namespace and (Path("/run/netns") / attachment.namespace).exists():
            run("ip", "netns", "del", attachment.namespace)
    if succeeds("ip", "link", "show", HOST_LINK):
        run("ip", "link", "del", HOST_LINK)
    if exists():
        run("ip", "netns", "del", NAMESPACE)
    NAMESPACE_FILE.unlink(missing_ok=True)


def attachments() -> list[Attachment]:
    """Those of this cluster: nobody else's pods are told of this DNS server."""
    found = []
    for file in CNI_RESULTS.glob("*"):
        try:
            note = json.loads(file.read_bytes())
            ours = NODE_IP in note["capabilityArgs"]["dns"]["Servers"]
            sandboxes = [interface.get("sandbox") for interface in note["result"]["interfaces"]]
        except (ValueError, KeyError, TypeError):
            continue
        if ours:
            namespace = next((Path(sandbox).name for sandbox in sandboxes if sandbox), "")
            found.append(Attachment(file=file, pod_sandbox=note["containerId"], namespace=namespace))
    return found


def exists() -> bool:
    """Whether the namespace is there (and not just the file that a cut `ip netns add` leaves)."""
    return succeeds(*ENTER, "true")
