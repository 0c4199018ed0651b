"""Where people can look while the demo runs: a Prometheus on this machine, and Grafana where Docker is."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import isnan
from pathlib import Path
from shutil import which
from typing import Final

from monitoring.__main__ import PAGES, rules
from monitoring.expressions import Asked, asked, filled
from tests.cluster.paths import PROJECT
from tests.cluster.shell import succeeds
from tests.demo.stage import NAMESPACE, Stage
from tests.support import prometheus

_GRAFANA: Final = "grafana/grafana:11.6.0"
_DASHBOARDS: Final = PROJECT / "charts" / "resilience-operator" / "files" / "dashboards"
_PROVIDER: Final = {
    "apiVersion": 1,
    "providers": [{"name": "resilience", "type": "file", "options": {"path": "/dashboards"}}],
}


@contextmanager
def looking(stage: Stage) -> Iterator[str]:
    """The URL of a Prometheus that scrapes the operator; empty where there is no such program."""
    if which(prometheus.PROGRAM) is None:
        stage.console.print("[dim]There is no prometheus on this machine: the demo goes on without dashboards.[/]")
        yield ""
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="resilience-demo-")))
        url = stack.enter_context(prometheus.of_pods(folder, stage.operator_pods, rules=list(rules()), every=5))
        stage.console.print(f"Prometheus is at {url}; open it while the demo runs.")
        if succeeds("docker", "info"):
            stack.enter_context(_grafana(stage, folder / "grafana", url))
        yield url


def without_data(url: str) -> tuple[list[Asked], int]:
    """Expressions of the dashboards that find nothing, and how many there are in all."""
    everything = [
        each
        for page in PAGES.values()
        for each in asked(filled(page(), namespace=NAMESPACE, service="shop", rate="10m", span="10m"))
    ]
    return [each for each in everything if not _has_data(url, each.expression)], len(everything)


def _has_data(url: str, expression: str) -> bool:
    found = prometheus.ask(url, expression)
    return any(not isnan(float(each["value"][1])) for each in found)


@contextmanager
def _grafana(stage: Stage, folder: Path, url: str) -> Iterator[None]:
    """The dashboards in a Grafana that needs no login, on port 3000 of this machine."""
    source = {"name": "Prometheus", "type": "prometheus", "url": url, "isDefault": True}
    for name, content in (
        ("datasources", {"apiVersion": 1, "datasources": [source]}),
        ("dashboards", _PROVIDER),
    ):
        (folder / name).mkdir(parents=True)
        # YAML reads JSON.
        (folder / name / "resilience.yaml").write_text(json.dumps(content))
    mounts = ("--volume", f"{folder}:/etc/grafana/provisioning:ro", "--volume", f"{_DASHBOARDS}:/dashboards:ro")
    anonymous = ("--env", "GF_AUTH_ANONYMOUS_ENABLED=true", "--env", "GF_AUTH_ANONYMOUS_ORG_ROLE=Viewer")
    command = ["docker", "run", "--rm", "--detach", "--network=host", *mounts, *anonymous, _GRAFANA]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        stage.console.print(f"[dim]Grafana could not be started: {done.stderr.strip()[:200]}[/]", soft_wrap=True)
        yield
        return
    stage.console.print("Grafana is at http://localhost:3000/d/resilience-fleet")
    try:
        yield
    finally:
        subprocess.run(["docker", "stop", done.stdout.strip()], capture_output=True, check=False)
