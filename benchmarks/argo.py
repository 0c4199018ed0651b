"""Argo Rollouts from its Go module, as a process beside the cluster: a controller that many know, to compare with."""

import re
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks.burst import Figures
from benchmarks.counting import requests_of_argo
from benchmarks.process_figures import cpu, resident
from tests.cluster.go_program import GoProgram
from tests.cluster.golang import module_file
from tests.cluster.paths import HERE, KUBECONFIG
from tests.cluster.progress import Progress
from tests.cluster.shell import ClusterError, exclusive
from tests.support.kube import Kube
from tests.support.ports import server_port

_MODULE: Final = HERE / "argo_rollouts"
_NAME: Final = "github.com/argoproj/argo-rollouts"
_CONTROLLER: Final = GoProgram(_MODULE, f"{_NAME}/cmd/rollouts-controller")
# Without all of these it does not start.
_DEFINITIONS: Final = ("rollout", "experiment", "analysis-run", "analysis-template", "cluster-analysis-template")
# For its Lease.
_NAMESPACE: Final = "argo-rollouts"
_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 30.0


def version() -> str:
    """The version that go.mod requires."""
    found = re.search(rf"{_NAME} (v\S+)", (_MODULE / "go.mod").read_text(encoding="utf-8"))
    assert found is not None  # go.mod is there for it
    return found[1]


def ensure(*, progress: Progress) -> None:
    """Builds the program and fetches its definitions, unless they are there. Raises ClusterError."""
    folder = _CONTROLLER.built(progress=progress).parent
    with exclusive(folder / ".lock"):
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
        return Figures(
            cpu=cpu(self._process),
            rss=resident(self._process),
            passes=passes(text),
            requests=requests_of_argo(text),
        )


@contextmanager
def running(kube: Kube) -> Iterator[Argo]:
    """The controller, with the rights of whoever administers the cluster. `kube`: no namespace."""
    definitions = [
        word for name in _DEFINITIONS for word in ("--filename", str(_CONTROLLER.path.with_name(f"{name}-crd.yaml")))
    ]
    # Applied on the server's side: one of them is too long for the note that kubectl would leave.
    kube.kubectl("apply", "--server-side", *definitions)
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}})
    metrics, health = server_port(), server_port()
    command = (
        str(_CONTROLLER.path),
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
