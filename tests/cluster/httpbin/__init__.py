"""The image of go-httpbin; its program's folder is its context."""

import shutil
from typing import Final

from tests.cluster.go_program import GoProgram
from tests.cluster.images import Image
from tests.cluster.paths import HERE
from tests.cluster.progress import Progress

_MODULE: Final = HERE / "httpbin"
_HTTPBIN: Final = GoProgram(_MODULE, "github.com/mccutchen/go-httpbin/v2/cmd/go-httpbin")


def image(*, progress: Progress) -> Image:
    """The image, whose program is there. Raises ClusterError when it cannot be built."""
    folder = _HTTPBIN.built(progress=progress).parent
    shutil.copy(_MODULE / "Dockerfile", folder)
    return Image(tag="docker.io/library/go-httpbin:dev", context=folder, dockerfile=folder / "Dockerfile")
