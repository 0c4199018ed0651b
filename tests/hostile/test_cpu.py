"""A peer or a tenant must not have the event loop compute for long: a leader that stands still loses its lease.

Asserted is where the work is done and how much is asked for, never how long it takes.
"""

import asyncio
import base64
import hashlib
import struct
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import promql_parser
import pytest
from aiohttp import web

from resilience.adapters.checks.postgres.connections import PostgresConnections
from resilience.adapters.checks.postgres.postgres_check import check_postgres
from resilience.adapters.checks.prometheus.client import PrometheusClient
from resilience.adapters.checks.prometheus.promql import LONGEST, force_namespace
from resilience.adapters.checks.prometheus.refusal import QueryRefused
from resilience.adapters.net.credentials import Credentials
from resilience.core.model.probes import PostgresProbe, SecretRef
from tests.hostile.support import OneSecret, http_server, in_words, loopback_guard, tcp_server
from tests.support.preconditions import require

# Four times PostgreSQL's default: some milliseconds.
MOST_ROUNDS: Final = 4 * 4096


@dataclass(slots=True)
class Demanding:
    """A PostgreSQL server that asks whoever logs in by SCRAM for so many rounds of hashing, and hangs up then."""

    rounds: int
    challenges: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _body(reader)
        _say(writer, 10, b"SCRAM-SHA-256\0\0")
        await reader.readexactly(1)
        nonce = (await _body(reader)).split(b"r=", 1)[1].split(b",")[0]
        salt = base64.b64encode(b"salt1234")
        _say(writer, 11, b"r=%bXX,s=%b,i=%d" % (nonce, salt, self.rounds))
        await writer.drain()
        self.challenges += 1
        await reader.read(1)


async def _body(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(struct.unpack("!I", await reader.readexactly(4))[0] - 4)


def _say(writer: asyncio.StreamWriter, method: int, words: bytes) -> None:
    """An authentication message."""
    writer.write(b"R" + struct.pack("!II", len(words) + 8, method) + words)


@dataclass(slots=True)
class Hashing:
    """Notes the rounds that the thread of the loop is asked for, and does none."""

    thread: int = field(default_factory=threading.get_ident)
    in_loop: list[int] = field(default_factory=list)

    def pbkdf2_hmac(self, name: str, password: bytes, salt: bytes, iterations: int, dklen: int | None = None) -> bytes:
        if threading.get_ident() == self.thread:
            self.in_loop.append(iterations)
        return bytes(dklen or hashlib.new(name).digest_size)


@pytest.mark.parametrize("rounds", [100_000, 1_000_000])
async def test_a_log_in_does_not_have_the_loop_hash(rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    server, hashing, ref = Demanding(rounds), Hashing(), SecretRef("evil", "login", "dsn")
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", hashing.pbkdf2_hmac)
    async with tcp_server(server.serve) as port:
        secrets = OneSecret(f"postgres://app:secret@127.0.0.1:{port}/shop?sslmode=disable")
        connections = PostgresConnections(credentials=Credentials(secrets, lambda: 0.0), guard=loopback_guard())
        asked = check_postgres(
            PostgresProbe(ref, "SELECT 1", 0.8, 5), connections=connections, timeout=timedelta(seconds=30)
        )
        words = await in_words(asked)
        await connections.close()
    require(server.challenges > 0, f"no log-in was begun: {words}")
    assert max(hashing.in_loop, default=0) <= MOST_ROUNDS, f"the loop was asked for {hashing.in_loop} rounds"


class Counting(Hashing):
    """Counts the keys that threads compute."""

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere: list[int] = []

    def pbkdf2_hmac(self, name: str, password: bytes, salt: bytes, iterations: int, dklen: int | None = None) -> bytes:
        if threading.get_ident() != self.thread:
            self.elsewhere.append(iterations)
        return super().pbkdf2_hmac(name, password, salt, iterations, dklen)


@pytest.mark.parametrize(("rounds", "computed", "log_ins"), [(4096, 0, 3), (20_000, 1, 4), (100_001, 0, 3)])
async def test_the_key_of_a_log_in_is_computed_once(
    rounds: int, computed: int, log_ins: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log-in that lacked it is repeated; later ones have it. Too many rounds are not computed at all."""
    server, hashing, ref = Demanding(rounds), Counting(), SecretRef("shop", "login", "dsn")
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", hashing.pbkdf2_hmac)
    async with tcp_server(server.serve) as port:
        secrets = OneSecret(f"postgres://app:secret@127.0.0.1:{port}/shop?sslmode=disable")
        connections = PostgresConnections(credentials=Credentials(secrets, lambda: 0.0), guard=loopback_guard())
        probe = PostgresProbe(ref, "SELECT 1", 0.8, 5)
        for _ in range(3):
            await in_words(check_postgres(probe, connections=connections, timeout=timedelta(seconds=30)))
        await connections.close()
    assert (len(hashing.elsewhere), server.challenges) == (computed, log_ins)


@dataclass(slots=True)
class Parsing:
    """Notes which threads parse a query, and lets them."""

    threads: list[int] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    parse: Any = promql_parser.parse

    def __call__(self, query: str) -> Any:
        self.threads.append(threading.get_ident())
        self.queries.append(query)
        return self.parse(query)


async def no_series(_: web.Request) -> web.Response:
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": []}})


@pytest.mark.parametrize(
    "query",
    [
        "x{" + ",".join(['a=~"((a{50}){50}){9}"'] * 90) + "}",
        "-" * (LONGEST - 2) + "x",
        "+".join(["x"] * (LONGEST // 2)),
    ],
    ids=["regexes", "signs", "sums"],
)
async def test_a_wicked_query_is_not_parsed_in_the_loop(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    require(len(query) <= LONGEST, "the query is too long to be parsed at all")
    parsing = Parsing()
    monkeypatch.setattr(promql_parser, "parse", parsing)
    async with http_server(no_series) as port:
        client = PrometheusClient(url=f"http://127.0.0.1:{port}", version="0")
        words = await in_words(client.query(query, namespace="evil", timeout=timedelta(seconds=30)))
    require(bool(words), "there was no answer")
    assert threading.get_ident() not in parsing.threads, f"the loop parsed the query ({words[:60]})"


@pytest.mark.parametrize("quoted", ['"((a{50}){50}){9}"', "'((a{50}){50}){9}'", "`((a{50}){50}){9}`"])
@pytest.mark.parametrize("operator", ["=~", "!~", "=~ \n", "=~ # note\n"])
def test_the_parser_compiles_no_regular_expression(quoted: str, operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the interpreter's lock meanwhile, so the loop would stand still whatever thread it is in."""
    parsing = Parsing()
    monkeypatch.setattr(promql_parser, "parse", parsing)
    written = force_namespace(f"x{{a{operator}{quoted}}}", namespace="evil")
    assert "((a{50}){50}){9}" in written
    assert [query for query in parsing.queries if "{50}" in query and not query.startswith(tuple("\"'`"))] == []


async def test_a_refused_query_is_refused_anew_each_time() -> None:
    """An exception that is kept and raised again keeps the frames of each time."""
    client, refusals = PrometheusClient(url="http://127.0.0.1:9", version="1"), []
    for _ in range(2):
        with pytest.raises(QueryRefused) as refusal:
            await client.query("1", namespace="evil", timeout=timedelta(seconds=5))
        refusals.append(refusal.value)

    assert refusals[0] is not refusals[1] and str(refusals[0]) == str(refusals[1])
