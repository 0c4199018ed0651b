"""Who the postgres check is and whom it trusts: credentials, rotation, TLS, and nothing from the environment."""

import asyncio
import base64
import hashlib
import hmac
from datetime import timedelta
from pathlib import Path

import pytest

from resilience.core.health.thresholds import Outcome
from resilience.core.model.probes import TlsTrust
from tests.support import postgres
from tests.support.postgres_checks import CA, DSN, PASSWORD, Authority, Operator, app, said

FAIL, PASS, WARN, UNKNOWN = Outcome.FAIL, Outcome.PASS, Outcome.WARN, Outcome.INCONCLUSIVE

pytestmark = pytest.mark.skipif(not postgres.available(), reason="needs PostgreSQL")


@pytest.mark.parametrize(
    ("who", "reason", "words"),
    [
        ({"user": "app", "password": "s3cret-wrong"}, "AuthenticationFailed", "(SQLSTATE 28P01)"),
        ({"user": "nobody", "password": PASSWORD}, "AuthenticationFailed", "(SQLSTATE 28P01)"),
        ({"database": "nowhere"}, "NoSuchDatabase", "the server has no such database (SQLSTATE 3D000)"),
        ({"user": "crowd", "password": PASSWORD}, "TooManyConnections", "no more connections (SQLSTATE 53300)"),
    ],
)
async def test_what_the_server_refuses(
    server: postgres.Postgres, operator: Operator, who: dict[str, str], reason: str, words: str
) -> None:
    result = await operator.run(server.dsn(**who) + "disable")
    assert said(result) == (FAIL, reason) and words in result.message
    if reason == "AuthenticationFailed":
        assert "user or password in key 'dsn' of Secret 'db' are refused" in result.message
        # Read once more, and not asked again with what was refused.
        assert operator.reads == 2


async def test_a_rotated_password_is_read_afresh(server: postgres.Postgres, operator: Operator) -> None:
    server.run("CREATE ROLE rotated LOGIN PASSWORD 's3cret-1'")
    old = server.dsn(user="rotated", password="s3cret-1") + "disable"
    assert (await operator.run(old)).outcome is PASS
    server.run("ALTER ROLE rotated PASSWORD 's3cret-2'")
    # A session that lasts is not asked again.
    assert said(await operator.run()) == (PASS, "Answered")
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rotated'")
    await asyncio.sleep(0.05)
    assert said(await operator.run()) == (FAIL, "AuthenticationFailed")
    operator.secrets[DSN] = server.dsn(user="rotated", password="s3cret-2") + "disable"
    operator.now += 10
    renewed = await operator.run()
    assert said(renewed) == (PASS, "Answered")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


TRUST = TlsTrust(CA)


@pytest.mark.parametrize(
    ("host", "sslmode", "trust", "reason", "encrypted"),
    [
        ("db.shop", "verify-full", TRUST, "Answered", True),
        # Without a word whoever names authorities wants them used.
        ("db.shop", "", TRUST, "Answered", True),
        ("127.0.0.1", "", TRUST, "carries another name than the requested one", False),
        ("127.0.0.1", "verify-full", TRUST, "carries another name than the requested one", False),
        ("127.0.0.1", "verify-full", TlsTrust(CA, "db.shop"), "Answered", True),
        (
            "127.0.0.1",
            "verify-ca",
            TlsTrust(CA, "db.mail"),
            "carries another name than the requested one",
            False,
        ),
        ("127.0.0.1", "verify-ca", TRUST, "Answered", True),
        # As libpq has it: authorities make it verify-ca.
        ("127.0.0.1", "require", TRUST, "Answered", True),
        ("127.0.0.1", "require", None, "Answered", True),
        ("127.0.0.1", "prefer", None, "Answered", True),
        ("127.0.0.1", "", None, "Answered", True),
        ("127.0.0.1", "disable", TRUST, "Answered", False),
        # Of the system's authorities none made it.
        ("db.shop", "verify-full", None, "is not trusted", False),
        ("db.shop", "verify-ca", TlsTrust(), "is not trusted", False),
        ("db.shop", "require", TlsTrust(), "is not trusted", False),
    ],
)
async def test_sslmode(
    server: postgres.Postgres,
    authority: Authority,
    operator: Operator,
    host: str,
    sslmode: str,
    trust: TlsTrust | None,
    reason: str,
    encrypted: bool,
) -> None:
    server.certificate(*authority.issue("server"))
    operator.secrets[CA] = authority.pem
    dsn = app(server, sslmode).replace("127.0.0.1", host)
    result = await operator.run(dsn, trust=trust)
    if reason == "Answered":
        assert said(result) == (PASS, reason), result
        assert server.run("SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'app'") == (
            "t" if encrypted else "f"
        )
    else:
        assert said(result) == (FAIL, "TlsFailed"), result
        assert result.message == f"PostgreSQL: the certificate {reason}"


