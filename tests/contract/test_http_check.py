"""What the http check asks beyond a status: headers, certificates, numbers and components. The rest: test_checks.py."""

import asyncio
import json
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from ipaddress import ip_network
from itertools import count
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from resilience.adapters.checks.http_check import check_http
from resilience.adapters.net.address import AddressGuard, Resolve
from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.failures import NetworkFailure
from resilience.adapters.net.http import HttpClient
from resilience.adapters.net.login import Logins
from resilience.api.checks import Scheme
from resilience.api.reasons import HealthState
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.bounds import Bounds, Levels
from resilience.core.model.check_state import Component
from resilience.core.model.probes import HttpProbe, HttpTarget, SecretRef, TlsTrust
from resilience.ports import Invalid, Refused, Unavailable
from tests.support.faulty import faulty_server
from tests.support.secrets import FakeSecrets

TIMEOUT = timedelta(seconds=2)
LOOPBACK = [ip_network("127.0.0.0/8")]
HEADERS = SecretRef("shop", "health", "headers")
CA = SecretRef("shop", "health", "ca.crt")
MALFORMED = "key 'headers' of Secret 'health' must hold one `Name: value` a line"
DB_DOWN = b'{"status": "DOWN", "components": {"db": {"status": "DOWN", "message": "no route"}, "ping": "UP"}}'
COMPONENTS = (Component("db", HealthState.UNHEALTHY, "no route"), Component("ping", HealthState.HEALTHY))


@dataclass
class Application:
    """Answers with one status and body; only whoever knows the password gets them, where there is one."""

    status: int = 200
    body: bytes = b""
    password: str = ""
    requests: list[web.Request] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        if self.password and request.headers.get("X-Key") != self.password:
            return web.Response(status=401)
        return web.Response(status=self.status, body=self.body)


