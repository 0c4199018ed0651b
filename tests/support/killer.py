"""Kills, freezes and thaws a container's processes by signals, at once and on either kind of cluster.

`kubectl exec … kill` cannot: the first process of a container does not take SIGKILL from inside. Therefore a pod that
sees the node's processes reads container ids and signals the processes that belong to them.
"""

import json
import signal
import subprocess
from contextlib import suppress
from typing import Final, Self

from tests.cluster.images import SHOP
from tests.support.kube import Kube, Object, wait_until
from tests.support.release import Release

_NAME: Final = "killer"
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


def _manifest() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _NAME},
        "spec": {
            "hostPID": True,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": _NAME,
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
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._kube.kubectl("apply", "-f", "-", stdin=json.dumps(_manifest()))
        self._kube.kubectl("wait", "--for=condition=Ready", f"pod/{_NAME}", "--timeout=60s")
        self._connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._disconnect()
        self._kube.delete("pod", _NAME, "--wait=false")

    def kill(self, container: str) -> None:
        """Kills a container by its id, as in the pod's status; it must have been running."""
        assert self._signal(container, signal.SIGKILL) > 0, f"nothing ran in {container}"

    def freeze(self, container: str) -> None:
        """Stops a container's processes where they are; it must have been running."""
        assert self._signal(container, signal.SIGSTOP) > 0, f"nothing ran in {container}"

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
        command = [str(cluster.kubectl_path), *scope, "exec", "-i", _NAME, "--", "/opt/venv/bin/python", "-c", _PROGRAM]
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


def container_of(operator: Release, pod: str) -> str:
    """Id of the operator's container in a pod, which may lead before the kubelet has reported it."""

    def running() -> str | None:
        container: Object = (operator.kube.get("pods", pod)["status"].get("containerStatuses") or [{}])[0]
        return container.get("containerID") if "running" in container.get("state", {}) else None

    return wait_until(running, what=f"the container of {pod}", every=0.05)


def kill_leader(operator: Release, killer: Killer) -> str:
    """Kills the operator's process that leads; returns the name of its pod."""
    leader = operator.leader()
    killer.kill(container_of(operator, leader))
    return leader