async def test_certificates(
    server: postgres.Postgres, authority: Authority, operator: Operator, tmp_path: Path
) -> None:
    other = Authority(tmp_path)
    dsn = app(server, "verify-full").replace("127.0.0.1", "db.shop")
    operator.secrets[CA] = authority.pem
    server.certificate(*authority.issue("old", days=-1))
    expired = await operator.run(dsn, trust=TRUST)
    assert said(expired) == (FAIL, "TlsFailed") and "has expired" in expired.message
    server.certificate(*other.issue("other"))
    untrusted = await operator.run(trust=TRUST)
    assert said(untrusted) == (FAIL, "TlsFailed") and "is not trusted" in untrusted.message
    # Authorities that were changed are read afresh.
    operator.secrets[CA] = other.pem
    operator.now += 10
    assert said(await operator.run(trust=TRUST)) == (PASS, "Answered")
    operator.secrets[CA] = "no certificate"
    await operator.connections.close()
    fresh = Operator({DSN: dsn, CA: "no certificate"})
    assert said(await fresh.run(trust=TRUST)) == (UNKNOWN, "Invalid")


async def test_a_server_without_tls(server: postgres.Postgres, operator: Operator) -> None:
    server.configure(ssl="off")
    preferred = await operator.run(app(server, "prefer"))
    assert said(preferred) == (PASS, "Answered")
    required = await operator.run(app(server, "require"))
    assert said(required) == (FAIL, "TlsRefused")


async def test_the_environment_has_no_say(
    server: postgres.Postgres, operator: Operator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    passfile = tmp_path / ".pgpass"
    passfile.write_text(f"*:*:*:*:{postgres.PASSWORD}\n")
    passfile.chmod(0o600)
    service = tmp_path / ".pg_service.conf"
    service.write_text("[other]\nhost=169.254.169.254\nuser=other\n")
    wrong = {
        "HOST": "169.254.169.254",
        "PORT": "1",
        "USER": "other",
        "PASSWORD": postgres.PASSWORD,
        "OPTIONS": "-c x=y",
    }
    wrong |= {"DATABASE": "other", "SSLMODE": "verify-full", "SSLROOTCERT": "/nowhere", "SSLCERT": "/nowhere"}
    wrong |= {"SSLNEGOTIATION": "direct", "TARGETSESSIONATTRS": "standby", "GSSLIB": "none", "KRBSRVNAME": "other"}
    wrong |= {"SERVICE": "other", "SERVICEFILE": str(service), "PASSFILE": str(passfile), "APPNAME": "other"}
    for name, value in wrong.items():
        monkeypatch.setenv(f"PG{name}", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    for sslmode in ("disable", "prefer"):
        assert said(await operator.run(app(server, sslmode))) == (PASS, "Answered")
    # No password is no password.
    bare = await operator.run(f"postgres://{postgres.SUPERUSER}@127.0.0.1:{server.port}/postgres")
    assert said(bare) == (FAIL, "AuthenticationFailed")


async def test_a_connection_that_died_unnoticed_is_replaced(server: postgres.Postgres, operator: Operator) -> None:
    dead = False

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, doomed: bool) -> None:
        while data := await reader.read(4096):
            if doomed and dead:
                break
            writer.write(data)
        writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onwards, to_server = await asyncio.open_connection("127.0.0.1", server.port)
        doomed = not dead
        await asyncio.gather(pump(reader, to_server, doomed=doomed), pump(onwards, writer, doomed=doomed))
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as relay:
        port = relay.sockets[0].getsockname()[1]
        assert said(await operator.run(app(server).replace(str(server.port), str(port)))) == (PASS, "Answered")
        dead = True
        replaced = await operator.run()
        assert (said(replaced), replaced.reconnected) == ((PASS, "Answered"), True)
        await operator.connections.close()
        await asyncio.sleep(0.05)


def verifier(password: str, *, rounds: int) -> str:
    """The password as PostgreSQL keeps it; before version 16 no setting makes it use other rounds than 4096."""
    salt = b"salt-of-16-bytes"
    key = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    client, server = (hmac.digest(key, name, "sha256") for name in (b"Client Key", b"Server Key"))
    stored = hashlib.sha256(client).digest()
    words = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${rounds}:{words[0]}${words[1]}:{words[2]}"


@pytest.mark.parametrize(("rounds", "sslmode"), [(4096, "disable"), (20_000, "disable"), (20_000, "require")])
async def test_a_log_in_with_many_rounds(
    server: postgres.Postgres, authority: Authority, operator: Operator, rounds: int, sslmode: str
) -> None:
    certificate, key = authority.issue("db.shop")
    server.certificate(certificate, key)
    server.run(
        "DROP ROLE IF EXISTS thorough", f"CREATE ROLE thorough LOGIN PASSWORD '{verifier(PASSWORD, rounds=rounds)}'"
    )
    dsn = server.dsn(user="thorough", password=PASSWORD) + sslmode
    first = await operator.run(dsn, timeout=timedelta(seconds=30))
    assert said(first) == (PASS, "Answered"), first
    wrong = await operator.run(
        server.dsn(user="thorough", password="s3cret-wrong") + sslmode, timeout=timedelta(seconds=30)
    )
    assert said(wrong) == (FAIL, "AuthenticationFailed"), wrong
