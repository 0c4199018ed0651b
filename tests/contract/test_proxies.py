"""Requests to places outside of the cluster, by way of an HTTP proxy that resolves names by itself."""

import ssl
import time
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from socket import EAI_NONAME, gaierror
from typing import Any

import pytest

from resilience.adapters.checks.checker import NetworkChecker
from resilience.adapters.checks.prometheus.client import PrometheusClient
from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.credentials import tls_context
from resilience.adapters.net.failures import NetworkFailure
from resilience.adapters.net.http import HttpClient
from resilience.adapters.net.proxy import Proxies
from resilience.api.http import ProxyUse
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import HttpProbe, HttpTarget
from resilience.ports import Refused
from tests.support.faulty import faulty_server
from tests.support.messages import Post, from_secret, make_alert, make_message
from tests.support.postgres_checks import Authority
from tests.support.proxy import FakeProxy, fake_proxy
from tests.support.secrets import no_secrets

TIMEOUT = timedelta(seconds=5)
# As a cluster's name service knows them; any other name does not exist there.
NAMES = {
    "public.example": ["192.0.2.10"],
    "inner.corp.example": ["127.0.0.1"],
    "metadata.example": ["192.0.2.10", "169.254.169.254"],
    "web.shop.svc": ["127.0.0.1"],
    "web.shop": ["127.0.0.1"],
}


async def resolve(host: str) -> Sequence[str]:
    if host not in NAMES:
        raise gaierror(EAI_NONAME, "unknown")
    return NAMES[host]


def make_client(proxy: FakeProxy, *, bypass: Sequence[str] = (), credentials: str = "") -> HttpClient:
    proxies = Proxies(http=proxy.url, https=proxy.url, bypass=bypass, credentials=credentials)
    guard = AddressGuard(allowed=[ip_network("127.0.0.0/8")], resolve=resolve)
    return HttpClient(guard=guard, version="1", proxies=proxies)


async def get(client: HttpClient, url: str, use: ProxyUse = ProxyUse.OUTSIDE, **more: Any) -> int:
    return (await client.request("GET", HttpTarget.at(url), timeout=TIMEOUT, proxy=use, **more)).status


@pytest.mark.parametrize("host", ["public.example", "unknown-here.example", "8.8.8.8"])
async def test_a_place_outside_is_reached_through_the_proxy(host: str) -> None:
    async with fake_proxy() as proxy, faulty_server() as server:
        proxy.routes[f"{host}:8080"] = server.port
        assert await get(make_client(proxy), f"http://{host}:8080/echo?a=b") == 200
        assert proxy.asked == [f"GET http://{host}:8080/echo?a=b"]
        assert (server.requests[0].path, server.requests[0].header("host")) == ("/echo?a=b", f"{host}:8080")


async def test_https_goes_through_a_tunnel_and_is_verified(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("hook", host="DNS:hooks.example"))
    async with fake_proxy() as proxy, faulty_server(tls=context) as server:
        proxy.routes |= {"hooks.example:443": server.port, "other.example:443": server.port}
        client, tls = make_client(proxy), tls_context(authority.pem)
        assert await get(client, "https://hooks.example/status/204", tls=tls) == 204
        assert proxy.asked == ["CONNECT hooks.example:443"]
        with pytest.raises(NetworkFailure, match="carries another name"):
            await get(client, "https://other.example/", tls=tls)


@pytest.mark.parametrize(
    ("host", "use", "bypass"),
    [
        ("127.0.0.1", ProxyUse.OUTSIDE, ()),
        ("web.shop.svc", ProxyUse.OUTSIDE, ()),
        ("web.shop", ProxyUse.OUTSIDE, ()),
        ("inner.corp.example", ProxyUse.OUTSIDE, ()),
        ("inner.corp.example", ProxyUse.NEVER, ()),
        ("inner.corp.example", ProxyUse.ALWAYS, (".corp.example",)),
        ("inner.corp.example", ProxyUse.ALWAYS, ("*",)),
        ("127.0.0.1", ProxyUse.ALWAYS, ("127.0.0.0/8",)),
    ],
)
async def test_what_is_near_or_excepted_is_reached_directly(host: str, use: ProxyUse, bypass: Sequence[str]) -> None:
    async with fake_proxy() as proxy, faulty_server() as server:
        assert await get(make_client(proxy, bypass=bypass), f"http://{host}:{server.port}/status/204", use) == 204
        assert proxy.asked == []


