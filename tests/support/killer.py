"""Kills, freezes and thaws a container's processes by signals, at once and on either kind of cluster.

`kubectl exec … kill` cannot: the first process of a container does not take SIGKILL from inside. Therefore a pod that
sees the node's processes reads container ids and signals the processes that belong to them.
"""

import json
import signal
import subprocess
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

from tests.cluster.images import SHOP
from tests.support.kube import Kube, Object, wait_until
from tests.support.release import Release

# Answers each line, a signal's number and a container id, with the number of processes that it signalled.
_PROGRAM: Final = """
import os, pathlib, sys
print("ready", flush=True)
for line in sys.stdin:
    number, container = line.split()
    signalled = 0
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and container in (entry / "cgroup").read_text():
                os.kill(int(entry.name), int(number))
                signalled += 1
        except OSError:
            pass
    print(signalled, flush=True)
"""


def _manifest(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "hostPID": True,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "killer",
                    "image": SHOP.tag,
                    "imagePullPolicy": "Never",
                    "command": ["/opt/venv/bin/python", "-c", "import time; time.sleep(100000)"],
                    "securityContext": {"runAsUser": 0},
                }
            ],
        },
    }


class Killer:
    """Signals containers while its context is open, also after the API server has been away."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        # Another worker has its own in the same namespace.
        self._name = f"killer-{uuid.uuid4().hex[:8]}"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._kube.kubectl("apply", "-f", "-", stdin=json.dumps(_manifest(self._name)))
        self._kube.kubectl("wait", "--for=condition=Ready", f"pod/{self._name}", "--timeout=60s")
        self._connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._disconnect()
        self._kube.delete("pod", self._name, "--wait=false")

    def kill(self, container: str) -> bool:
        """Kills a container by its id, as in the pod's status; False when nothing ran in it."""
        return self._signal(container, signal.SIGKILL) > 0

    def freeze(self, container: str) -> bool:
        """Stops a container's processes where they are; False when nothing ran in it."""
        return self._signal(container, signal.SIGSTOP) > 0

    def thaw(self, container: str) -> None:
        """Lets a frozen container run on; the kubelet may have killed it meanwhile."""
        self._signal(container, signal.SIGCONT)

    def _signal(self, container: str, number: signal.Signals) -> int:
        line = f"{int(number)} {container.rpartition('/')[2]}\n"
        answer = self._ask(line)
        if not answer:
            # The stream ended with the API server. A signal that arrived says nothing to a container that is gone.
            self._disconnect()
            self._connect()
            answer = self._ask(line)
        return int(answer)

    def _ask(self, line: str) -> str:
        assert self._process is not None and self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(line)
            self._process.stdin.flush()
        return self._answer()

    def _connect(self) -> None:
        cluster = self._kube.cluster
        scope = ("--kubeconfig", str(cluster.kubeconfig_path), "--namespace", self._kube.namespace)
        run = ("exec", "-i", self._name, "--", "/opt/venv/bin/python", "-c", _PROGRAM)
        command = [str(cluster.kubectl_path), *scope, *run]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._answer() == "ready"

    def _disconnect(self) -> None:
        if self._process is not None:
            self._process.kill()
            with suppress(BrokenPipeError):
                self._process.communicate()

    def _answer(self) -> str:
        assert self._process is not None and self._process.stdout is not None
        return self._process.stdout.readline().strip()


def _running(operator: Release, pod: str) -> str | None:
    """Id of the operator's container in a pod, which may lead before the kubelet has reported it."""
    found: Object = operator.kube.find("pods", pod) or {"status": {}}
    container: Object = (found["status"].get("containerStatuses") or [{}])[0]
    return container.get("containerID") if "running" in container.get("state", {}) else None


def container_of(operator: Release, pod: str) -> str:
    """Id of the operator's container in a pod, once it runs."""
    return wait_until(lambda: _running(operator, pod), what=f"the container of {pod}", every=0.05)


def kill_leader(operator: Release, killer: Killer) -> str:
    """Kills the operator's process that leads; returns the name of its pod."""
    return _strike_leader(operator, killer.kill)[0]


def freeze_leader(operator: Release, killer: Killer) -> tuple[str, str]:
    """Freezes the operator's process that leads; returns the name of its pod and the id of its container."""
    return _strike_leader(operator, killer.freeze)


def _strike_leader(operator: Release, strike: Callable[[str], bool]) -> tuple[str, str]:
    def probe() -> tuple[str, str] | None:
        """Another test may be faster, or the process ends by itself."""
        leader = operator.leader()
        container = _running(operator, leader)
        return (leader, container) if container and strike(container) else None

    return wait_until(probe, what="a leader to strike", timeout=40, every=0.05)
