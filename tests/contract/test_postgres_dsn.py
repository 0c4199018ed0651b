"""DSNs that are read and refused, and servers that are no PostgreSQL: for these none has to be there."""

import asyncio
import socket

import pytest

from resilience.adapters.checks.postgres.dsn import SslMode, parse_dsn
from resilience.core.health.thresholds import Outcome
from tests.support.faulty import faulty_server
from tests.support.postgres_checks import DSN, SHORT, Operator, said

FAIL, UNKNOWN = Outcome.FAIL, Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("dsn", "words"),
    [
        ("s3cret", "it is not of the form postgres://user:password@host:5432/database"),
        ("http://app:s3cret@db.shop/db", "not of the form"),
        ("host=db.shop password=s3cret", "it names no user"),
        ("host=db.shop user=app password=s3 cret", "not of the form"),
        ("host=db.shop user=app password='s3cret", "not of the form"),
        ("host=db.shop user=app s3cret=1", "it has an option, and only"),
        ("host=db.shop user=app passfile=/s3cret", "it has the option passfile, and only"),
        ("host=/run/postgresql user=app", "sockets are not supported"),
        ("host=a,b port=1,2,3 user=app", "another number of ports than of hosts"),
        ('{"username": "app", "password": "s3cret"}', "it needs a host"),
        ('{"engine": "mysql", "username": "app", "password": "s3cret", "host": "db.shop"}', "another kind of database"),
        ('{"username": s3cret', "not of the form"),
        ("jdbc:postgresql://db.shop/db?user=app&password=x&s3cret", "it has an option, and only"),
        ("jdbc:mysql://db.shop/db?user=app", "not of the form"),
        ("prisma+postgres://accelerate.prisma-data.net/?api_key=s3cret", "not of the form"),
        ("postgres://app:[YOUR-PASSWORD]@db.shop/db", "its password is the provider's placeholder"),
        ("", "not of the form"),
        # Bare special characters in a password must not make a host of its rest.
        ("postgres://app:x@s3cret/y@db.shop/db", "not of the form"),
        ("postgres://app:x/s3cret@db.shop/db", "not of the form"),
        ("postgres://app:x?s3cret@db.shop/db", "not of the form"),
        ("postgres://app:x#s3cret@db.shop/db", "not of the form"),
        ("postgres://db.shop/db", "it names no user"),
        ("postgres://:s3cret@db.shop/db", "it names no user"),
        ("postgres://app:s3cret@/db", "it needs a host"),
        ("postgres:///db?host=/run/postgresql&user=app", "it names no user"),
        ("postgres://app:s3cret@%2Frun%2Fpostgresql/db", "sockets are not supported"),
        ("postgres://app:s3cret@db.shop,/db", "it needs a host"),
        ("postgres://app:s3cret@db.shop:s3cret/db", "it needs a host"),
        ("postgres://app:s3cret@db.shop/db?host=/run/postgresql", "it has the option host, and only"),
        ("postgres://app:s3cret@db.shop/db?service=s3cret", "it has the option service"),
        ("postgres://app:s3cret@db.shop/db?passfile=/s3cret", "it has the option passfile"),
        ("postgres://app:s3cret@db.shop/db?sslmode=require&sslkey=/s3cret", "it has the option sslkey"),
        ("postgres://app:s3cret@db.shop/db?options=-c%20x=s3cret", "it has the option options"),
        ("postgres://app:s3cret@db.shop/db?target_session_attrs=s3cret", "target_session_attrs has to be one of any,"),
        ("postgres://app:s3cret@db.shop/db?s3cret=1", "it has an option, and only what changes nothing for a check"),
        ("postgres://app:s3cret@db.shop/db?passkey=1", "it has the option passkey, and only what changes nothing"),
        ("postgres://app:s3cret@db.shop/db?sslrootcert=/s3cret", "the option sslrootcert, a file that checks do not"),
        ("postgres://app:s3cret@db.shop/db?ssl=s3cret", "ssl has to be one of"),
        ("postgres://app:s3cret@db.shop:99999/db", "it needs a host"),
        ("postgres://app:s3cret@[::1%25eth0]/db", "it needs a host"),
        ("postgres://app:s3cret@db.shop/db?sslmode=s3cret", "sslmode has to be one of disable, prefer, require"),
        ("postgres://app:s3cret@db.shop/db?sslmode=allow", "sslmode has to be one of"),
        ("postgres://app%00options%00s3cret:x@db.shop/db", "it holds a NUL"),
        ("postgres://app:s3cret%ff@db.shop/db", "its %XX are not UTF-8"),
        ("postgres://app:s3cret@" + ",".join(["db.shop"] * 17), "it names more than 16 hosts"),
    ],
)
async def test_dsns_that_are_refused(operator: Operator, dsn: str, words: str) -> None:
    operator.secrets[DSN] = dsn
    result = await operator.run()
    assert said(result) == (UNKNOWN, "Invalid"), result
    assert result.message.startswith("key 'dsn' of Secret 'db' holds no usable DSN: ") and words in result.message
    assert "s3cret" not in result.message


