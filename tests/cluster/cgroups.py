"""The cgroup that all pods of the local cluster live under, on version 1 (many trees) and version 2 (one tree).

Must not touch a process or a folder outside that cgroup. Whatever is in it, the kubelet of this cluster started.
"""

import os
import signal
from functools import partial
from pathlib import Path

from tests.cluster.shell import ClusterError, wait_for

NAME = "kt"
_ROOT = Path("/sys/fs/cgroup")


def up() -> None:
    """Make the cgroup; the kubelet insists that its cgroupRoot is there with every controller."""
    if _is_v2():
        for controller in (_ROOT / "cgroup.controllers").read_text().split():
            _write(_ROOT / "cgroup.subtree_control", f"+{controller}")
    for tree in _trees():
        (tree / NAME).mkdir(exist_ok=True)
        # A version 1 cpuset starts with neither CPUs nor memory nodes, and then takes no process.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not _is_v2() and (tree / file).exists():
                (tree / NAME / file).write_text((tree / file).read_text())


def down() -> None:
    """Kill every pod's processes and remove the cgroup."""
    wait_for("end of the pods' processes", _kill_all, seconds=20)
    for tree in _trees():
        wait_for(f"removal of {tree / NAME}", partial(_remove, tree / NAME), seconds=5)


def _kill_all() -> bool:
    """True when nothing was left to kill."""
    pids = {int(pid) for tree in _trees() for folder, _, _ in os.walk(tree / NAME) for pid in _processes(Path(folder))}
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return not pids


def _processes(cgroup: Path) -> list[str]:
    """A cgroup may go while it is looked at."""
    try:
        return (cgroup / "cgroup.procs").read_text().split()
    except OSError:
        return []


def _is_v2() -> bool:
    return (_ROOT / "cgroup.controllers").exists()


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
