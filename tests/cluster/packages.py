"""Sees to the host packages that the local cluster and its images need.

Must not change the host unless it can (root, apt-get) and must (something is missing).
"""

import os
from pathlib import Path

from tests.cluster.paths import cache
from tests.cluster.progress import Progress
from tests.cluster.shell import ClusterError, exclusive, find

# Debian keeps versions of PostgreSQL beside each other.
POSTGRES_FOLDER = Path("/usr/lib/postgresql")
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))

# Package (Debian's name) → the program that shows that it is there.
PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "iproute2": "ip",
    "util-linux": "nsenter",
    "conntrack": "conntrack",
    "openssl": "openssl",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "gcc": "gcc",
    "redis-server": "redis-server",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
}
# Package → a file, for those that bring no program.
FILES = {
    "libc6-dev": Path("/usr/include/stdio.h"),
    "debian-archive-keyring": Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
}


def cni_folder() -> Path | None:
    """Where the CNI plugins are, or None."""
    return next((folder for folder in CNI_FOLDERS if (folder / "bridge").exists()), None)


def missing() -> tuple[str, ...]:
    """Names of the packages that are not there."""
    names = [package for package, program in PROGRAMS.items() if find(program) is None]
    names += [package for package, file in FILES.items() if not file.exists()]
    if not any(POSTGRES_FOLDER.glob("*/bin/postgres")):
        names.append("postgresql")
    if cni_folder() is None:
        names.append("containernetworking-plugins")
    return tuple(names)


def ensure(*, progress: Progress) -> None:
    """Install what is missing. Raises ClusterError with the command to run where this process may not."""
    if missing():
        # Several tests may come at once, and apt-get waits for nobody who reads its lists.
        with exclusive(cache() / "packages.lock"):
            _install(missing(), progress=progress)


def _install(names: tuple[str, ...], *, progress: Progress) -> None:
    if not names:
        return
    if os.geteuid() != 0 or find("apt-get") is None:
        raise ClusterError(
            f"missing on this machine: {', '.join(names)}\n"
            f"run: sudo apt-get update && sudo apt-get install --no-install-recommends {' '.join(names)}"
        )
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    progress.run("apt-get update", "apt-get", "update", env=quiet)
    # Somebody else's apt-get is waited for.
    install = ("apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "--yes", "--no-install-recommends", *names)
    progress.run(f"apt-get install {' '.join(names)}", *install, env=quiet)
    left = missing()
    if left:
        raise ClusterError(f"still missing after apt-get install: {', '.join(left)}")