def test_dsns_that_are_read() -> None:
    dsn = parse_dsn("postgresql://a%40b:p%2Fw:@x@h.shop:6432,[::1]/d%20b?connect_timeout=3\n", unstated=SslMode.PREFER)
    assert dsn.hosts == (("h.shop", 6432), ("::1", 5432))
    assert (dsn.user, dsn.password, dsn.database, dsn.sslmode) == ("a@b", "p/w:@x", "d b", SslMode.PREFER)
    assert "p/w" not in repr(dsn)
    short = parse_dsn("postgres://app@h?application_name=x&sslmode=verify-ca", unstated=SslMode.PREFER)
    assert (short.database, short.password, short.sslmode) == ("app", "", SslMode.VERIFY_CA)


@pytest.mark.parametrize("sslmode", ["disable", "prefer", "require"])
async def test_what_is_no_postgresql(operator: Operator, sslmode: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"postgres://app:s3cret@127.0.0.1:{silent.getsockname()[1]}/db?sslmode={sslmode}"
        assert said(await operator.run(dsn, timeout=SHORT)) == (FAIL, "Timeout")
    async with faulty_server() as http:
        dsn = f"postgres://app:s3cret@127.0.0.1:{http.port}/db?sslmode={sslmode}"
        result = await operator.run(dsn, timeout=SHORT)
    assert result.outcome is FAIL and result.reason in {"TlsRefused", "ConnectionClosed", "Timeout"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "ConnectionClosed"),
        (b"E\0\0\0\x11C57P03\0Ms3c\0\0", "StartingUp"),
        (b"E\0\0\0\x11Chi\n!!\0Ms3c\0\0", "SessionRefused"),
        (b"R\0\0\0\x08\0\0\0\x63", "LoginUnknown"),
        (b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I", "NotPostgres"),
        (b"", "ConnectionClosed"),
    ],
)
async def test_strange_answers(operator: Operator, answer: bytes, reason: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        result = await operator.run(f"postgres://app:s3cret@127.0.0.1:{port}/db?sslmode=disable")
    assert said(result) == (FAIL, reason), result


async def test_a_server_cannot_halt_the_event_loop(operator: Operator) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0")
        nonce = (await reader.read(1024)).partition(b"r=")[2]
        first = b"r=" + nonce + b"x,s=AAAA,i=2000000000"
        writer.write(b"R" + (len(first) + 8).to_bytes(4, "big") + b"\0\0\0\x0b" + first)
        await reader.read(1024)
        writer.close()

    began = asyncio.get_running_loop().time()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        result = await operator.run(f"postgres://app:s3cret@127.0.0.1:{port}/db?sslmode=disable")
    assert said(result) == (FAIL, "LoginUnknown"), result
    assert asyncio.get_running_loop().time() - began < 2