@asynccontextmanager
async def served(application: Application, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[HttpProbe]:
    """A probe of the application, which is served meanwhile."""
    app = web.Application()
    app.router.add_get("/{path:.*}", application.answer)
    server = TestServer(app, scheme="https" if tls else "http", host="127.0.0.1")
    await server.start_server(ssl=tls)
    assert server.port is not None
    try:
        scheme = Scheme.HTTPS if tls else Scheme.HTTP
        yield HttpProbe(HttpTarget("127.0.0.1", server.port, "/health?key=s3cr3t", scheme))
    finally:
        await server.close()


def credentials(secrets: FakeSecrets | None = None) -> Credentials:
    return Credentials(secrets=secrets or FakeSecrets(), monotonic=time.monotonic)


def over_time(secrets: FakeSecrets) -> Credentials:
    """Ten seconds pass with each look at the clock, so that a value is read again whenever it is refused."""
    return Credentials(secrets=secrets, monotonic=partial(next, count(step=10)))


async def run(
    probe: HttpProbe,
    known: Credentials | None = None,
    *,
    timeout: timedelta = TIMEOUT,
    resolve: Resolve | None = None,
) -> CheckResult:
    client = HttpClient(guard=AddressGuard(allowed=LOOPBACK, resolve=resolve), version="1")
    return await check_http(probe, client=client, logins=Logins(client, known or credentials()), timeout=timeout)


async def asked(
    body: object,
    *,
    status: int = 200,
    expect: frozenset[int] = frozenset(),
    components: bool = False,
    number: tuple[str, Levels] | None = None,
) -> CheckResult:
    """The result for one body, JSON or raw."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with served(Application(status=status, body=raw)) as probe:
        return await run(replace(probe, expect=expect, components=components, number=number))


# Numbers


NUMBER = ("queue.length", Levels(Bounds(above=100)))


@pytest.mark.parametrize("value", [0, 100, 99.5, -3, 1e-300])
async def test_a_number_within_bounds_passes(value: float) -> None:
    result = await asked({"queue": {"length": value}}, number=NUMBER)
    assert (result.outcome, result.reason, result.message) == (Outcome.PASS, "HTTP200", "GET /health answered 200")
    assert result.latency_seconds is not None and 0 < result.latency_seconds < 2


@pytest.mark.parametrize(
    ("value", "bounds", "words"),
    [
        (120, Bounds(above=100), "queue.length: 120 is above 100"),
        (0.5, Bounds(below=1), "queue.length: 0.5 is below 1"),
        (int("9" * 200), Bounds(above=100), "queue.length: 1e+200 is above 100"),
    ],
)
async def test_a_number_out_of_bounds_fails(value: float, bounds: Bounds, words: str) -> None:
    result = await asked({"queue": {"length": value}}, number=("queue.length", Levels(bounds)))
    assert (result.outcome, result.reason) == (Outcome.FAIL, "OutOfBounds")
    assert result.message == f"GET /health: {words}"


@pytest.mark.parametrize(
    ("value", "outcome", "reason", "words"),
    [
        (5, Outcome.PASS, "HTTP200", "answered 200"),
        (70, Outcome.WARN, "OutOfBounds", "queue.length: 70 is above 50"),
        (101, Outcome.FAIL, "OutOfBounds", "queue.length: 101 is above 100"),
        (0, Outcome.WARN, "OutOfBounds", "queue.length: 0 is below 1"),
    ],
)
async def test_a_number_by_severity(value: float, outcome: Outcome, reason: str, words: str) -> None:
    levels = Levels(critical=Bounds(above=100), warning=Bounds(above=50, below=1))

    result = await asked({"queue": {"length": value}}, number=("queue.length", levels))

    assert (result.outcome, result.reason, result.figure) == (outcome, reason, value)
    assert words in result.message


async def test_an_unhealthy_component_is_worse_than_a_number_that_warns() -> None:
    levels = Levels(warning=Bounds(above=50))
    body = {"queue": {"length": 70}, "components": {"db": "down"}}

    result = await asked(body, components=True, number=("queue.length", levels))

    assert (result.outcome, result.reason) == (Outcome.FAIL, "ComponentUnhealthy")


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("pools.1.open", Outcome.PASS),
        ("pools.0.open", Outcome.FAIL),
        ("pools.2.open", Outcome.FAIL),
        ("pools.-1.open", Outcome.FAIL),
        ("pools.²", Outcome.FAIL),
        (f"pools.{'9' * 240}", Outcome.FAIL),
        ("a.b", Outcome.FAIL),
        ("deep.1", Outcome.PASS),
        ("..", Outcome.FAIL),
    ],
)
async def test_paths(path: str, outcome: Outcome) -> None:
    body = {"pools": [{}, {"open": 3}], "a.b": 3, "deep": {"1": 3}}
    result = await asked(body, number=(path, NUMBER[1]))
    assert result.outcome is outcome
    assert result.reason == ("HTTP200" if outcome is Outcome.PASS else "NoNumber")


@pytest.mark.parametrize(
    "body",
    [
        *(b"{}", b"[]", b"null", b"3", b'"queue"', b'{"queue": 3}', b'{"queue": {"length": null}}'),
        *(b'{"queue": {"length": %b}}' % each for each in (b"true", b'"120"', b"[120]", b"{}")),
        *(b'{"queue": {"length": %b}}' % each for each in (b"NaN", b"Infinity", b"-Infinity", b"1e999")),
        b'{"queue": {"length": %b}}' % (b"9" * 4000),
        b'{"queue": {"length": 3}, "queue": 4}',
    ],
)
async def test_what_is_no_finite_number_fails(body: bytes) -> None:
    result = await asked(body, number=NUMBER)
    assert (result.outcome, result.reason) == (Outcome.FAIL, "NoNumber")
    assert result.message == "GET /health: queue.length is missing, or not a number"


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"OK", b"<html>", b"{'a': 1}", b'{"queue": {"length": 3}', b"\xff\xfe\xfd", b'{"a": "\xc3\x28"}'),
        *(b"[" * 60000, b'{"a":' * 10000, b'{"queue": {"length": %b}}' % (b"9" * 5000)),
    ],
)
async def test_what_is_no_json_fails(body: bytes) -> None:
    result = await asked(body, number=NUMBER)
    assert (result.outcome, result.reason) == (Outcome.FAIL, "NotJson")
    assert result.message == "GET /health: the body is not JSON"


async def test_bodies_are_read_up_to_64_kib() -> None:
    start = b'{"queue": {"length": 3}}'
    assert (await asked(start.ljust(65536), number=NUMBER)).outcome is Outcome.PASS
    cut = await asked(start.ljust(65537), number=NUMBER)
    assert (cut.reason, cut.message) == ("NotJson", "GET /health: the body is longer than 64 KiB")


async def test_ten_megabytes_are_not_read() -> None:
    async with faulty_server() as server:
        probe = HttpProbe(HttpTarget("127.0.0.1", server.port, "/big"), number=NUMBER)
        assert (await run(probe)).reason == "NotJson"
        listed = await run(replace(probe, number=None, components=True))
    assert (listed.reason, listed.components) == ("NoComponents", ())
    assert "longer than 64 KiB" in listed.message


async def test_a_bad_status_fails_whatever_the_body_says() -> None:
    result = await asked({"queue": {"length": 3}}, status=500, number=NUMBER)
    assert (result.outcome, result.reason, result.message) == (Outcome.FAIL, "HTTP500", "GET /health answered 500")
    expected = await asked({"queue": {"length": 3}}, status=500, expect=frozenset({500}), number=NUMBER)
    assert (expected.outcome, expected.reason) == (Outcome.PASS, "HTTP500")


# Components


async def test_components_of_a_healthy_application() -> None:
    result = await asked({"status": "UP", "components": {"db": "UP", "odd": "?"}}, components=True)
    assert (result.outcome, result.reason, result.message) == (Outcome.PASS, "HTTP200", "GET /health answered 200")
    assert result.components == (Component("db", HealthState.HEALTHY), Component("odd", HealthState.UNKNOWN))


async def test_an_unhealthy_component_fails() -> None:
    result = await asked(DB_DOWN, components=True)
    assert (result.outcome, result.reason) == (Outcome.FAIL, "ComponentUnhealthy")
    # Without what it says: that stays with the component.
    assert result.message == "GET /health: unhealthy: db"
    assert result.components == COMPONENTS


async def test_three_components_are_named() -> None:
    body = {"checks": dict.fromkeys("abc", "down")}
    assert (await asked(body, components=True)).message == "GET /health: unhealthy: a, b, c"
    body = {"checks": dict.fromkeys("abcde", "warn")}
    result = await asked(body, components=True)
    assert (result.outcome, result.reason) == (Outcome.WARN, "ComponentWarning")
    assert result.message == "GET /health: warning: a, b, c and 2 more"


async def test_components_of_a_bad_status_are_kept() -> None:
    result = await asked(DB_DOWN, status=503, components=True)
    assert (result.outcome, result.reason) == (Outcome.FAIL, "HTTP503")
    assert result.message == "GET /health answered 503; unhealthy: db"
    assert result.components == COMPONENTS
    silent = await asked(b"upstream is gone", status=503, components=True)
    assert (silent.reason, silent.message, silent.components) == ("HTTP503", "GET /health answered 503", ())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"status": "UP"}', "the body lists no components"),
        (b'{"components": {}}', "the body lists no components"),
        (b"[]", "the body lists no components"),
        (b"healthy", "the body is not JSON"),
        (b'{"checks":' * 6000, "the body is not JSON"),
        (b'{"checks": {"a": "\xff"}}', "the body is not JSON"),
    ],
)
async def test_a_body_without_components_warns(body: bytes, words: str) -> None:
    result = await asked(body, components=True)
    assert (result.outcome, result.reason, result.components) == (Outcome.WARN, "NoComponents", ())
    assert result.message.startswith(f"GET /health: {words}; have the application list them")
    assert result.message.endswith("or remove http.components")


async def test_components_of_which_no_state_can_be_read_warn() -> None:
    result = await asked({"Status": 2, "Entries": {"db": {"Status": 2}}}, components=True)
    assert (result.outcome, result.reason) == (Outcome.WARN, "NoComponents")
    assert "no component in the body has a word for its state that is known" in result.message
    assert result.components == (Component("db", HealthState.UNKNOWN),)


@pytest.mark.parametrize(
    ("body", "outcome", "reason"),
    [
        (b"Healthy", Outcome.WARN, "NoComponents"),
        (b"Degraded", Outcome.WARN, "ComponentWarning"),
        (b"Unhealthy\n", Outcome.FAIL, "ComponentUnhealthy"),
        (b'{"status": "DOWN"}', Outcome.FAIL, "ComponentUnhealthy"),
        (b'{"data": {"status": "degraded"}}', Outcome.WARN, "ComponentWarning"),
        (b'"unhealthy"', Outcome.FAIL, "ComponentUnhealthy"),
        (b'{"healthy": false, "message": "no"}', Outcome.FAIL, "ComponentUnhealthy"),
        # Where components are listed they alone count.
        (b'{"status": "DOWN", "components": {"a": "UP"}}', Outcome.PASS, "HTTP200"),
    ],
)
async def test_a_word_for_the_whole_counts_where_nothing_is_listed(body: bytes, outcome: Outcome, reason: str) -> None:
    result = await asked(body, components=True)
    assert (result.outcome, result.reason) == (outcome, reason), result
    assert (await asked(body)).outcome is Outcome.PASS


async def test_components_are_not_read_unless_asked_for() -> None:
    assert (await asked(DB_DOWN)).components == ()


@pytest.mark.parametrize(
    ("states", "number", "reason"),
    [
        ({"a": "down"}, 120, "ComponentUnhealthy"),
        ({"a": "warn"}, 120, "OutOfBounds"),
        ({"a": "warn"}, None, "NoNumber"),
        ({"a": "warn"}, 3, "ComponentWarning"),
        ({"a": "ok"}, 3, "HTTP200"),
        ({}, 3, "NoComponents"),
        ({}, 120, "OutOfBounds"),
        ({"a": "?"}, None, "NoNumber"),
    ],
)
async def test_failures_speak_before_warnings(states: dict[str, str], number: int | None, reason: str) -> None:
    body = {"components": states, "queue": {"length": number}}
    result = await asked(body, components=True, number=NUMBER)
    assert result.reason == reason
    assert len(result.components) == len(states)


# Headers


async def test_headers_are_sent_and_kept() -> None:
    secrets = FakeSecrets({HEADERS: "X-Key: s3cr3t\nHost:  shop.example \n"})
    known = credentials(secrets)
    application = Application(password="s3cr3t")
    async with served(application) as probe:
        for _ in range(3):
            assert (await run(replace(probe, headers=HEADERS), known)).outcome is Outcome.PASS
    assert [request.headers["Host"] for request in application.requests] == ["shop.example"] * 3
    assert secrets.reads == 1


async def test_host_and_headers_of_the_spec_are_sent_host_first_and_once() -> None:
    application = Application()
    async with served(application) as probe:
        target = replace(probe.target, host_header="shop.example:8443", headers=(("X-Key", "1"), ("Accept", "a/b")))
        assert (await run(replace(probe, target=target))).outcome is Outcome.PASS
    (request,) = application.requests
    assert [value.decode() for name, value in request.raw_headers if name == b"Host"] == ["shop.example:8443"]
    assert request.raw_headers[0][0] == b"Host"
    assert (request.headers["X-Key"], request.headers.getall("Accept")) == ("1", ["a/b"])


async def test_a_header_from_the_secret_replaces_the_specs_own() -> None:
    application = Application()
    secrets = FakeSecrets({HEADERS: "host: secret.example\nx-key: 2"})
    async with served(application) as probe:
        target = replace(probe.target, host_header="shop.example", headers=(("X-Key", "1"),))
        await run(replace(probe, target=target, headers=HEADERS), credentials(secrets))
    (request,) = application.requests
    assert request.headers.getall("Host") == ["secret.example"]
    assert request.headers.getall("X-Key") == ["2"]


async def test_a_header_of_the_connection_is_refused_whoever_sets_it() -> None:
    async with served(Application()) as probe:
        target = replace(probe.target, headers=(("Transfer-Encoding", "chunked"),))
        with pytest.raises(Refused, match="written by the operator"):
            await run(replace(probe, target=target))


async def test_a_rotated_header_is_read_afresh() -> None:
    secrets = FakeSecrets({HEADERS: "X-Key: 0ld"})
    known, application = over_time(secrets), Application(password="0ld")
    async with served(application) as plain:
        probe = replace(plain, headers=HEADERS)
        assert (await run(probe, known)).outcome is Outcome.PASS
        secrets.values[HEADERS], application.password = "X-Key: n3w", "n3w"
        assert (await run(probe, known)).outcome is Outcome.PASS
        assert (len(application.requests), secrets.reads) == (3, 2)
        assert (await run(probe, known)).outcome is Outcome.PASS
        assert (len(application.requests), secrets.reads) == (4, 2)
        # Both are changed, but not to the same.
        secrets.values[HEADERS], application.password = "X-Key: 0dd", "3ven"
        refused = await run(probe, known)
    assert (refused.outcome, refused.reason, refused.message) == (Outcome.FAIL, "HTTP401", "GET /health answered 401")
    assert (len(application.requests), secrets.reads) == (6, 3)


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_with_an_unchanged_secret_is_asked_once(status: int) -> None:
    secrets = FakeSecrets({HEADERS: "X-Key: s3cr3t"})
    application = Application(status=status)
    async with served(application) as plain:
        probe = replace(plain, headers=HEADERS)
        assert (await run(probe, credentials(secrets))).reason == f"HTTP{status}"
        assert (len(application.requests), secrets.reads) == (1, 2)
        # Where it is what is expected, nothing is out of date.
        expected = await run(replace(probe, expect=frozenset({status})), credentials(secrets))
        assert (expected.outcome, secrets.reads) == (Outcome.PASS, 3)
        # Without a Secret there is nothing to read.
        assert (await run(plain, credentials(secrets))).reason == f"HTTP{status}"
        assert secrets.reads == 3


@pytest.mark.parametrize("text", ["s3cr3t", "X-Key: s3cr3t\n\nX-Other: 1", ": s3cr3t"])
async def test_a_secret_that_holds_no_headers_is_invalid(text: str) -> None:
    application = Application()
    async with served(application) as probe:
        with pytest.raises(Invalid) as invalid:
            await run(replace(probe, headers=HEADERS), credentials(FakeSecrets({HEADERS: text})))
    assert str(invalid.value) == MALFORMED
    assert application.requests == []


async def test_a_header_that_cannot_be_written_is_not_shown() -> None:
    async with served(Application()) as probe:
        with pytest.raises(Refused) as refused:
            await run(replace(probe, headers=HEADERS), credentials(FakeSecrets({HEADERS: "X-Key: s3\0cr3t"})))
    assert "cr3t" not in str(refused.value)


async def test_a_secret_that_cannot_be_read_is_no_failure_of_the_target() -> None:
    application = Application()
    async with served(application) as plain:
        probe = replace(plain, headers=HEADERS)
        with pytest.raises(Invalid):
            await run(probe, credentials(FakeSecrets(refuses=True)))
        began = time.monotonic()
        with pytest.raises(NetworkFailure) as failed:
            await run(probe, credentials(FakeSecrets(delay=60)), timeout=timedelta(seconds=1))
        # The other half is the target's.
        assert time.monotonic() - began < 0.9
    assert (failed.value.reason, failed.value.own) == ("SecretUnavailable", True)
    assert application.requests == []


async def test_one_time_out_is_for_everything() -> None:
    async def slow(host: str) -> list[str]:
        await asyncio.sleep(0.2)
        return ["127.0.0.1"]

    async with faulty_server() as server:
        probe = HttpProbe(HttpTarget("web", server.port, "/hang"), headers=HEADERS)
        secrets = FakeSecrets({HEADERS: "X-Key: s3cr3t"}, delay=0.4)
        began = time.monotonic()
        with pytest.raises(NetworkFailure) as failed:
            await run(probe, credentials(secrets), timeout=timedelta(seconds=1), resolve=slow)
        assert 0.99 < time.monotonic() - began < 1.3
        # The same words each time, however long the Secret took.
        assert (failed.value.reason, str(failed.value)) == ("Timeout", "no answer within 1s")


# Certificates


@dataclass(frozen=True)
class Authority:
    """A certificate authority in a folder."""

    folder: Path

    @property
    def pem(self) -> str:
        return (self.folder / "ca.crt").read_text()

    def server(self, names: str, *, days: int = 1) -> ssl.SSLContext:
        """A server's context with a certificate for these names."""
        folder = self.folder
        _openssl(folder, "req", *_NEW_KEY, *("-subj", "/CN=server", "-keyout", "key", "-out", "csr"))
        (folder / "extensions").write_text(f"subjectAltName={names}")
        signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "extensions", "-out", "crt")
        _openssl(folder, "x509", "-req", "-in", "csr", "-days", str(days), *signed)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "crt", folder / "key")
        return context


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    """Two that have nothing to do with each other."""
    folders = [tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")]
    for folder in folders:
        _openssl(
            folder, "req", "-x509", *_NEW_KEY, "-subj", f"/CN={folder.name}", "-keyout", "ca.key", "-out", "ca.crt"
        )
    return Authority(folders[0]), Authority(folders[1])


def holding(authority: Authority) -> FakeSecrets:
    return FakeSecrets({CA: authority.pem})


async def test_a_trusted_certificate_passes(authorities: tuple[Authority, Authority]) -> None:
    ours = authorities[0]
    async with served(Application(), tls=ours.server("IP:127.0.0.1")) as probe:
        result = await run(replace(probe, trust=TlsTrust(CA)), credentials(holding(ours)))
        assert (result.outcome, result.reason) == (Outcome.PASS, "HTTP200")
    async with served(Application(), tls=ours.server("DNS:db.shop")) as probe:
        trust = TlsTrust(CA, server_name="db.shop")
        assert (await run(replace(probe, trust=trust), credentials(holding(ours)))).outcome is Outcome.PASS


@pytest.mark.parametrize("host", ["web.shop", "web.shop.", "WEB.shop"])
async def test_the_name_is_the_hosts_whatever_a_header_says(
    authorities: tuple[Authority, Authority], host: str
) -> None:
    async def resolve(host: str) -> list[str]:
        return ["127.0.0.1"]

    secrets = holding(authorities[0])
    secrets.values[HEADERS] = "Host: elsewhere"
    async with served(Application(), tls=authorities[0].server("DNS:web.shop")) as probe:
        named = replace(probe, target=replace(probe.target, host=host), trust=TlsTrust(CA), headers=HEADERS)
        assert (await run(named, credentials(secrets), resolve=resolve)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("names", "days", "trust", "words"),
    [
        ("IP:127.0.0.1", 1, TlsTrust(), "the certificate is not trusted"),
        ("IP:127.0.0.1", -1, TlsTrust(CA), "the certificate has expired, or one that signed it"),
        ("IP:127.0.0.2", 1, TlsTrust(CA), "the certificate carries another name than the requested one"),
        (
            "IP:127.0.0.1",
            1,
            TlsTrust(CA, server_name="db.shop"),
            "the certificate carries another name than the requested one",
        ),
    ],
)
async def test_bad_certificates_fail(
    authorities: tuple[Authority, Authority], names: str, days: int, trust: TlsTrust, words: str
) -> None:
    application = Application()
    async with served(application, tls=authorities[0].server(names, days=days)) as probe:
        with pytest.raises(NetworkFailure) as failed:
            await run(replace(probe, trust=trust), credentials(holding(authorities[0])))
        assert (failed.value.reason, str(failed.value), failed.value.own) == ("TlsFailed", words, False)
        assert application.requests == []
        # Pods and Services are not verified.
        assert (await run(probe)).outcome is Outcome.PASS


async def test_a_name_that_no_certificate_can_carry_is_refused(authorities: tuple[Authority, Authority]) -> None:
    async with served(Application(), tls=authorities[0].server("IP:127.0.0.1")) as probe:
        for name in ("a..b", "x" * 64):
            with pytest.raises(Refused, match="cannot be the name of a server"):
                await run(replace(probe, trust=TlsTrust(CA, server_name=name)), credentials(holding(authorities[0])))


async def test_a_rotated_authority_is_read_afresh(authorities: tuple[Authority, Authority]) -> None:
    ours, other = authorities
    secrets = holding(other)
    known = over_time(secrets)
    async with served(Application(), tls=ours.server("IP:127.0.0.1")) as plain:
        probe = replace(plain, trust=TlsTrust(CA))
        with pytest.raises(NetworkFailure) as failed:
            await run(probe, known)
        assert (str(failed.value), secrets.reads) == ("the certificate is not trusted", 2)
        secrets.values[CA] = ours.pem
        assert (await run(probe, known)).outcome is Outcome.PASS
        assert secrets.reads == 3


async def test_a_secret_without_certificates_is_invalid(authorities: tuple[Authority, Authority]) -> None:
    async with served(Application(), tls=authorities[0].server("IP:127.0.0.1")) as probe:
        with pytest.raises(Invalid):
            await run(replace(probe, trust=TlsTrust(CA)), credentials(FakeSecrets({CA: "s3cr3t"})))


async def test_what_speaks_no_tls_fails(authorities: tuple[Authority, Authority]) -> None:
    async with faulty_server() as plain:
        target = HttpTarget("127.0.0.1", plain.port, "/", Scheme.HTTPS)
        with pytest.raises(Unavailable):
            await run(HttpProbe(target, trust=TlsTrust(CA)), credentials(holding(authorities[0])))
