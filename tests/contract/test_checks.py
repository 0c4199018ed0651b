"""Checks against a server that misbehaves for real; gRPC is in test_grpc_check.py."""

import asyncio
import errno
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from resilience.adapters.checks.checker import NetworkChecker
from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.failures import from_os_error, from_text
from resilience.adapters.net.http import HttpClient
from resilience.adapters.telemetry.loop_lag import LoopLag
from resilience.api.checks import Scheme
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import GrpcProbe, HttpProbe, HttpTarget, NetworkProbe, TcpProbe
from tests.support.faulty import BIG, Faulty, faulty_server
from tests.support.ports import server_port
from tests.support.secrets import no_secrets

TIMEOUT = timedelta(milliseconds=300)
LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1/128")]


@pytest.fixture
async def server() -> AsyncIterator[Faulty]:
    async with faulty_server() as running:
        yield running


def checker(*, guard: AddressGuard | None = None, lag: float = 0.0) -> NetworkChecker:
    client = HttpClient(guard=guard or AddressGuard(allowed=LOOPBACK), version="1.2.3")
    return NetworkChecker(client=client, loop_lag=lambda since: lag, credentials=no_secrets())


def http(port: int, path: str, *, expect: frozenset[int] = frozenset(), scheme: Scheme = Scheme.HTTP) -> HttpProbe:
    return HttpProbe(HttpTarget(host="127.0.0.1", port=port, path=path, scheme=scheme), expect)


async def run(probe: NetworkProbe) -> CheckResult:
    return await checker().check(probe, timeout=TIMEOUT)


@pytest.mark.parametrize(
    ("path", "outcome", "reason"),
    [
        ("/status/200", Outcome.PASS, "HTTP200"),
        ("/status/204", Outcome.PASS, "HTTP204"),
        ("/redirect", Outcome.PASS, "HTTP302"),
        ("/gzip-lie", Outcome.PASS, "HTTP200"),
        ("/status/404", Outcome.FAIL, "HTTP404"),
        ("/status/503", Outcome.FAIL, "HTTP503"),
        ("/hang", Outcome.FAIL, "Timeout"),
        ("/slow-headers", Outcome.FAIL, "Timeout"),
        ("/reset", Outcome.FAIL, "ConnectionReset"),
        ("/close", Outcome.FAIL, "ConnectionClosed"),
        ("/cut", Outcome.FAIL, "AnswerCut"),
        ("/garbage", Outcome.FAIL, "NotHttp"),
    ],
)
async def test_http_outcomes_with_one_request_each(server: Faulty, path: str, outcome: Outcome, reason: str) -> None:
    result = await run(http(server.port, path))
    assert (result.outcome, result.reason) == (outcome, reason), result
    # Neither a redirect nor a retry: GET is idempotent, and aiohttp would send it again.
    assert [request.path for request in server.requests] == [path]
    assert server.connections == 1


async def test_http_messages_are_for_people(server: Faulty) -> None:
    answered = await run(http(server.port, "/status/503?key=s3cr3t"))
    assert answered.message == "GET /status/503 answered 503"
    assert answered.latency_seconds is not None and 0 < answered.latency_seconds < 0.3
    assert (await run(http(server.port, "/hang"))).message == "GET /hang: no answer within 300ms"
    refused = await run(http(server_port(), "/"))
    assert (refused.outcome, refused.reason) == (Outcome.FAIL, "ConnectionRefused")
    assert refused.message == "GET /: the connection was refused"


async def test_http_expected_statuses_replace_the_default(server: Faulty) -> None:
    expect = frozenset({404})
    assert (await run(http(server.port, "/status/404", expect=expect))).outcome is Outcome.PASS
    assert (await run(http(server.port, "/status/200", expect=expect))).outcome is Outcome.FAIL


async def test_http_big_answers_are_not_read(server: Faulty) -> None:
    result = await checker().check(http(server.port, "/big"), timeout=timedelta(seconds=2))
    assert (result.outcome, result.reason) == (Outcome.PASS, "HTTP200")
    await asyncio.sleep(0.05)
    # What the kernel's buffers hold was written too.
    assert server.written < BIG * 0.9


