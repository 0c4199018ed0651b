"""Go, from this machine or, where only Docker is, in a container: whoever has one of the two can build the programs.

Must not know what is built or fetched.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.progress import Progress
from tests.cluster.shell import ClusterError, find, succeeds

IMAGE = "golang:1.26"
_CACHE = "resilience-operator-go"


def go(title: str, *arguments: str, source: Path, output: Path, env: Mapping[str, str], progress: Progress) -> None:
    """Runs `go` with `source` as its folder; what it writes must be below `output`. Raises ClusterError."""
    _run(title, "go", *arguments, source=source, output=output, env=env, progress=progress)


def module_file(title: str, *, module: str, path: str, source: Path, to: Path, progress: Progress) -> None:
    """Copies one file of a published module, `name@version`, to `to`. `source` is any folder outside a module.

    The name has no capital letters, which Go writes differently in the paths of its cache. Raises ClusterError.
    """
    script = 'go mod download "$1" && cp "$(go env GOMODCACHE)/$1/$2" "$3" && chmod u+w "$3"'
    words = ("sh", "-c", script, "sh", module, path, str(to))
    _run(title, *words, source=source, output=to.parent, env={"GOTOOLCHAIN": "local"}, progress=progress)


def _run(title: str, *command: str, source: Path, output: Path, env: Mapping[str, str], progress: Progress) -> None:
    if find("go") is not None:
        progress.run(title, *command, cwd=source, env=env)
        return
    if not succeeds("docker", "info"):
        raise ClusterError("neither Go nor a Docker engine is there: install one (https://go.dev/dl)")
    settings = [word for name, value in env.items() for word in ("--env", f"{name}={value}")]
    mounts = [
        *("--volume", f"{source}:{source}:ro", "--volume", f"{output}:{output}"),
        *("--volume", f"{_CACHE}:/cache", "--env", "GOPATH=/cache/path", "--env", "GOCACHE=/cache/build"),
    ]
    # The files belong to whoever runs this, not to root.
    mine = ("--user", f"{os.getuid()}:{os.getgid()}") if os.getuid() else ()
    progress.run(title, "docker", "run", "--rm", *mine, *mounts, *settings, "--workdir", str(source), IMAGE, *command)
