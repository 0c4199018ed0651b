"""Gives tests a cluster as pytest-kind's own class, whichever kind of cluster it is.

Use it with `pytest_plugins = ["tests.cluster.fixture"]` in the top-level conftest. Must not register options:
pytest-kind has them (--keep-cluster, --cluster-name, --kind-bin, --kind-kubectl-bin).
"""

from pathlib import Path
from typing import Any, Final

import pykube
import pytest
from pytest_kind import KindCluster

from tests.cluster import binaries, engine
from tests.cluster.local import Local
from tests.cluster.paths import KUBECONFIG, cache
from tests.cluster.progress import Progress
from tests.cluster.shell import exclusive


class LocalCluster(KindCluster):  # type: ignore[misc]  # pytest-kind has no types
    """The local cluster in the clothes of kind's: `kubectl` and `port_forward` are inherited."""

    def __init__(self) -> None:
        # kind is never called; its path only has to exist, or pytest-kind would download it.
        here = Path("/bin/true")
        super().__init__("local", kubeconfig=KUBECONFIG, kind_path=here, kubectl_path=binaries.program("kubectl"))

    def create(self, config_file: str | Path | None = None) -> None:
        """Have it running. There is one way to set it up, so `config_file` is refused."""
        if config_file is not None:
            raise ValueError("the local cluster takes no kind configuration")
        Local(Progress()).up()
        self.api = pykube.HTTPClient(pykube.KubeConfig.from_file(str(self.kubeconfig_path)))

    def load_docker_image(self, docker_image: str) -> None:
        """Import an archive file, or an image built here, by its full tag."""
        Local(Progress()).load(Path(docker_image) if Path(docker_image).is_file() else docker_image)

    def delete(self) -> None:
        """Remove it."""
        Local(Progress()).down()


_USED: Final = "used the cluster"
_IS_USED: Final = pytest.StashKey[bool]()
_KEEP: Final = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> KindCluster:
    """A running cluster, one for all workers: one that is up is used as it is.

    It is removed at the end of the session unless --keep-cluster is given.
    """
    _note_use(request.config)
    if engine.uses_kind():
        _provide_kind(request.config)
        with exclusive(cache() / "cluster-fixture.lock"):
            made: KindCluster = request.getfixturevalue("kind_cluster")
            _add_metrics(made)
        return made
    local = LocalCluster()
    local.create()
    return local


def _note_use(config: pytest.Config) -> None:
    config.stash[_IS_USED] = True
    if hasattr(config, "workeroutput"):
        config.workeroutput[_USED] = True


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A worker has ended: remember whether it used the cluster. One that crashed cannot say, and may have."""
    if error or getattr(node, "workeroutput", {}).get(_USED):
        node.config.stash[_IS_USED] = True


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the cluster, in the one process that outlives all users of it."""
    is_worker = hasattr(config, "workerinput")
    keep = config.stash.get(_KEEP, config.getoption("keep_cluster"))
    if config.stash.get(_IS_USED, False) and not is_worker and not keep:
        engine.current().down()


def _provide_kind(config: pytest.Config) -> None:
    """Tell pytest-kind where kind and kubectl are, so that it does not download its old ones."""
    from tests.cluster import kind

    # Its fixture would remove the cluster at the end of each worker.
    config.stash[_KEEP] = bool(config.option.keep_cluster)
    config.option.keep_cluster = True
    kind.tools(progress=Progress())
    config.option.kind_bin = config.option.kind_bin or str(kind.kind_path())
    config.option.kind_kubectl_bin = config.option.kind_kubectl_bin or str(binaries.program("kubectl"))


def _add_metrics(made: KindCluster) -> None:
    """pytest-kind may have made the cluster itself, and then it is bare."""
    from tests.cluster import kind

    kind.add_metrics(kubeconfig=Path(made.kubeconfig_path), progress=Progress())
