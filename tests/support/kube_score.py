"""kube-score, a judge of manifests that others wrote, built from its Go module once into the user's cache.

A module of its own: its libraries are not those of the cluster's programs.
"""

import json
import subprocess
from functools import cache as once
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster.go_program import GoProgram
from tests.cluster.paths import HERE
from tests.cluster.progress import Progress
from tests.cluster.shell import ClusterError

_KUBE_SCORE: Final = GoProgram(HERE / "kube_score", "github.com/zegl/kube-score/cmd/kube-score")
# The grade of a check that is passed, perhaps with a remark.
_PASSED: Final = 10


def complaints(manifests: str) -> dict[str, set[str]]:
    """Everything that it complains about, each with the objects that it is about."""
    command = [str(_program()), "score", "--kubernetes-version", "v1.32", "--output-format", "json", "-"]
    # It ends with 1 when it complains of anything.
    done = subprocess.run(command, input=manifests, capture_output=True, text=True, check=False)
    scored: list[dict[str, Any]] = json.loads(done.stdout)
    found: dict[str, set[str]] = {}
    for item in scored:
        for check in item["checks"]:
            failed = not check["skipped"] and check["grade"] < _PASSED
            for comment in (check["comments"] or ()) if failed else ():
                found.setdefault(comment["summary"], set()).add(item["type_meta"]["kind"])
    return found


@once
def _program() -> Path:
    try:
        return _KUBE_SCORE.built(progress=Progress())
    except ClusterError as error:
        pytest.skip(f"no kube-score: {error}")
