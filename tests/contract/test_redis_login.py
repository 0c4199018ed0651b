"""Logins of the redis check: passwords, users and certificates, right, wrong and rotated."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from resilience.api.dependency_checks import RedisVerify
from resilience.core.health.thresholds import Outcome
from resilience.core.model.probes import TlsTrust
from tests.support import redis
from tests.support.host import needs
from tests.support.redis import Server
from tests.support.redis_checks import asking, probe, secret, told

pytestmark = needs(redis.PROGRAM)
FAIL, PASS, UNKNOWN = Outcome.FAIL, Outcome.PASS, Outcome.INCONCLUSIVE
ROLE, WRITE = RedisVerify.ROLE, RedisVerify.WRITE
PASSWORD = "hunter2-is-the-password"


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis.running(tmp_path_factory.mktemp("master"), "--enable-debug-command", "yes") as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    users = ("--user", "default", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    more = ("--user", "checker", "on", ">checkers-password", "~resilience.dev:*", "&*", "+ping", "+role", "+select")
    folder = tmp_path_factory.mktemp("guarded")
    with redis.running(folder, *users, *more, client={"password": PASSWORD}) as server:
        yield server


async def test_passwords(guarded: Server) -> None:
    async with asking(password=PASSWORD, wrong="not-the-password") as asker:
        right = probe(guarded, WRITE, password=secret("password"))
        assert told(await asker.check(right)) == (PASS, "Answered")
        wrong = await asker.check(probe(guarded, password=secret("wrong")))
        assert told(wrong) == (FAIL, "AuthenticationFailed")
        where = f"Redis: 127.0.0.1:{guarded.port}"
        assert wrong.message == f"{where} refused the password in key 'wrong' of Secret 'redis-login'"
        # Read once before and once because it was refused.
        assert asker.vault.reads.count("wrong") == 2
        missing = await asker.check(probe(guarded))
        assert told(missing) == (FAIL, "AuthenticationFailed")
        assert missing.message == f"{where} requires a password, and the check names none"
        unreadable = await asker.check(probe(guarded, password=secret("absent")))
        assert told(unreadable) == (UNKNOWN, "Invalid")


async def test_a_password_for_a_server_that_wants_none(master: Server) -> None:
    async with asking(password=PASSWORD) as asker:
        refused = await asker.check(probe(master, password=secret("password")))
        assert told(refused) == (FAIL, "AuthenticationFailed")


async def test_a_rotated_password(tmp_path: Path) -> None:
    with redis.running(tmp_path, "--requirepass", "the-first", client={"password": "the-first"}) as server:
        async with asking(password="the-first") as asker:
            asked = probe(server, password=secret("password"))
            assert told(await asker.check(asked)) == (PASS, "Answered")
            server.command("CONFIG", "SET", "requirepass", "the-second")
            server.client["password"] = "the-second"
            asker.vault.values["password"] = "the-second"
            server.command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")
            assert told(await asker.check(asked)) == (PASS, "Answered")
            assert asker.vault.reads == ["password", "password"]
            assert told(await asker.check(asked)) == (PASS, "Answered")
            assert asker.vault.reads == ["password", "password"]


async def test_users(guarded: Server) -> None:
    async with asking(user="checker", password="checkers-password", wrong="not-the-password") as asker:
        login: dict[str, Any] = {"username": secret("user"), "password": secret("password")}
        assert told(await asker.check(probe(guarded, ROLE, **login))) == (PASS, "Answered")
        forbidden = await asker.check(probe(guarded, ROLE, WRITE, **login))
        assert told(forbidden) == (UNKNOWN, "NotPermitted")
        assert "does not let the check's user run SET" in forbidden.message
        wrong = await asker.check(probe(guarded, username=secret("user"), password=secret("wrong")))
        assert told(wrong) == (FAIL, "AuthenticationFailed")
        assert "the user name in key 'user' of Secret 'redis-login' with the password in key 'wrong'" in wrong.message


async def test_a_silent_secret_store_says_nothing_of_the_server(master: Server) -> None:
    async with asking(password=PASSWORD) as asker:
        asker.vault.silent = True
        result = await asker.check(probe(master, password=secret("password")), seconds=0.3)
        assert told(result) == (UNKNOWN, "SecretsUnread")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities, `ca` and `other`; of `ca` the certificates `good` and `expired` of 127.0.0.1 and redis.shop."""
    folder = tmp_path_factory.mktemp("certificates")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"

    def openssl(command: str) -> None:
        subprocess.run(["openssl", *command.split()], check=True, capture_output=True, cwd=folder)

    for name in ("ca", "other"):
        openssl(f"req -x509 {key} -days 2 -subj /CN={name} -keyout {name}.key -out {name}.crt")
    for name, days in (("good", 1), ("expired", -1)):
        names = "-addext subjectAltName=IP:127.0.0.1,DNS:redis.shop"
        openssl(f"req {key} -subj /CN={name} {names} -keyout {name}.key -out {name}.csr")
        signed = f"-CA ca.crt -CAkey ca.key -CAcreateserial -days {days} -copy_extensions copy"
        openssl(f"x509 -req -in {name}.csr -out {name}.crt {signed}")
    return folder


