"""Removes the few things that containerd and the kubelet put outside of the state folder, with no option against it.

Must be called with all of the node's processes gone and the CNI library's notes still there. Must not remove what
another containerd or kubelet on this machine may have made.
"""

import hashlib
from pathlib import Path

from tests.cluster.network import CNI_RESULTS, attachments
from tests.cluster.nodes import FIRST, Node

_SHIM_SOCKETS = Path("/run/containerd/s")
_DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")
_POD_LOG_LINKS = Path("/var/log/containers")


def remove(node: Node) -> None:
    """Files, links and folders of a node, the first one last; folders only when nothing else is in them."""
    for attachment in attachments(node):
        _shim_socket(node, attachment.pod_sandbox).unlink(missing_ok=True)
        attachment.file.unlink()
    for link in _POD_LOG_LINKS.glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{node.folder}/"):
            link.unlink()
    if node == FIRST:
        # All kubelets share them, since their place cannot be chosen.
        for file in ("kubelet.sock", "kubelet_internal_checkpoint"):
            (_DEVICE_PLUGINS / file).unlink(missing_ok=True)
    for folder in (_SHIM_SOCKETS, _DEVICE_PLUGINS, CNI_RESULTS, _POD_LOG_LINKS):
        _remove_empty(folder)
    for folder in (_SHIM_SOCKETS.parent, _DEVICE_PLUGINS.parent, CNI_RESULTS.parent):
        _remove_empty(folder)


def _shim_socket(node: Node, pod_sandbox: str) -> Path:
    """As containerd names it: SocketAddress in runtime/v2/shim/util_unix.go."""
    return _SHIM_SOCKETS / hashlib.sha256(f"{node.socket}/k8s.io/{pod_sandbox}".encode()).hexdigest()


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
