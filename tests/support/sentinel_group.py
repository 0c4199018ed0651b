"""A Redis master with two replicas and three Sentinels in the cluster, and faults of the master."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from tests.cluster.images import REDIS
from tests.support.counts import PROOF
from tests.support.kube import KubectlError, Object, wait_until
from tests.support.space import Space

MASTER: Final = "mymaster"
# Milliseconds. Elsewhere a core that others keep busy must not have Sentinels replace a master that is well.
DOWN_AFTER: Final = "1000" if PROOF else "3000"
SERVERS: Final = ("redis-0", "redis-1", "redis-2")
WATCHERS: Final = ("sentinel-0", "sentinel-1", "sentinel-2")
# The shell stays when the server dies, and starts it again unless it is to stay down.
_SERVER: Final = (
    "while :; do [ -e /tmp/down ] || redis-server --port 6379 --protected-mode no --save '' --appendonly no"
    " --repl-diskless-sync-delay 0; sleep 0.2; done"
)
_SENTINEL: Final = "touch /tmp/s.conf; exec redis-server /tmp/s.conf --sentinel --port 26379 --protected-mode no"


class Fault(StrEnum):
    """A fault of a server."""

    KILLED = "killed"
    HUNG = "hung"
    CUT_OFF = "cut off"


_FAULT_COMMANDS: Final = {
    Fault.KILLED: "touch /tmp/down; kill -9 $(pidof redis-server)",
    Fault.HUNG: "kill -STOP $(pidof redis-server)",
    # Its answers are dropped.
    Fault.CUT_OFF: "ip rule add priority 1 blackhole",
}
_RECOVERY_COMMANDS: Final = {
    Fault.KILLED: "rm /tmp/down",
    Fault.HUNG: "kill -CONT $(pidof redis-server)",
    Fault.CUT_OFF: "ip rule del priority 1",
}


def manifests() -> list[Object]:
    """Two StatefulSets with their Services."""
    return [
        *_set("redis", _SERVER, 6379),
        *_set("sentinel", _SENTINEL, 26379),
    ]


def _set(name: str, command: str, port: int) -> list[Object]:
    labels = {"app": name}
    container = {
        "name": name,
        "image": REDIS.tag,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", command],
        "ports": [{"containerPort": port}],
        "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}},
    }
    spec = {
        "replicas": 3,
        "serviceName": name,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
        },
    }
    service = {"clusterIP": "None", "selector": labels, "ports": [{"port": port}], "publishNotReadyAddresses": True}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service},
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": spec},
    ]


@dataclass(slots=True)
class Group:
    """The servers in one namespace."""

    space: Space

    @property
    def sentinels(self) -> list[str]:
        """Addresses of the Sentinels, as any pod can resolve them."""
        return [f"{name}.sentinel.{self.space.namespace}.svc:26379" for name in WATCHERS]

    def start(self) -> None:
        """Applies, and waits until all know each other."""
        self.space.apply(*manifests())
        for name in ("redis", "sentinel"):
            self.space.kubectl("rollout", "status", f"sts/{name}", "--timeout=90s")
        # They have no probes: a running server need not listen yet.
        wait_until(lambda: all(self._answers(name) for name in (*SERVERS, *WATCHERS)), what="everybody to answer")
        first = self._addresses()["redis-0"]
        for name in SERVERS[1:]:
            self._redis(name, "REPLICAOF", first, "6379")
        for name in WATCHERS:
            self._sentinel(name, "SENTINEL", "MONITOR", MASTER, first, "6379", "2")
            for option, value in (("down-after-milliseconds", DOWN_AFTER), ("failover-timeout", "5000")):
                self._sentinel(name, "SENTINEL", "SET", MASTER, option, value)
        self.wait_whole()

    def wait_whole(self) -> None:
        """Waits until the master has both replicas and every Sentinel observes all of them."""
        wait_until(self._whole, what="a Redis that is whole", timeout=60, every=0.5)

    def master(self) -> str:
        """The pod that the Sentinels regard as the master."""
        address = self._sentinel(WATCHERS[0], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER).split()[0]
        return next(name for name, ip in self._addresses().items() if ip == address)

    def strike(self, server: str, fault: Fault) -> datetime:
        """Causes the fault; returns its time by the clock of the node."""
        output = self._shell(server, f"date +%s.%N; {_FAULT_COMMANDS[fault]}")
        return datetime.fromtimestamp(float(output.split()[0]), UTC)

    def mend(self, server: str, fault: Fault) -> None:
        """Removes the fault, and waits until the group is whole."""
        self._shell(server, _RECOVERY_COMMANDS[fault])
        self.wait_whole()

    def _answers(self, name: str) -> bool:
        send = self._sentinel if name in WATCHERS else self._redis
        try:
            return "PONG" in send(name, "PING")
        except KubectlError:
            return False

    def _whole(self) -> bool:
        try:
            replication = self._redis(self.master(), "INFO", "replication")
            quorums = [self._sentinel(name, "SENTINEL", "CKQUORUM", MASTER) for name in WATCHERS]
        except KubectlError:
            return False
        replicas = replication.count("state=online")
        usable = all(answer.startswith("OK 3 usable Sentinels") for answer in quorums)
        return "role:master" in replication and replicas == len(SERVERS) - 1 and usable

    def _addresses(self) -> dict[str, str]:
        pods = self.space.list("pods", "app=redis")
        return {pod["metadata"]["name"]: pod["status"].get("podIP", "") for pod in pods}

    def _redis(self, pod: str, *words: str) -> str:
        return self.space.kubectl("exec", pod, "--", "timeout", "3", "redis-cli", *words)

    def _sentinel(self, pod: str, *words: str) -> str:
        return self.space.kubectl("exec", pod, "--", "redis-cli", "-p", "26379", *words)

    def _shell(self, pod: str, command: str) -> str:
        return self.space.kubectl("exec", pod, "--", "sh", "-c", command)
