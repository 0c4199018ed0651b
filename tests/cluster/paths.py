"""Where things are kept, in one place, so that `down` knows all there is to remove.

Must not create anything: who needs a folder makes it.
"""

import os
from pathlib import Path

# Kept short: containerd's socket is in it, and a Unix socket's path has at most 107 bytes.
STATE = Path("/var/lib/resilience-cluster")
PKI = STATE / "pki"
RECORDS = STATE / "run"
LOGS = STATE / "logs"
# The API server's: one line for each write by a ServiceAccount.
AUDIT_LOG = LOGS / "audit.log"
KUBECONFIG = STATE / "kubeconfig"
CONTAINERD_SOCKET = STATE / "cd.sock"
# Where `ip netns` keeps its names.
NAMESPACES = Path("/run/netns")

HERE = Path(__file__).resolve().parent
GO_MODULE = HERE / "gomod"
PROJECT = HERE.parent.parent


def cache() -> Path:
    """The folder that outlives `down`: programs, base image, layers. Safe to delete, costs time only."""
    chosen = os.environ.get("RESILIENCE_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "resilience-operator"
