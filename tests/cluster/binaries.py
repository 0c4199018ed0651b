"""Builds the cluster's programs with Go, once per set of versions, into the user's cache.

Must not leave a file under a program's name unless the program is complete: a cut build is resumed, not trusted.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.golang import go
from tests.cluster.paths import GO_MODULE, cache
from tests.cluster.progress import Progress
from tests.cluster.shell import ClusterError, exclusive

KUBERNETES = "1.36.3"
# The tag leaves out gRPC's tracing, and with it a third of every program.
FLAGS = ("-tags", "grpcnotrace", "-trimpath", "-buildvcs=false")
STRIP = "-s -w"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One main package of the module in `gomod/`."""

    name: str
    package: str
    stamped: bool = False
    # Built when somebody names it: no test needs it.
    for_benchmarks: bool = False


PROGRAMS = (
    *(
        Program(name=name, package=f"k8s.io/kubernetes/cmd/{name}", stamped=True)
        for name in (
            "kubelet",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kube-proxy",
            "kubectl",
        )
    ),
    Program(name="etcd", package="go.etcd.io/etcd/server/v3"),
    Program(name="coredns", package="./coredns"),
    Program(name="helm", package="helm.sh/helm/v3/cmd/helm"),
    Program(name="metrics-server", package="sigs.k8s.io/metrics-server/cmd/metrics-server"),
    Program(name="kwok", package="sigs.k8s.io/kwok/cmd/kwok", for_benchmarks=True),
    Program(name="vegeta", package="github.com/tsenart/vegeta/v12"),
)


def folder() -> Path:
    """Where the programs are or will be. RESILIENCE_CLUSTER_BIN names a folder that has them already."""
    given = os.environ.get("RESILIENCE_CLUSTER_BIN")
    if given:
        return Path(given).resolve()
    digest = hashlib.sha256()
    for source in ("go.mod", "go.sum", "coredns/main.go"):
        digest.update((GO_MODULE / source).read_bytes())
    digest.update(" ".join((*FLAGS, _linker_flags(stamped=True))).encode())
    return cache() / f"bin-{digest.hexdigest()[:12]}"


def program(name: str) -> Path:
    """The path of a program that `ensure` has seen to."""
    return folder() / name


def ensure(*names: str, progress: Progress) -> None:
    """Build those of the named programs (default: all that tests need) that are not there yet."""
    wanted = [item for item in PROGRAMS if (item.name in names if names else not item.for_benchmarks)]
    if not _missing(wanted):
        return
    if os.environ.get("RESILIENCE_CLUSTER_BIN"):
        lacking = ", ".join(item.name for item in _missing(wanted))
        raise ClusterError(f"RESILIENCE_CLUSTER_BIN={folder()} has no {lacking}; unset it to have them built")
    folder().mkdir(parents=True, exist_ok=True)
    with exclusive(folder() / ".lock"):
        todo = _missing(wanted)
        progress.say(f"building {len(todo)} programs into {folder()} (about 10 minutes with empty caches)")
        for number, item in enumerate(todo, start=1):
            _build(item, title=f"[{number}/{len(todo)}] {item.name}", progress=progress)


def _missing(wanted: Sequence[Program]) -> list[Program]:
    return [item for item in wanted if not program(item.name).exists()]


def _build(item: Program, *, title: str, progress: Progress) -> None:
    part = folder() / f".{item.name}.part"
    linker = ("-ldflags", _linker_flags(stamped=item.stamped))
    go(
        f"go build {title}",
        *("build", *FLAGS, *linker, "-o", str(part), item.package),
        source=GO_MODULE,
        output=folder(),
        env={"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"},
        progress=progress,
    )
    part.rename(program(item.name))


def _linker_flags(*, stamped: bool) -> str:
    """Without the stamps the servers say v0.0.0, and Helm's kubeVersion check refuses them."""
    if not stamped:
        return STRIP
    major, minor, _ = KUBERNETES.split(".")
    values = {
        "gitVersion": f"v{KUBERNETES}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    stamps = [f"-X {package}.{key}={value}" for package in packages for key, value in values.items()]
    return " ".join((STRIP, *stamps))
