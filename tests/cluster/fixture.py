"""Gives tests a cluster as pytest-kind's own class, whichever kind of cluster it is.

Use it with `pytest_plugins = ["tests.cluster.fixture"]` in the top-level conftest. Must not register options:
pytest-kind has them (--keep-cluster, --cluster-name, --kind-bin, --kind-kubectl-bin).
"""

import shutil
import tempfile
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


_USED: Final = "file that is there when the cluster was used"
_MARK: Final = pytest.StashKey[Path]()
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
    """A file, and no word at the end: a worker that crashes says nothing any more."""
    _mark(config).touch()


def _mark(config: pytest.Config) -> Path:
    """One file for all workers of a run."""
    if hasattr(config, "workerinput"):
        return Path(config.workerinput[_USED])
    if _MARK not in config.stash:
        config.stash[_MARK] = Path(tempfile.mkdtemp(prefix="cluster-")) / "used"
    return config.stash[_MARK]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where to note that it used the cluster."""
    node.workerinput[_USED] = str(_mark(node.config))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the cluster, in the one process that outlives all users of it."""
    if hasattr(config, "workerinput"):
        return
    is_used = _mark(config).exists()
    shutil.rmtree(_mark(config).parent)
    if is_used and not config.stash.get(_KEEP, config.getoption("keep_cluster")):
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