@contextmanager
def speaking_tls(folder: Path, certificates: Path, name: str) -> Iterator[Server]:
    ca = str(certificates / "ca.crt")
    files = ("--tls-cert-file", f"{certificates}/{name}.crt", "--tls-key-file", f"{certificates}/{name}.key")
    client = {"ssl": True, "ssl_cert_reqs": "none"}
    more = ("--tls-ca-cert-file", ca, "--tls-auth-clients", "no")
    with redis.running(folder, *files, *more, tls=True, client=client) as server:
        yield server


async def test_tls(tmp_path: Path, certificates: Path, master: Server) -> None:
    ca, other = (certificates / name for name in ("ca.crt", "other.crt"))
    trust = TlsTrust(secret("ca"))
    # Ten seconds pass with each look at the clock.
    clock = partial(next, count(step=10))
    known = other.read_text()
    async with asking(monotonic=clock, ca=ca.read_text(), other=known, rotated=known) as asker:
        with speaking_tls(tmp_path, certificates, "good") as server:
            assert told(await asker.check(probe(server, WRITE, trust=trust))) == (PASS, "Answered")
            named = replace(trust, server_name="redis.shop")
            assert told(await asker.check(probe(server, trust=named))) == (PASS, "Answered")
            other_name = await asker.check(probe(server, trust=replace(trust, server_name="redis.other")))
            assert told(other_name) == (FAIL, "TlsFailed")
            assert "the certificate carries another name" in other_name.message
            for wrong in (TlsTrust(secret("other")), TlsTrust()):
                untrusted = await asker.check(probe(server, trust=wrong))
                assert told(untrusted) == (FAIL, "TlsFailed")
                assert "the certificate is not trusted" in untrusted.message
            rotated = probe(server, trust=TlsTrust(secret("rotated")))
            assert told(await asker.check(rotated)) == (FAIL, "TlsFailed")
            asker.vault.values["rotated"] = ca.read_text()
            assert told(await asker.check(rotated)) == (PASS, "Answered")
            plain = await asker.check(probe(server))
            assert plain.outcome is FAIL and plain.reason in {"ConnectionClosed", "ConnectionReset"}
        plain = await asker.check(probe(master, trust=trust), seconds=1)
        assert told(plain) in {(FAIL, "TlsFailed"), (FAIL, "ConnectionClosed"), (FAIL, "Timeout")}
        assert "OwnNetworkDown" not in plain.reason


async def test_tls_that_has_expired(tmp_path: Path, certificates: Path) -> None:
    ca = (certificates / "ca.crt").read_text()
    async with asking(ca=ca) as asker:
        with speaking_tls(tmp_path, certificates, "expired") as server:
            expired = await asker.check(probe(server, trust=TlsTrust(secret("ca"))))
            assert told(expired) == (FAIL, "TlsFailed")
            assert expired.message.endswith("the certificate has expired, or one that signed it")
