"""The operator, installed once by Helm from the built image, and a namespace for each test."""

from collections.abc import Iterator
from functools import partial

import pytest
from pytest_kind import KindCluster

from tests.cluster import engine, images
from tests.cluster.paths import cache
from tests.cluster.shell import exclusive
from tests.support.counts import Figures
from tests.support.killer import Killer
from tests.support.release import Release
from tests.support.situation import gathered
from tests.support.space import Space, opened

RELEASE = pytest.StashKey[Release]()


@pytest.fixture(scope="session")
def loaded(cluster: KindCluster) -> None:
    """The images, built from this tree, on the cluster's nodes."""
    with exclusive(cache() / "images.lock"):
        for image in images.ALL:
            engine.current().provide(image)


@pytest.fixture(scope="session")
def release(cluster: KindCluster, loaded: None, pytestconfig: pytest.Config) -> Release:
    """The operator, shared by all workers; tests that change the installation are `exclusive` and put it back.

    It goes with the cluster.
    """
    release = pytestconfig.stash[RELEASE] = Release(cluster)
    release.ensure()
    return release


@pytest.fixture
def operator(release: Release) -> Release:
    """The operator, all replicas ready."""
    release.settle()
    return release


@pytest.fixture(scope="module")
def killer(release: Release) -> Iterator[Killer]:
    """Kills containers as the kernel would."""
    with Killer(release.kube) as killer:
        yield killer


@pytest.fixture
def space(cluster: KindCluster, release: Release) -> Iterator[Space]:
    """This test's namespace."""
    with opened(cluster) as space:
        yield space


@pytest.fixture
def other_space(cluster: KindCluster, release: Release) -> Iterator[Space]:
    """A second one."""
    with opened(cluster) as space:
        yield space


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Where this test writes what it measured."""
    return Figures(request.node.nodeid.rpartition("/")[2])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Add to a failure what the cluster looked like: resources, Events, the operator's log."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    release = item.config.stash.get(RELEASE, None)
    if report.failed and release is not None and isinstance(item, pytest.Function):
        for space in (value for value in item.funcargs.values() if isinstance(value, Space)):
            since = space.began.strftime("%Y-%m-%dT%H:%M:%SZ")
            report.sections.append((f"namespace {space.namespace}", gathered(space.situation)))
            report.sections.append(("operator", gathered(partial(release.logs, since))))
    return report  # type: ignore[return-value]
