"""A real PostgreSQL server, and its standbys, each in a folder of its own under the user that it insists on.

Must not judge; the test decides what to do when the programs are missing.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests.cluster import packages
from tests.cluster.shell import wait_for
from tests.support.ports import server_port

PROGRAMS: Final = max(packages.POSTGRES_FOLDER.glob("*/bin"), default=packages.POSTGRES_FOLDER)
SUPERUSER: Final = "postgres"
PASSWORD: Final = "over-all-of-them"
_PATIENCE: Final = 60.0
_SETTINGS: Final = """
fsync = off
max_connections = 100
wal_receiver_status_interval = 1s
logging_collector = off
"""
_ACCESS: Final = """
local all all trust
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
"""


def available() -> bool:
    """The programs of a server exist."""
    return (PROGRAMS / "postgres").exists()


@dataclass(slots=True)
class Postgres:
    """A server; `folder` contains its data, socket and log."""

    folder: Path
    port: int = field(default_factory=server_port)
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def dsn(self, *, user: str = SUPERUSER, password: str = PASSWORD, database: str = "postgres") -> str:
        """A DSN with an empty `sslmode` at its end: no TLS unless a mode is appended."""
        return f"postgres://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}?sslmode="

    def start(self, *, wait: bool = True) -> None:
        """Starts the server and waits until it takes connections."""
        command = _as_postgres(PROGRAMS / "postgres", "-D", self.data, "-p", self.port, "-k", self.folder)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=_environment())
        deadline = time.monotonic() + _PATIENCE
        while wait and not self._ready():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise TimeoutError(f"PostgreSQL does not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stops the server at once; does nothing when it does not run."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGQUIT)
            process.wait(timeout=_PATIENCE)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the server and then to all processes that it has started."""
        assert self._process is not None
        for pid in (self._process.pid, *_children(self._process.pid)):
            os.kill(pid, number)

    def ask_to_stop(self) -> None:
        """Begins a smart shutdown: the server ends after the last session, and takes no new ones."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def configure(self, **settings: str) -> None:
        """Changes settings that need no restart, and waits until they are in force."""
        for name, value in settings.items():
            self.run(f"ALTER SYSTEM SET {name} = '{value}'")
        self.reload()

    def reload(self) -> None:
        """Makes the server read its files again."""
        before = self.run("SELECT pg_conf_load_time()")
        self.run("SELECT pg_reload_conf()")
        while self.run("SELECT pg_conf_load_time()") == before:
            time.sleep(0.02)

    def certificate(self, certificate: Path, key: Path) -> None:
        """Serves TLS with this certificate from now on."""
        for source, name in ((certificate, "server.crt"), (key, "server.key")):
            target = self.data / name
            shutil.copy(source, target)
            target.chmod(0o600)
            _own(target)
        self.configure(ssl="on")

    def run(self, *statements: str) -> str:
        """Output, without decoration, of SQL that the superuser runs through the socket."""
        options = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-p", self.port)
        command = _as_postgres(PROGRAMS / "psql", *options, "-U", SUPERUSER, "-d", "postgres")
        for statement in statements:
            command += ["-c", statement]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=_environment())
        return done.stdout.strip()

    def _ready(self) -> bool:
        command = _as_postgres(PROGRAMS / "pg_isready", "-q", "-h", self.folder, "-p", self.port)
        return subprocess.run(command, check=False, env=_environment()).returncode == 0


@contextmanager
def running(*, listen: str = "127.0.0.1") -> Iterator[Postgres]:
    """A new server without TLS. `listen`: as in its configuration; beyond the loopback it admits everybody."""
    with _folder() as folder:
        server = Postgres(folder)
        password = folder / "password"
        password.write_text(PASSWORD)
        _own(password)
        options = ("-U", SUPERUSER, "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--locale=C", "-N")
        _run(PROGRAMS / "initdb", "-D", server.data, *options)
        with (server.data / "postgresql.conf").open("a") as configuration:
            configuration.write(f"{_SETTINGS}listen_addresses = '{listen}'\n")
        everybody = "host all all 0.0.0.0/0 scram-sha-256\n" if listen == "*" else ""
        (server.data / "pg_hba.conf").write_text(_ACCESS + everybody)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def standby(primary: Postgres) -> Iterator[Postgres]:
    """A streaming standby of a running server."""
    with _folder() as folder:
        server = Postgres(folder)
        address = f"postgres://{SUPERUSER}:{PASSWORD}@127.0.0.1:{primary.port}/"
        _run(PROGRAMS / "pg_basebackup", "-D", server.data, "-d", address, "-R", "-X", "stream", "-c", "fast", "-N")
        server.start()
        try:
            # It answers before it has found its primary.
            wait_for("a standby that streams", lambda: _streams(primary), seconds=_PATIENCE)
            yield server
        finally:
            server.stop()


def _streams(primary: Postgres) -> bool:
    return primary.run("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") != "0"


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that is not the test's own: the user that the server runs as may not get there."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    _own(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _own(path: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(path, SUPERUSER, SUPERUSER)


def _run(*command: object) -> None:
    subprocess.run(_as_postgres(*command), check=True, capture_output=True, env=_environment())


def _as_postgres(*command: object) -> list[str]:
    """The command as the server's user, because the programs refuse to run as root."""
    words = [str(word) for word in command]
    if os.geteuid() != 0:
        return words
    return ["setpriv", f"--reuid={SUPERUSER}", f"--regid={SUPERUSER}", "--init-groups", *words]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _children(pid: int) -> Sequence[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]
