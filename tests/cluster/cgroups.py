"""The cgroup that all pods of a node live under, on version 1 (many trees) and version 2 (one tree).

Must not touch a process or a folder outside of it. Whatever is in it, the kubelet of that node started.
"""

import os
import signal
from functools import partial
from pathlib import Path

from tests.cluster.nodes import Node
from tests.cluster.shell import ClusterError, wait_for

_ROOT = Path("/sys/fs/cgroup")
# Pods have a node to themselves elsewhere. Here they share the CPU with tests, builds and the cluster's programs, each
# of which would get as much as all pods together: so pods get eight times the usual share, on version 1 and 2.
_PREFERRED = {"cpu.shares": "8192", "cpu.weight": "800"}


def up(node: Node) -> None:
    """Make the cgroup; the kubelet insists that its cgroupRoot is there with every controller."""
    if _is_v2():
        for controller in (_ROOT / "cgroup.controllers").read_text().split():
            _write(_ROOT / "cgroup.subtree_control", f"+{controller}")
    for tree in _trees():
        (tree / node.namespace).mkdir(exist_ok=True)
        for file, value in _PREFERRED.items():
            if (tree / node.namespace / file).exists():
                _write(tree / node.namespace / file, value)
        # A version 1 cpuset starts with neither CPUs nor memory nodes, and then takes no process.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not _is_v2() and (tree / file).exists():
                (tree / node.namespace / file).write_text((tree / file).read_text())


def down(node: Node) -> None:
    """Kill every pod's processes and remove the cgroup."""
    wait_for(f"end of the processes of {node.name}'s pods", partial(_kill_all, node), seconds=20)
    for cgroup in _cgroups(node):
        wait_for(f"removal of {cgroup}", partial(_remove, cgroup), seconds=5)


def pids(node: Node) -> set[int]:
    """Of all that runs in the node's pods."""
    folders = (Path(folder) for cgroup in _cgroups(node) for folder, _, _ in os.walk(cgroup))
    return {int(pid) for folder in folders for pid in _processes(folder)}


def _kill_all(node: Node) -> bool:
    """True when nothing was left to kill."""
    left = pids(node)
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return not left


def _processes(cgroup: Path) -> list[str]:
    """A cgroup may go while it is looked at."""
    try:
        return (cgroup / "cgroup.procs").read_text().split()
    except OSError:
        return []


def _is_v2() -> bool:
    return (_ROOT / "cgroup.controllers").exists()


def _cgroups(node: Node) -> list[Path]:
    return [tree / node.namespace for tree in _trees()]


def _trees() -> list[Path]:
    """Version 1 has one for each controller, and on most machines an empty version 2 one beside them."""
    mounts = (line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines())
    trees = [Path(point) for point, kind in mounts if kind in ("cgroup", "cgroup2") and point.startswith(f"{_ROOT}")]
    if not trees:
        raise ClusterError(f"no cgroups at {_ROOT} on this machine")
    return trees


def _remove(cgroup: Path) -> bool:
    """True when it is gone with all below it. A cgroup stays busy for a moment after its last process."""
    try:
        for folder, _, _ in os.walk(cgroup, topdown=False):
            Path(folder).rmdir()
    except OSError:
        return False
    return not cgroup.exists()


def _write(file: Path, text: str) -> None:
    """A controller that cannot be handed down is one that pods do without; the kubelet says so if it minds."""
    try:
        file.write_text(text)
    except OSError:
        return
