"""Surroundings of the postgres check: Secrets, addresses, certificates, and a server with some roles."""

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from resilience.adapters.checks.postgres import DESCRIPTION
from resilience.adapters.checks.postgres.connections import PostgresConnections
from resilience.adapters.checks.postgres.postgres_check import check_postgres
from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.failures import NetworkFailure
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import PostgresProbe, SecretRef
from resilience.ports import Invalid, Refused
from tests.support import postgres

TIMEOUT: Final = timedelta(seconds=5)
SHORT: Final = timedelta(milliseconds=400)
DSN: Final = SecretRef("shop", "db", "dsn")
CA: Final = SecretRef("shop", "authorities", "ca.crt")
# Password of the role app, which has hardly any rights, and of crowd, which may not even connect.
PASSWORD: Final = "s3cret/part"
NAMES: Final = {"db.shop": ["127.0.0.1"], "two.shop": ["127.0.0.2", "127.0.0.1"]}


@contextmanager
def prepared() -> Iterator[postgres.Postgres]:
    """A server with roles and a table."""
    with postgres.running() as server:
        server.run(
            f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'",
            f"CREATE ROLE crowd LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 0",
            "CREATE TABLE orders (id int)",
            "CREATE TYPE mood AS ENUM ('fine')",
            "GRANT ALL ON orders TO app",
        )
        yield server


def app(server: postgres.Postgres, sslmode: str = "disable") -> str:
    """The DSN of the role app; it does not mention TLS when `sslmode` is empty."""
    dsn = server.dsn(user="app", password=PASSWORD) + sslmode
    return dsn.removesuffix("?sslmode=")


def sessions(server: postgres.Postgres) -> int:
    """Number of connections that the operator has to the server."""
    return int(server.run("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'resilience-operator'"))


def said(result: CheckResult) -> tuple[Outcome, str]:
    """Outcome and reason of a result."""
    return result.outcome, result.reason


async def _resolve(host: str) -> list[str]:
    try:
        return NAMES[host]
    except KeyError:
        raise socket.gaierror(socket.EAI_NONAME, "no such name") from None


@dataclass(slots=True)
class Operator:
    """Surroundings of a check, with Secrets that can be changed."""

    secrets: dict[SecretRef, str] = field(default_factory=dict)
    reads: int = 0
    now: float = 0.0
    connections: PostgresConnections = field(init=False)

    def __post_init__(self) -> None:
        guard = AddressGuard(allowed=[ip_network("127.0.0.0/8")], resolve=_resolve)
        credentials = Credentials(self, monotonic=lambda: self.now)
        self.connections = PostgresConnections(credentials=credentials, guard=guard)

    async def read(self, *, namespace: str, name: str, key: str) -> str:
        self.reads += 1
        return self.secrets[SecretRef(namespace, name, key)]

    async def run(self, value: str = "", *, timeout: timedelta = TIMEOUT, **probe: Any) -> CheckResult:
        """Runs the check once and classifies errors as the Checker does; no message may reveal a secret."""
        if value:
            # Time passes, so that an earlier read of the Secret is long ago.
            self.secrets[DSN], self.now = value, self.now + 3600
        target = replace(PostgresProbe(DSN, "SELECT 1", 0.8, 5), **probe)
        try:
            result = await check_postgres(target, connections=self.connections, timeout=timeout)
        except NetworkFailure as failure:
            outcome = Outcome.INCONCLUSIVE if failure.own else Outcome.FAIL
            result = CheckResult(outcome, failure.reason, f"{DESCRIPTION}: {failure}")
        except (Refused, Invalid) as error:
            result = CheckResult(Outcome.INCONCLUSIVE, type(error).__name__, str(error))
        for secret in ("s3cret", postgres.PASSWORD, "hidden"):
            assert secret not in result.message
        return result


@asynccontextmanager
async def operator() -> AsyncIterator[Operator]:
    """An Operator that closes its connections at the end and leaves nothing running in the background."""
    opened = Operator()
    try:
        yield opened
    finally:
        await opened.connections.close()
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@dataclass(slots=True)
class Authority:
    """A certificate authority of the test's own."""

    folder: Path

    def __post_init__(self) -> None:
        self.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=ca -days 30", "ca")

    @property
    def pem(self) -> str:
        return (self.folder / "ca.crt").read_text()

    def issue(self, name: str, *, days: int = 10, host: str = "DNS:db.shop") -> tuple[Path, Path]:
        """A certificate for db.shop and its key; it has expired when `days` are negative."""
        self.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=server", "", name)
        self.openssl(f"req -new -key {name}.pem -subj /CN=server -addext subjectAltName={host} -out {name}.csr")
        self.openssl(
            f"x509 -req -in {name}.csr -CA ca.crt -CAkey ca.pem -days {days} -copy_extensions copy -out {name}.crt"
        )
        return self.folder / f"{name}.crt", self.folder / f"{name}.pem"

    def openssl(self, options: str, *names: str) -> None:
        more = [word for name in names if name for word in ("-keyout", f"{name}.pem", "-out", f"{name}.crt")]
        subprocess.run(["openssl", *options.split(), *more], check=True, capture_output=True, cwd=self.folder)