async def test_a_private_address_behind_the_proxy_has_to_be_asked_for() -> None:
    async with fake_proxy() as proxy, faulty_server() as server:
        proxy.routes["inner.corp.example:80"] = server.port
        assert await get(make_client(proxy), "http://inner.corp.example/status/204", ProxyUse.ALWAYS) == 204


@pytest.mark.parametrize(
    ("entry", "host", "port", "excepted"),
    [
        ("example.org", "example.org", 443, True),
        ("example.org", "a.example.org", 443, True),
        (".example.org", "A.Example.Org.", 443, True),
        ("*.example.org", "a.example.org", 443, True),
        ("example.org", "badexample.org", 443, False),
        ("example.org:8443", "example.org", 443, False),
        ("example.org:443", "example.org", 443, True),
        ("192.0.2.0/24", "192.0.2.7", 443, True),
        ("192.0.2.7", "192.0.2.7", 443, True),
        ("2001:db8::/32", "[2001:db8::1]", 443, True),
        ("2001:db8::1", "[2001:db8::1]", 443, True),
        ("", "example.org", 443, False),
    ],
)
def test_exceptions(entry: str, host: str, port: int, excepted: bool) -> None:
    proxies = Proxies(https="http://proxy.example:3128", bypass=[entry])
    target = HttpTarget.at(f"https://{host}:{port}/")
    assert (proxies.candidate(target, ProxyUse.ALWAYS) is None) is excepted


@pytest.mark.parametrize(
    "host",
    ["metadata.example", "169.254.169.254", "127.1", "0x7f.0.0.1", "a.localhost", "x.metadata.google.internal"],
)
@pytest.mark.parametrize("use", [ProxyUse.OUTSIDE, ProxyUse.ALWAYS])
async def test_a_proxy_is_not_asked_for_what_is_refused_directly(host: str, use: ProxyUse) -> None:
    async with fake_proxy() as proxy:
        client = make_client(proxy)
        client.guard = AddressGuard(resolve=resolve)
        for url in (f"http://{host}/", f"https://{host}/"):
            with pytest.raises(Refused):
                await get(client, url, use)
        assert proxy.asked == []


async def test_the_proxys_credentials_go_to_the_proxy_only() -> None:
    async with fake_proxy() as proxy, faulty_server() as server:
        proxy.routes["public.example:80"] = server.port
        # "operator:s3cret", as RFC 7617 writes it.
        proxy.wanted = "Basic b3BlcmF0b3I6czNjcmV0"
        client = make_client(proxy, credentials="operator:s3cret\n")
        headers = [("Proxy-Authorization", "a tenant's")]
        assert await get(client, "http://public.example/status/204", headers=headers) == 204
        assert server.requests[0].header("proxy-authorization") is None
        assert proxy.logins == [proxy.wanted]
        for url in ("http://public.example/", "https://public.example/"):
            with pytest.raises(NetworkFailure, match="407: check its credentials") as caught:
                await get(make_client(proxy), url)
            assert caught.value.own


@pytest.mark.parametrize(
    ("answer", "own", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", True, "the proxy answered 403: its rules have to allow the host"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", False, "the proxy cannot reach it: it answered 502"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", True, "what answered as the proxy is none"),
        (b"HTTP/1.1 200 OK\r\n\r\nsurprise", True, "what answered as the proxy is none"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000, True, "what answered as the proxy is none"),
    ],
)
async def test_what_a_proxy_refuses_is_not_the_servers_failure(answer: bytes, own: bool, words: str) -> None:
    async with fake_proxy() as proxy:
        proxy.answer = answer
        with pytest.raises(NetworkFailure, match=words) as caught:
            await get(make_client(proxy), "https://public.example/")
        assert caught.value.own is own


