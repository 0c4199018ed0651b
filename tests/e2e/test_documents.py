"""The pages as a reader follows them: every command of `RUN`, in order, on the cluster, as it stands there.

What needs a registry or a Docker engine is marked in the page (`<!-- not run: … -->`), with the reason. A page that has
the operator installed needs the cluster alone. At small counts it is followed twice: from the installation to the first
request, then to the removal; and beside other tests, all of it, with their operator.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
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
from tests.support.counts import PROOF
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


@dataclass(frozen=True, slots=True)
class Walk:
    """Commands of a page that one reader types; `installs`: the operator, too."""

    name: str
    commands: list[str]
    installs: bool = False

    def param(self) -> Any:
        """Without the cluster for itself it shares the namespace with other pages, so one worker has all of these."""
        mark = pytest.mark.exclusive if self.installs else pytest.mark.xdist_group("pages")
        return pytest.param(self, marks=mark, id=self.name)


def walks(page: Path) -> Iterator[Walk]:
    """The ways in which a page is followed."""
    commands = [block.text for block in blocks(page, "sh") if not block.not_run]
    if page in INSTALLING and not PROOF:
        first_request = next(number for number, each in enumerate(commands) if "-requested-at=" in each)
        yield Walk(f"{page.stem} installation", [*commands[:first_request], commands[-1]], installs=True)
        without = [re.sub(r"^helm .*\n", "", each, flags=re.MULTILINE) for each in commands]
        yield Walk(page.stem, [each for each in without if each])
    else:
        yield Walk(page.stem, commands, installs=page in INSTALLING)


@pytest.fixture(params=[walk.param() for page in RUN for walk in walks(page)])
def walk(request: pytest.FixtureRequest, cluster: KindCluster, operator: Release) -> Iterator[Walk]:
    """A page, before its first command; afterwards the operator of the other tests is back, and the shop is gone."""
    walk: Walk = request.param
    everywhere = Kube(cluster)
    try:
        if walk.installs:
            operator.uninstall()
        yield walk
    finally:
        if everywhere.find("namespaces", NAMESPACE) is not None:
            Kube(cluster, NAMESPACE).delete("rsvc", "--all", "--ignore-not-found", "--wait=false")
            everywhere.delete("namespace", NAMESPACE, "--wait=false")
        if walk.installs:
            operator.install()
        wait_until(lambda: everywhere.find("namespaces", NAMESPACE) is None, what="the end of the shop", timeout=120)


def test_the_commands_of_a_page_do_what_it_says(
    images: None, cluster: KindCluster, walk: Walk, shop: Space, tmp_path: Path
) -> None:
    # given
    reader = Reader(cluster, tmp_path)
    assert walk.commands, "the page has no command"
    # when, then: none fails
    printed = [reader.types(each) for each in walk.commands]
    # and: clients noticed nothing; the page lists their failures before it removes the shop
    logs = [text for each, text in zip(walk.commands, printed, strict=True) if "kubectl logs -n shop orders" in each]
    assert not any("failed" in text for text in logs), logs
