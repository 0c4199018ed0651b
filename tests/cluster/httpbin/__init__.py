"""The image of go-httpbin: its program is built with Go, once for each version, into the folder that is its context.

It has a module of its own: in the cluster's it would have all programs built again with every change of its version.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Final

from tests.cluster.binaries import FLAGS, STRIP
from tests.cluster.golang import go
from tests.cluster.images import Image
from tests.cluster.paths import HERE, cache
from tests.cluster.progress import Progress
from tests.cluster.shell import exclusive

_MODULE: Final = HERE / "httpbin"
_PACKAGE: Final = "github.com/mccutchen/go-httpbin/v2/cmd/go-httpbin"
_PROGRAM: Final = "go-httpbin"


def image(*, progress: Progress) -> Image:
    """The image, whose program is there. Raises ClusterError when it cannot be built."""
    folder = _folder()
    with exclusive(cache() / "httpbin.lock"):
        if not (folder / _PROGRAM).exists():
            folder.mkdir(parents=True, exist_ok=True)
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
        shutil.copy(_MODULE / "Dockerfile", folder)
    return Image(tag="docker.io/library/go-httpbin:dev", context=folder, dockerfile=folder / "Dockerfile")


def _folder() -> Path:
    digest = hashlib.sha256(" ".join((*FLAGS, STRIP)).encode())
    for name in ("go.mod", "go.sum"):
        digest.update((_MODULE / name).read_bytes())
    return cache() / f"httpbin-{digest.hexdigest()[:12]}"
