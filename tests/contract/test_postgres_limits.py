"""A PostgreSQL server may send as much as a check needs, in however many messages."""

import asyncio
import struct
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import Final

import pytest

from resilience.adapters.checks.postgres.answer_limit import ANSWER_LIMIT, KEPT_LIMIT, BoundedProtocol
from resilience.adapters.checks.postgres.connections import PostgresConnections
from resilience.adapters.checks.postgres.postgres_check import check_postgres
from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.failures import NetworkFailure
from resilience.core.model.probes import PostgresProbe, SecretRef
from tests.hostile.support import OneSecret, loopback_guard, tcp_server

OFFERED: Final = 64 * ANSWER_LIMIT


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def parameter(number: int) -> bytes:
    return message(b"S", b"p%d\0value\0" % number)


def endless(kind: str) -> Iterator[bytes]:
    """Messages without end, each of which asyncpg takes."""
    number = 0
    while True:
        yield parameter(number) if kind == "parameters" else message(b"N", b"SNOTICE\0M" + b"x" * 1000 + b"\0\0")
        number += 1


@pytest.mark.parametrize("kind", ["parameters", "notices"])
async def test_many_small_messages_are_one_long_answer(kind: str) -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        length = struct.unpack("!I", await reader.readexactly(4))[0]
        await reader.readexactly(length - 4)
        writer.write(message(b"R", struct.pack("!I", 0)))
        pieces = endless(kind)
        while sent < OFFERED:
            chunk = b"".join(islice(pieces, 500))
            writer.write(chunk)
            await writer.drain()
            sent += len(chunk)

    async with tcp_server(serve) as port:
        secrets = OneSecret(f"postgres://app:secret@127.0.0.1:{port}/shop?sslmode=disable")
        connections = PostgresConnections(credentials=Credentials(secrets, lambda: 0.0), guard=loopback_guard())
        probe = PostgresProbe(SecretRef("evil", "login", "dsn"), "SELECT 1", 0.8, 5)
        with pytest.raises(NetworkFailure) as failure:
            await check_postgres(probe, connections=connections, timeout=timedelta(seconds=30))
        await connections.close()
    assert failure.value.reason == "AnswerTooLong"
    assert sent < OFFERED, "the server was read to its end"


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_parameters_are_counted_however_they_arrive(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    passed = bytearray()
    monkeypatch.setattr(BoundedProtocol.__mro__[1], "data_received", lambda self, data: passed.extend(data))
    counting = BoundedProtocol.__new__(BoundedProtocol)
    stream = b"".join([message(b"N", b"S" * 50), parameter(1), message(b"Z", b"I"), parameter(22), message(b"1", b"")])
    for start in range(0, len(stream), size):
        counting.data_received(stream[start : start + size])
    assert counting.kept == len(b"p1\0value\0") + len(b"p22\0value\0")
    assert counting.left == ANSWER_LIMIT - len(stream)
    assert bytes(passed) == stream
    assert KEPT_LIMIT < ANSWER_LIMIT
