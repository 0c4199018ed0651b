"""The pages as a reader follows them: every command of `RUN`, in order, on the cluster, as it stands there.

What needs a registry or a Docker engine is marked in the page (`<!-- not run: … -->`), with the reason.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_kind import KindCluster

from tests.cluster import engine
from tests.cluster.images import OPERATOR, Image
from tests.cluster.paths import cache
from tests.cluster.shell import exclusive
from tests.support.chart import CHART, helm
from tests.support.kube import Kube, wait_until
from tests.support.pages import DOCS, PROJECT, RUN, blocks
from tests.support.release import Release
from tests.support.space import Space

NAMESPACE = "shop"
# Their first command installs the operator, so there must be none.
INSTALLING = {DOCS / "getting-started.md"}
pytestmark = pytest.mark.long


class Reader:
    """Somebody in a clone of the project, with kubectl and Helm for this cluster."""

    def __init__(self, cluster: KindCluster, folder: Path) -> None:
        for name, program in (("kubectl", str(cluster.kubectl_path)), ("helm", helm())):
            (folder / name).symlink_to(Path(program).resolve())
        path = f"{folder}:{os.environ['PATH']}"
        self._env = {**os.environ, "PATH": path, "KUBECONFIG": str(Path(cluster.kubeconfig_path).resolve())}

    def types(self, commands: str) -> str:
        """Runs them as one script that stops at the first failure; returns what they print."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=PROJECT,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n--- printed:\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def images(loaded: None) -> None:
    """The operator's image under the name that the pages build it by: the chart's default."""
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    tag = f"docker.io/library/resilience-operator:{version}"
    with exclusive(cache() / "images.lock"):
        engine.current().provide(Image(tag=tag, context=OPERATOR.context, dockerfile=OPERATOR.dockerfile))


@pytest.fixture
def shop(cluster: KindCluster) -> Space:
    """The namespace of the pages: a failure shows what is in it."""
    return Space(cluster, NAMESPACE)


def marked(page: Path) -> Any:
    """Whoever has the operator installed by a page needs the cluster alone."""
    return pytest.param(page, marks=pytest.mark.exclusive) if page in INSTALLING else page


@pytest.fixture(params=[marked(page) for page in RUN], ids=lambda page: page.stem)
def page(request: pytest.FixtureRequest, cluster: KindCluster, operator: Release) -> Iterator[Path]:
    """A page, before its first command; afterwards the operator of the other tests is back, and the shop is gone."""
    path: Path = request.param
    everywhere = Kube(cluster)
    try:
        if path in INSTALLING:
            operator.uninstall()
        yield path
    finally:
        if everywhere.find("namespaces", NAMESPACE) is not None:
            Kube(cluster, NAMESPACE).delete("rsvc", "--all", "--ignore-not-found", "--wait=false")
            everywhere.delete("namespace", NAMESPACE, "--wait=false")
        if path in INSTALLING:
            operator.install()
        wait_until(lambda: everywhere.find("namespaces", NAMESPACE) is None, what="the end of the shop", timeout=120)


def test_the_commands_of_a_page_do_what_it_says(
    images: None, cluster: KindCluster, page: Path, shop: Space, tmp_path: Path
) -> None:
    # given
    reader = Reader(cluster, tmp_path)
    commands = [block.text for block in blocks(page, "sh") if not block.not_run]
    assert commands, "the page has no command"
    # when, then: none fails
    printed = [reader.types(each) for each in commands]
    # and: clients noticed nothing; the page lists their failures before it removes the shop
    logs = [text for each, text in zip(commands, printed, strict=True) if "kubectl logs -n shop orders" in each]
    assert not any("failed" in text for text in logs), logs
