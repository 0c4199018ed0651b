"""Renders the chart with helm, for tests of what would be installed.

Must not start or change anything: `helm lint` and `helm template` only.
"""

import json
import pickle
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import yaml

from tests.cluster import binaries
from tests.cluster.progress import Progress
from tests.cluster.shell import ClusterError

PROJECT = Path(__file__).resolve().parents[2]
CHART = PROJECT / "charts/resilience-operator"

_BETWEEN = re.compile(r"^---\s*$", re.MULTILINE)

Object = dict[str, Any]
Values = dict[str, Any]


@cache
def helm() -> str:
    """The machine's own helm, or the one among the cluster's programs, built if necessary, where Go is available."""
    installed = which("helm")
    if installed is not None and not binaries.program("helm").exists():
        return installed
    try:
        binaries.ensure("helm", progress=Progress())
    except ClusterError as error:
        pytest.skip(f"no helm: {error}")
    return str(binaries.program("helm"))


class Chart:
    """The chart as helm renders it, or one of another folder."""

    def __init__(self, *, namespace: str = "resilience", kube_version: str = "1.32.0", folder: Path = CHART) -> None:
        self._helm = helm()
        self._folder = folder
        self._namespace = namespace
        self._kube_version = kube_version
        # Cached by values: helm is slow.
        self._rendered: dict[str, str] = {}

    def run(self, *args: str, values: Values | None = None) -> subprocess.CompletedProcess[str]:
        text = json.dumps(values or {})
        options = ["--namespace", self._namespace, "--kube-version", self._kube_version, "--values", "-"]
        return subprocess.run([self._helm, *args, *options], input=text, capture_output=True, text=True, check=False)

    def render(self, **values: Any) -> list[Object]:
        key = json.dumps(values, sort_keys=True)
        if key not in self._rendered:
            result = self.run("template", "resilience-operator", str(self._folder), values=values)
            assert result.returncode == 0, result.stderr
            self._rendered[key] = result.stdout
        return _parsed(self._rendered[key])

    def refusal(self, **values: Any) -> str:
        result = self.run("template", "resilience-operator", str(self._folder), values=values)
        assert result.returncode != 0, "rendered, but should have been refused"
        return result.stderr


def with_values(folder: Path, values: Path) -> Path:
    """A copy of the chart whose own values are these: `helm upgrade --reuse-values` has it so, with those of before."""
    chart = folder / "reusing"
    shutil.copytree(CHART, chart)
    shutil.copyfile(values, chart / "values.yaml")
    return chart


def _parsed(text: str) -> list[Object]:
    """Objects of YAML, for the caller alone."""
    return [item for each in _BETWEEN.split(text) if (item := pickle.loads(_pickled(each)))]


@cache
def _pickled(document: str) -> bytes:
    """An object, parsed once: definitions and dashboards are long, and most of what is rendered is as it was before."""
    return pickle.dumps(yaml.load(document, Loader=yaml.CSafeLoader))


def of(objects: list[Object], kind: str, name: str | None = None) -> list[Object]:
    return [item for item in objects if item["kind"] == kind and name in (None, item["metadata"]["name"])]


def one(objects: list[Object], kind: str, name: str | None = None) -> Object:
    (item,) = of(objects, kind, name)
    return item