async def check(proxy: FakeProxy, url: str, use: ProxyUse = ProxyUse.OUTSIDE) -> CheckResult:
    checker = NetworkChecker(client=make_client(proxy), loop_lag=lambda since: 0.0, credentials=no_secrets())
    return await checker.check(HttpProbe(HttpTarget.at(url), proxy=use), timeout=timedelta(seconds=1))


async def test_a_proxy_that_is_gone_makes_checks_inconclusive() -> None:
    gone = FakeProxy(port=9)
    result = await check(gone, "https://public.example/")
    assert (result.outcome, result.reason) == (Outcome.INCONCLUSIVE, "ProxyFailed")
    assert "the proxy 127.0.0.1:9: the connection was refused" in result.message


async def test_a_proxy_that_says_nothing_costs_no_more_than_the_time_out() -> None:
    async with fake_proxy() as proxy:
        proxy.silent = True
        began = time.monotonic()
        result = await check(proxy, "https://public.example/")
        assert result.reason == "Timeout"
        assert time.monotonic() - began < 10


async def test_a_check_of_a_pod_or_a_service_uses_no_proxy() -> None:
    async with fake_proxy() as proxy, faulty_server() as server:
        probe = HttpProbe(HttpTarget("127.0.0.1", server.port, "/status/200"))
        checker = NetworkChecker(client=make_client(proxy), loop_lag=lambda since: 0.0, credentials=no_secrets())
        assert (await checker.check(probe, timeout=TIMEOUT)).outcome is Outcome.PASS
        assert proxy.asked == []


async def test_prometheus_outside_is_asked_through_the_proxy() -> None:
    async with fake_proxy() as proxy, faulty_server() as server:
        proxy.routes["prometheus.example:9090"] = server.port
        client = PrometheusClient(
            url="http://prometheus.example:9090", version="1", proxies=Proxies(http=proxy.url, https=proxy.url)
        )
        # The server of this test is no Prometheus, which shows that it was reached.
        with pytest.raises(Exception, match="is not Prometheus"):
            await client.query("up", namespace="shop", timeout=TIMEOUT)
        assert proxy.asked[0].startswith("GET http://prometheus.example:9090/api/v1/query?")


def hook(**more: Any) -> dict[str, Any]:
    return {"webhook": {"urlFrom": from_secret("url"), **more}}


async def test_alerts_go_through_the_proxy_unless_the_receiver_says_otherwise() -> None:
    async with fake_proxy() as proxy, faulty_server() as server:
        proxy.routes["public.example:80"] = server.port
        post = Post(proxies=Proxies(http=proxy.url), slack="http://public.example", pagerduty="http://public.example/")
        post.names["public.example"] = ["192.0.2.10"]
        post.put(url="http://public.example/hook")
        server.answers["/chat.postMessage"] = b'{"ok": true, "channel": "C1", "ts": "1"}'
        for spec in (
            hook(),
            {"pagerduty": {"routingKeyFrom": from_secret("token")}},
            {"slack": {"tokenFrom": from_secret("token"), "channel": "C1"}},
            {"slack": {"urlFrom": from_secret("url")}},
            {"msteams": {"urlFrom": from_secret("url")}},
            {"alertmanager": {"urls": ["http://public.example"]}},
        ):
            await post.send(make_message(make_alert()), **{"timeout": "5s", **spec})
        assert [asked.rpartition("/")[2] for asked in proxy.asked] == [
            *("hook", "", "chat.postMessage", "hook", "hook", "alerts"),
        ]
        post.names["public.example"] = ["127.0.0.1"]
        post.put(url=f"http://public.example:{server.port}/hook")
        await post.send(make_message(make_alert()), **hook(proxy="Never"))
        assert len(proxy.asked) == 6
        assert len(server.requests) == 7