async def test_http_sends_no_cookies_and_says_who_it_is(server: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    running = checker()
    for path in ("/redirect", "/status/200", "/status/200"):
        await running.check(http(server.port, path), timeout=TIMEOUT)
    assert server.connections == 3
    for request in server.requests:
        assert request.header("user-agent") == "resilience-operator/1.2.3"
        assert request.header("cookie") is None
        assert request.header("host") == f"127.0.0.1:{server.port}"


async def test_a_name_is_resolved_once_and_kept_in_the_host_header(server: Faulty) -> None:
    asked: list[str] = []

    async def resolve(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    guard = AddressGuard(allowed=LOOPBACK, resolve=resolve)
    probe = HttpProbe(HttpTarget(host="web.shop.svc", port=server.port, path="/status/200"))
    result = await checker(guard=guard).check(probe, timeout=TIMEOUT)
    assert result.outcome is Outcome.PASS, result
    assert asked == ["web.shop.svc"]
    assert server.requests[0].header("host") == f"web.shop.svc:{server.port}"


async def test_http_tries_the_next_address_when_one_refuses(server: Faulty) -> None:
    async def resolve(host: str) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    probes: list[NetworkProbe] = [
        HttpProbe(HttpTarget(host="web", port=server.port, path="/status/200")),
        TcpProbe(host="web", port=server.port),
    ]
    for probe in probes:
        guard = AddressGuard(allowed=LOOPBACK, resolve=resolve)
        assert (await checker(guard=guard).check(probe, timeout=TIMEOUT)).outcome is Outcome.PASS


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    made, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    options = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=nobody"
    command = ["openssl", "req", "-x509", *options.split(), "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made, key


async def test_https_does_not_verify(certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    async with faulty_server(tls=context) as server:
        answered = await checker().check(
            http(server.port, "/status/200", scheme=Scheme.HTTPS), timeout=timedelta(seconds=2)
        )
        assert answered.outcome is Outcome.PASS, answered
    async with faulty_server() as plain:
        refused = await run(http(plain.port, "/status/200", scheme=Scheme.HTTPS))
        assert refused.outcome is Outcome.FAIL, refused


async def test_tcp(server: Faulty) -> None:
    connected = await run(TcpProbe("127.0.0.1", server.port))
    assert connected.outcome is Outcome.PASS
    assert connected.latency_seconds is not None
    refused = await run(TcpProbe("127.0.0.1", server_port()))
    assert (refused.outcome, refused.reason) == (Outcome.FAIL, "ConnectionRefused")


async def test_tcp_times_out_where_nothing_accepts() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        # A full backlog swallows what comes after.
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        result = await run(TcpProbe("127.0.0.1", listener.getsockname()[1]))
        for filler in fillers:
            filler.close()
    assert (result.outcome, result.reason) == (Outcome.FAIL, "Timeout")
    assert result.message.endswith("no connection within 300ms")


@pytest.mark.parametrize("probe", [http(80, "/"), TcpProbe("127.0.0.1", 80), GrpcProbe("127.0.0.1", 80, "")])
async def test_refused_addresses_are_inconclusive(probe: NetworkProbe) -> None:
    result = await checker(guard=AddressGuard()).check(probe, timeout=TIMEOUT)
    assert (result.outcome, result.reason) == (Outcome.INCONCLUSIVE, "AddressRefused")
    assert "loopback" in result.message


async def test_names_that_do_not_exist_fail_and_a_broken_name_service_is_inconclusive() -> None:
    async def missing(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def broken(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    async def hanging(host: str) -> list[str]:
        await asyncio.sleep(60)
        return []

    expected = [
        (missing, Outcome.FAIL, "NameNotFound"),
        (broken, Outcome.INCONCLUSIVE, "NameServiceFailed"),
        (hanging, Outcome.INCONCLUSIVE, "NameServiceFailed"),
    ]
    for resolve, outcome, reason in expected:
        result = await checker(guard=AddressGuard(resolve=resolve)).check(TcpProbe("web", 80), timeout=TIMEOUT)
        assert (result.outcome, result.reason) == (outcome, reason)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.ENOMEM])
async def test_own_faults_are_inconclusive(server: Faulty, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(*args: object, **kwargs: object) -> socket.socket:
        raise OSError(code, "on purpose")

    monkeypatch.setattr(socket, "socket", fail)
    for probe in (http(server.port, "/"), TcpProbe("127.0.0.1", server.port), GrpcProbe("127.0.0.1", server.port, "")):
        result = await run(probe)
        assert result.outcome is Outcome.INCONCLUSIVE, result


def test_unforeseen_errors_count_against_the_target() -> None:
    assert from_os_error(OSError("several things")).own is False
    assert from_os_error(OSError(errno.EHOSTUNREACH, "")).own is False
    assert from_text("failed: Network is unreachable") is not None
    assert from_text("something else") is None


async def test_a_failure_while_the_operator_lagged_is_inconclusive(server: Faulty) -> None:
    lagging = checker(lag=0.25)
    failed = await lagging.check(http(server.port, "/status/503"), timeout=TIMEOUT)
    assert (failed.outcome, failed.reason) == (Outcome.INCONCLUSIVE, "OwnLoopLagged")
    assert "250 ms" in failed.message
    passed = await lagging.check(http(server.port, "/status/200"), timeout=TIMEOUT)
    # How long it took was the operator's affair as much as the target's, so it breaks no bound.
    assert (passed.outcome, passed.latency_seconds) == (Outcome.PASS, None)


async def test_loop_lag_is_measured() -> None:
    lag = LoopLag(interval=timedelta(milliseconds=10))
    loop = asyncio.get_running_loop()
    assert lag.worst(loop.time()) == 0.0
    task = asyncio.create_task(lag.run())
    await asyncio.sleep(0.02)
    before = loop.time()
    time.sleep(0.2)  # noqa: ASYNC251 - holds the loop up on purpose
    # Even before the monitor's own task was woken.
    assert 0.15 < lag.worst(before) <= loop.time() - before
    await asyncio.sleep(0.03)
    assert lag.worst(before) > 0.15
    assert lag.worst(loop.time()) < 0.05
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_cancellation_passes_and_leaves_nothing_behind(server: Faulty) -> None:
    task = asyncio.create_task(checker().check(http(server.port, "/hang"), timeout=timedelta(seconds=30)))
    await asyncio.sleep(0.05)
    assert len(server.requests) == 1
    before = asyncio.all_tasks()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() <= before
