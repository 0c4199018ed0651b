"""Lets a node hang, as a machine does that swaps or waits for its disk, and undoes that; `network` can cut one off.

Must not end a process: whoever freezes, thaws.
"""

import os
import signal

from tests.cluster import cgroups, processes
from tests.cluster.nodes import Node


def freeze(node: Node) -> None:
    """Stop the kubelet and all that runs in the node's pods; the kernel still takes connections for them."""
    # The kubelet first, so that it starts nothing more.
    _signal(_kubelet(node), signal.SIGSTOP)
    stopped: set[int] = set()
    while left := cgroups.pids(node) - stopped:
        _signal(left, signal.SIGSTOP)
        stopped |= left


def thaw(node: Node) -> None:
    """Let all of it run on, the kubelet last: its probes find containers that answer."""
    _signal(cgroups.pids(node), signal.SIGCONT)
    _signal(_kubelet(node), signal.SIGCONT)


def _kubelet(node: Node) -> set[int]:
    pid = processes.running(node.process("kubelet"))
    return {pid} if pid else set()


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
