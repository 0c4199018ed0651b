"""Real Redis servers, Sentinels and a cluster of three on free ports of the loopback interface.

Must not judge; the test decides what to do when the programs are missing.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.support.ports import server_port

PROGRAM = "redis-server"
HOST = "127.0.0.1"
_PATIENCE = 20.0
_SLOTS = 16384
# For `options`: pods of the cluster may connect as well.
REACHABLE = ("--bind", "0.0.0.0", "--protected-mode", "no")
# Without it, a master waits for further replicas before it serves the first.
_AT_ONCE = ("--repl-diskless-sync-delay", "0")


@dataclass(slots=True)
class Server:
    """A server that can be killed, frozen and started again on the same port."""

    folder: Path
    port: int
    arguments: tuple[str, ...]
    # Options that a client needs beyond the address.
    client: dict[str, Any] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        with (self.folder / f"{self.port}.log").open("ab") as log:
            self.process = subprocess.Popen([PROGRAM, *self.arguments], stdout=log, stderr=log)
        until(self._answers, what=f"an answer of Redis; its log is {self.folder}/{self.port}.log")

    def kill(self) -> None:
        """Kills the server without a shutdown. It may be dead already."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=10)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Freezes the server meanwhile; the kernel still accepts connections for it."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def command(self, *words: str | int, **more: Any) -> Any:
        """The raw reply, on a connection of its own."""
        options = {"decode_responses": True, "protocol": 2, "socket_timeout": 5, **self.client, **more}
        with Redis(HOST, self.port, retry=Retry(NoBackoff(), 0), **options) as client:
            client.response_callbacks.clear()
            return client.execute_command(*words)

    def clients(self) -> int:
        """Number of its connections, without the one of this request."""
        return len(self.command("CLIENT", "LIST", "TYPE", "NORMAL").splitlines()) - 1

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise ChildProcessError((self.folder / f"{self.port}.log").read_text())
        try:
            return bool(self.command("PING"))
        except RedisError:
            return False


def until(true: Callable[[], object], *, what: str) -> None:
    """Waits until a condition is true. Raises TimeoutError."""
    deadline = time.monotonic() + _PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited for {what}")
        time.sleep(0.05)


@contextmanager
def running(folder: Path, *options: str, tls: bool = False, client: dict[str, Any] | None = None) -> Iterator[Server]:
    """An empty server that writes nothing to disk; `options` as on its command line."""
    port = server_port()
    ports = ("--port", "0", "--tls-port", str(port)) if tls else ("--port", str(port))
    common = (*ports, "--bind", HOST, "--dir", str(folder), "--save", "", "--appendonly", "no", *_AT_ONCE)
    with _started(Server(folder, port, (*common, *options), client or {})) as server:
        yield server


@contextmanager
def replica(folder: Path, master: Server, *options: str) -> Iterator[Server]:
    """A replica in sync with its master."""
    following = ("--replicaof", f"{HOST} {master.port}", *options)
    with running(folder, *following) as server:
        until(lambda: f"port={server.port},state=online" in master.command("INFO", "replication"), what="the replica")
        yield server


@contextmanager
def sentinels(
    folder: Path,
    master: Server,
    *,
    name: str,
    count: int,
    quorum: int,
    options: tuple[str, ...] = (),
    client: dict[str, Any] | None = None,
) -> Iterator[list[Server]]:
    """Sentinels that monitor the master, regard it as down after half a second, and know each other."""
    with ExitStack() as stack:
        servers = []
        for _ in range(count):
            port = server_port()
            lines = (
                f"port {port}",
                f"bind {HOST}",
                f"dir {folder}",
                *options,
                f"sentinel monitor {name} {HOST} {master.port} {quorum}",
                f"sentinel down-after-milliseconds {name} 500",
                f"sentinel failover-timeout {name} 3000",
            )
            config = folder / f"sentinel-{port}.conf"
            config.write_text("\n".join(lines))
            servers.append(
                stack.enter_context(_started(Server(folder, port, (str(config), "--sentinel"), client or {})))
            )
        for sentinel in servers:
            until(partial(_knows, sentinel, name, count - 1), what="the other Sentinels")
        yield servers


@contextmanager
def cluster(folder: Path, *options: str, count: int = 3) -> Iterator[list[Server]]:
    """Masters that share the slots, without replicas."""
    with ExitStack() as stack:
        nodes, buses = [], []
        for index in range(count):
            (folder / str(index)).mkdir()
            buses.append(server_port())
            more = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", str(buses[-1]))
            nodes.append(stack.enter_context(running(folder / str(index), *more, *options)))
        bounds = [_SLOTS * index // count for index in range(count + 1)]
        for index, node in enumerate(nodes):
            node.command("CLUSTER", "ADDSLOTSRANGE", bounds[index], bounds[index + 1] - 1)
            node.command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            if index:
                nodes[0].command("CLUSTER", "MEET", HOST, node.port, buses[index])
        for node in nodes:
            for fact in (f"cluster_known_nodes:{count}", "cluster_state:ok"):
                until(partial(_reports, node, fact), what=fact)
        yield nodes


@contextmanager
def _started(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _reports(node: Server, what: str) -> bool:
    return what in node.command("CLUSTER", "INFO")


def _knows(sentinel: Server, name: str, others: int) -> bool:
    reply = sentinel.command("SENTINEL", "MASTER", name)
    facts = dict(zip(reply[::2], reply[1::2], strict=True))
    return int(facts["num-other-sentinels"]) == others and facts["flags"] == "master"
