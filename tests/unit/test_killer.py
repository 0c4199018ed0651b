"""The killer signals the processes of a container, and goes on after its stream has ended with the API server."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.killer import Killer
from tests.support.kube import Kube

# In the place of kubectl: runs the killer's program here, over a /proc of the test.
KUBECTL = """#!{python}
import os, sys
program = sys.argv[-1].replace('"/proc"', '"{proc}"')
os.execv("{python}", ["{python}", "-c", program])
"""


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


@pytest.fixture
def killer(tmp_path: Path, victim: subprocess.Popen[bytes]) -> Iterator[Killer]:
    """Its node has one container, `abc`, with one process."""
    process = tmp_path / "proc" / str(victim.pid)
    process.mkdir(parents=True)
    (process / "cgroup").write_text("0::/pods/abc\n")
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL.format(python=sys.executable, proc=tmp_path / "proc"))
    kubectl.chmod(0o755)
    cluster = SimpleNamespace(kubeconfig_path=tmp_path / "config", kubectl_path=kubectl)
    kube: Any = SimpleNamespace(cluster=cluster, namespace="x", kubectl=lambda *_, **__: "", delete=lambda *_: None)
    with Killer(cast(Kube, kube)) as killer:
        yield killer


def waits_for(process: subprocess.Popen[bytes], change: int) -> None:
    """Returns when the process has stopped, or goes on, by its `os.waitid` option."""
    assert os.waitid(os.P_PID, process.pid, change) is not None


def test_a_container_is_frozen_thawed_and_killed(killer: Killer, victim: subprocess.Popen[bytes]) -> None:
    killer.freeze("containerd://abc")
    waits_for(victim, os.WSTOPPED)
    killer.thaw("containerd://abc")
    waits_for(victim, os.WCONTINUED)
    killer.kill("containerd://abc")
    assert victim.wait(10) == -signal.SIGKILL


def test_a_container_that_does_not_run_cannot_be_killed(killer: Killer) -> None:
    killer.thaw("containerd://other")
    assert not killer.kill("containerd://other")
    assert not killer.freeze("containerd://other")


def test_a_stream_that_ended_is_opened_again(killer: Killer, victim: subprocess.Popen[bytes]) -> None:
    # given: the API server was away
    stream = killer._process
    assert stream is not None
    stream.kill()
    stream.wait(10)
    # when
    killer.kill("containerd://abc")
    # then
    assert victim.wait(10) == -signal.SIGKILL
