"""Ends what runs on a node and removes what it leaves; both may find their work half done.

Must not talk to the API server: it may be gone, or be what is to be ended.
"""

import shutil
from pathlib import Path

from tests.cluster import cgroups, components, leftovers, network, processes
from tests.cluster.nodes import Node
from tests.cluster.shell import run


def stop(node: Node) -> None:
    """End all of the node's processes, with the first node those of the control plane."""
    node.folder.mkdir(parents=True, exist_ok=True)
    node.going.touch()
    for name in components.names(node):
        processes.kill(name)
    processes.kill_strays(node)
    cgroups.down(node)


def clear(node: Node) -> None:
    """Remove all of its mounts, network and files; nothing of it may run, and the first node goes last."""
    for mount in _mounts(node):
        run("umount", "--lazy", mount)
    network.down(node)
    leftovers.remove(node)
    _remove_folder(node)


def _remove_folder(node: Node) -> None:
    """The mark last: until then nobody takes the rest for something to resume."""
    for entry in node.folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry != node.going:
            entry.unlink()
    shutil.rmtree(node.folder)


def _mounts(node: Node) -> list[str]:
    """Everything mounted below the node's folder, the innermost first."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [point for point in reversed(points) if point.startswith(f"{node.folder}/")]
