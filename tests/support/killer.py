"""Kills a container's processes with SIGKILL, at once and on either kind of cluster.

`kubectl exec … kill` cannot: the first process of a container does not take SIGKILL from inside. Therefore a pod that
sees the node's processes reads container ids and kills the processes that belong to them.
"""

import json
import subprocess
import uuid
from typing import Final, Self

from tests.cluster.images import SHOP
from tests.support.kube import Kube, Object, wait_until
from tests.support.release import Release

# Answers each container id with the number of processes that it killed.
_PROGRAM: Final = """
import os, pathlib, signal, sys
print("ready", flush=True)
for line in sys.stdin:
    killed = 0
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and line.strip() in (entry / "cgroup").read_text():
                os.kill(int(entry.name), signal.SIGKILL)
                killed += 1
        except OSError:
            pass
    print(killed, flush=True)
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
    """Kills containers while its context is open."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        # Another worker has its own in the same namespace.
        self._name = f"killer-{uuid.uuid4().hex[:8]}"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._kube.kubectl("apply", "-f", "-", stdin=json.dumps(_manifest(self._name)))
        self._kube.kubectl("wait", "--for=condition=Ready", f"pod/{self._name}", "--timeout=60s")
        cluster = self._kube.cluster
        scope = ("--kubeconfig", str(cluster.kubeconfig_path), "--namespace", self._kube.namespace)
        run = ("exec", "-i", self._name, "--", "/opt/venv/bin/python", "-c", _PROGRAM)
        command = [str(cluster.kubectl_path), *scope, *run]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._answer() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._kube.delete("pod", self._name, "--wait=false")

    def kill(self, container: str) -> bool:
        """Kills a container by its id, as in the pod's status; False when nothing ran in it."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(container.rpartition("/")[2] + "\n")
        self._process.stdin.flush()
        return int(self._answer()) > 0

    def _answer(self) -> str:
        assert self._process is not None and self._process.stdout is not None
        return self._process.stdout.readline().strip()


def kill_leader(operator: Release, killer: Killer) -> str:
    """Kills the operator's process that leads; returns the name of its pod."""

    def probe() -> str | None:
        """The pod may lead before the kubelet has reported its container, and another test may be faster."""
        leader = operator.leader()
        pod: Object = operator.kube.find("pods", leader) or {"status": {}}
        container: Object = (pod["status"].get("containerStatuses") or [{}])[0]
        is_running = "running" in container.get("state", {})
        return leader if is_running and killer.kill(container["containerID"]) else None

    return wait_until(probe, what="the death of a leader", timeout=40, every=0.05)
