"""Starts the shop example as a process of its own and speaks HTTP to it on controlled connections."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SHOP = Path(__file__).parents[2] / "examples" / "shop"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; `close`: it announces the end of the connection."""

    status: int
    body: bytes
    close: bool

    @property
    def json(self) -> dict[str, object]:
        parsed: dict[str, object] = json.loads(self.body)
        return parsed


class Client:
    """One kept connection. Unlike most clients it neither reconnects nor sends a request again."""

    def __init__(self, *, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        self._connection.connect()
        self._connection.auto_open = 0

    def begin(self, method: str, path: str, body: bytes | None = None) -> None:
        self._connection.request(method, path, body=body)

    def end(self) -> Answer:
        response = self._connection.getresponse()
        return Answer(response.status, response.read(), response.getheader("Connection", "").lower() == "close")

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        self.begin(method, path, body)
        return self.end()

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Shop:
    """A running shop."""

    process: subprocess.Popen[str]
    port: int
    admin_port: int
    clients: list[Client] = field(default_factory=list)

    def client(self) -> Client:
        """A new connection, open until `close_clients()`."""
        client = Client(port=self.port)
        self.clients.append(client)
        return client

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        client = self.client()
        answer = client.ask(method, path, body)
        client.close()
        return answer

    def close_clients(self) -> None:
        for client in self.clients:
            client.close()
        self.clients.clear()

    def admin(self, method: str, path: str) -> dict[str, object]:
        client = Client(port=self.admin_port)
        answer = client.ask(method, path)
        client.close()
        assert answer.status == 200
        return answer.json

    def active_becomes(self, number: int) -> bool:
        return eventually(lambda: self.admin("GET", "/api/connections")["active"] == number)


def eventually(condition: Callable[[], bool]) -> bool:
    """The condition becomes true within five seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def launch(**env: str) -> subprocess.Popen[str]:
    """Starts the process, on ports that the system chooses unless `env` gives some; returns at once."""
    environment = {**os.environ, "HOST": "127.0.0.1", "PORT": "0", "ADMIN_PORT": "0", **env}
    return subprocess.Popen(
        [sys.executable, "-m", "shop"], cwd=SHOP, env=environment, stdout=subprocess.PIPE, text=True
    )


def listening(process: subprocess.Popen[str]) -> Shop:
    """The shop, once it listens."""
    assert process.stdout
    ports = json.loads(process.stdout.readline())
    return Shop(process, ports["listening"], ports["admin"])


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@contextmanager
def started(**env: str) -> Iterator[Shop]:
    """A listening shop, which ends with the context."""
    process = launch(**env)
    try:
        shop = listening(process)
        yield shop
        shop.close_clients()
    finally:
        end(process)


def catches(process: subprocess.Popen[str], *, number: int) -> bool:
    """The process already has a handler for that signal."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = int(status.split("SigCgt:")[1].split()[0], 16)
    return bool(caught >> (number - 1) & 1)


def refused(port: int) -> bool:
    """No listener takes connections there any more."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        # It was in the listener's queue just as that was closed, so the next one tells.
        return False
    return False
