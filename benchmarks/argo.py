"""Argo Rollouts from its Go module, as a process beside the cluster: a controller that many know, to compare with."""

import hashlib
import os
import re
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.burst import Figures
from benchmarks.counting import requests_of_argo
from tests.cluster.binaries import FLAGS, STRIP
from tests.cluster.golang import go, module_file
from tests.cluster.paths import HERE, KUBECONFIG, cache
from tests.cluster.progress import Progress
from tests.cluster.shell import ClusterError, exclusive
from tests.support.kube import Kube
from tests.support.ports import server_port

_MODULE: Final = HERE / "argo_rollouts"
_NAME: Final = "github.com/argoproj/argo-rollouts"
_PACKAGE: Final = f"{_NAME}/cmd/rollouts-controller"
_PROGRAM: Final = "rollouts-controller"
# Without all of these it does not start.
_DEFINITIONS: Final = ("rollout", "experiment", "analysis-run", "analysis-template", "cluster-analysis-template")
# For its Lease.
_NAMESPACE: Final = "argo-rollouts"
_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 30.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def version() -> str:
    """The version that go.mod requires."""
    found = re.search(rf"{_NAME} (v\S+)", (_MODULE / "go.mod").read_text(encoding="utf-8"))
    assert found is not None  # go.mod is there for it
    return found[1]


def ensure(*, progress: Progress) -> None:
    """Builds the program and fetches its definitions, unless they are there. Raises ClusterError."""
    with exclusive(cache() / "argo-rollouts.lock"):
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / _PROGRAM).exists():
            part = folder / ".part"
            go(
                f"go build {_PROGRAM}",
                *("build", *FLAGS, "-ldflags", STRIP, "-o", str(part), _PACKAGE),
                source=_MODULE,
                output=folder,
                env={"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"},
                progress=progress,
            )
            part.rename(folder / _PROGRAM)
        for name in _DEFINITIONS:
            if not (file := folder / f"{name}-crd.yaml").exists():
                module, path = f"{_NAME}@{version()}", f"manifests/crds/{file.name}"
                module_file(f"fetch {file.name}", module=module, path=path, source=folder, to=file, progress=progress)


class Argo:
    """The running process."""

    def __init__(self, process: int, metrics: str) -> None:
        self._process, self._metrics = process, metrics

    def figures(self) -> Figures:
        """Now."""
        text = scraped(self._metrics)
        folder = Path(f"/proc/{self._process}")
        return Figures(
            cpu=cpu_seconds((folder / "stat").read_text(encoding="ascii")),
            rss=int((folder / "statm").read_text(encoding="ascii").split()[1]) * _PAGE,
            passes=passes(text),
            requests=requests_of_argo(text),
        )


@contextmanager
def running(kube: Kube) -> Iterator[Argo]:
    """The controller, with the rights of whoever administers the cluster. `kube`: no namespace."""
    definitions = [word for name in _DEFINITIONS for word in ("--filename", str(_folder() / f"{name}-crd.yaml"))]
    # Applied on the server's side: one of them is too long for the note that kubectl would leave.
    kube.kubectl("apply", "--server-side", *definitions)
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}})
    metrics, health = server_port(), server_port()
    command = (
        str(_folder() / _PROGRAM),
        f"--kubeconfig={KUBECONFIG}",
        f"--metricsPort={metrics}",
        f"--healthzPort={health}",
        "--loglevel=warn",
    )
    try:
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                url = f"http://127.0.0.1:{metrics}/metrics"
                _wait(process, url)
                yield Argo(process.pid, url)
            finally:
                process.terminate()
                try:
                    process.wait(timeout=_END_SECONDS)
                finally:
                    process.kill()
    finally:
        kube.kubectl("delete", *definitions, "--ignore-not-found", "--timeout=120s")
        kube.kubectl("delete", "namespace", _NAMESPACE, "--ignore-not-found", "--timeout=120s")


def cpu_seconds(stat: str) -> float:
    """CPU seconds of a process, of user and system, from /proc/PID/stat. The name may contain blanks and brackets."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def passes(metrics: str) -> float:
    """Reconciliations of Rollouts since the start."""
    counts = re.findall(r"^rollout_reconcile_count(?:\{.*\})? (\S+)$", metrics, re.MULTILINE)
    return sum(map(float, counts))


def scraped(url: str) -> str:
    """The metrics at a URL. Raises OSError."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        text: bytes = answer.read()
    return text.decode()


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            scraped(url)
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise ClusterError(f"Argo Rollouts does not start: {error}") from error
            time.sleep(0.2)


def _folder() -> Path:
    sources = b"".join((_MODULE / name).read_bytes() for name in ("go.mod", "go.sum"))
    return cache() / f"argo-rollouts-{hashlib.sha256(sources + ' '.join((*FLAGS, STRIP)).encode()).hexdigest()[:12]}"
