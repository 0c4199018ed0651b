"""CustomResourceDefinitions that others publish, for tests: fetched once, each from its project's Go module."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.golang import module_file
from tests.cluster.paths import HERE, cache
from tests.cluster.progress import Progress
from tests.cluster.shell import ClusterError, exclusive

_CILIUM: Final = "pkg/k8s/apis/cilium.io/client/crds/v2"
_CILIUM_MODULE: Final = "github.com/cilium/cilium@v1.18.4"


@dataclass(frozen=True, slots=True)
class _Published:
    """One file of a module, with the digest that it had when it was chosen."""

    module: str
    path: str
    sha256: str


POLICIES: Final = (
    _Published(
        "istio.io/api@v1.32.0",
        "kubernetes/customresourcedefinitions.gen.yaml",
        "c65d3908ee5eefea7cb5f3baad2622455fd7b483e920ee428500b44da73f2601",
    ),
    _Published(
        _CILIUM_MODULE,
        f"{_CILIUM}/ciliumnetworkpolicies.yaml",
        "6be92d49dbdbdb23e41b07dd6e88649162e40b06f4dc2e68b06c75b0e92346e3",
    ),
    _Published(
        _CILIUM_MODULE,
        f"{_CILIUM}/ciliumclusterwidenetworkpolicies.yaml",
        "c54b5358d006638a29257e97c1f1d417005ce999fce32c0270960fc4f75c246b",
    ),
    _Published(
        "sigs.k8s.io/network-policy-api@v0.3.0",
        "config/crd/standard/policy.networking.k8s.io_clusternetworkpolicies.yaml",
        "cc63289affe7af4a6c69b33bd853a102a347aa878bf64b839c9d596b721b6ead",
    ),
)


def of_policies(*, progress: Progress) -> list[Path]:
    """Files with the kinds by which meshes and networks select pods.

    Raises ClusterError when one cannot be fetched or is not what it was.
    """
    folder = cache() / "definitions"
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / ".lock"):
        return [_file(published, folder, progress) for published in POLICIES]


def _file(published: _Published, folder: Path, progress: Progress) -> Path:
    file = folder / f"{published.sha256[:12]}.yaml"
    if not file.exists():
        part = folder / "part"
        part.unlink(missing_ok=True)
        title = f"fetch {published.module}"
        module_file(title, module=published.module, path=published.path, source=HERE, to=part, progress=progress)
        if hashlib.sha256(part.read_bytes()).hexdigest() != published.sha256:
            raise ClusterError(f"{published.module}: {published.path} is not the file that it was")
        part.rename(file)
    return file
