"""Go, from this machine or, where only Docker is, in a container: whoever has one of the two can build the programs.

Must not know what is built.
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
    if find("go") is not None:
        progress.run(title, "go", *arguments, cwd=source, env=env)
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
    command = ("docker", "run", "--rm", *mine, *mounts, *settings, "--workdir", str(source), IMAGE, "go", *arguments)
    progress.run(title, *command)
