"""A program that is built with Go from a module of its own, once for each version, into the user's cache.

A module of its own: in the cluster's, every change of its version would have all programs built again.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.binaries import FLAGS, STRIP
from tests.cluster.golang import go
from tests.cluster.paths import cache
from tests.cluster.progress import Progress
from tests.cluster.shell import exclusive

_ENV: Final = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}


@dataclass(frozen=True, slots=True)
class GoProgram:
    """`module`: the folder with go.mod and go.sum; `package`: the import path, whose last part names the program."""

    module: Path
    package: str

    @property
    def path(self) -> Path:
        """The program, in a folder for what belongs to this version."""
        digest = hashlib.sha256(" ".join((*FLAGS, STRIP)).encode())
        for name in ("go.mod", "go.sum"):
            digest.update((self.module / name).read_bytes())
        return cache() / f"{self._name}-{digest.hexdigest()[:12]}" / self._name

    def built(self, *, progress: Progress) -> Path:
        """The program, which is there. Raises ClusterError when it cannot be built."""
        program, part = self.path, self.path.with_name(".part")
        program.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(cache() / f"{self._name}.lock"):
            if not program.exists():
                words = ("build", *FLAGS, "-ldflags", STRIP, "-o", str(part), self.package)
                title = f"go build {self._name}"
                go(title, *words, source=self.module, output=program.parent, env=_ENV, progress=progress)
                part.rename(program)
        return program

    @property
    def _name(self) -> str:
        return self.package.rsplit("/", 1)[-1]
