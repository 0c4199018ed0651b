"""The drain signal, the count of connections and verification requests, against a server that misbehaves."""

from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from resilience.adapters import drain
from resilience.adapters.drain import HttpDrainer, HttpProber
from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.http import HttpClient
from resilience.core.model.destinations import ConnectionsTarget
from resilience.core.model.probes import HttpTarget
from resilience.ports import Refused, Unavailable
from tests.support.faulty import Faulty, faulty_server

CLIENT = HttpClient(guard=AddressGuard(allowed=[ip_network("127.0.0.0/8")]), version="1")


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Faulty]:
    monkeypatch.setattr(drain, "_DRAIN_TIMEOUT", drain._DRAIN_TIMEOUT / 10)
    monkeypatch.setattr(drain, "_REQUEST_TIMEOUT", drain._REQUEST_TIMEOUT / 25)
    async with faulty_server() as running:
        yield running


def target(server: Faulty, path: str) -> HttpTarget:
    return HttpTarget(host="127.0.0.1", port=server.port, path=path)


async def test_signal_is_one_post_with_headers(server: Faulty) -> None:
    await HttpDrainer(client=CLIENT).signal(target(server, "/drain"), headers=[("Authorization", "Bearer abc")])
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/drain")
    assert request.header("authorization") == "Bearer abc"
    assert request.header("content-length") == "0"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/status/401", Refused),
        ("/status/404", Refused),
        ("/redirect", Refused),
        ("/status/429", Unavailable),
        ("/status/500", Unavailable),
        ("/hang", Unavailable),
        ("/reset", Unavailable),
        ("/close", Unavailable),
    ],
)
async def test_signal_errors(server: Faulty, path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await HttpDrainer(client=CLIENT).signal(target(server, path), headers=[])
    assert len(server.requests) == 1


async def test_signal_with_a_broken_header_does_not_show_it(server: Faulty) -> None:
    with pytest.raises(Refused) as refused:
        await HttpDrainer(client=CLIENT).signal(target(server, "/drain"), headers=[("X-Key", "s3cr3t\r\nX: y")])
    assert "s3cr3t" not in str(refused.value)
    assert server.requests == []


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        (b'{"active": 3}', "active", 3),
        (b'{"active": 0}', "active", 0),
        (b'{"pool": {"client": {"open": 12}}}', "pool.client.open", 12),
        (b'{"active": -1}', "active", None),
        (b'{"active": true}', "active", None),
        (b'{"active": 1.0}', "active", None),
        (b'{"active": "3"}', "active", None),
        (b'{"active": null}', "active", None),
        (b'{"other": 3}', "active", None),
        (b'{"active": 3}', "active.deeper", None),
        (b"[3]", "active", None),
        (b"3", "active", None),
        (b"", "active", None),
        (b"\xff\xfe", "active", None),
        (b"<html>", "active", None),
        (b"[" * 60000, "active", None),
        (b'{"active": ' + b"9" * 5000 + b"}", "active", None),
        (b'{"active": 3}' + b" " * 65536, "active", None),
    ],
)
async def test_connections(server: Faulty, body: bytes, field: str, expected: int | None) -> None:
    server.answers["/connections"] = body
    asked = ConnectionsTarget(target(server, "/connections"), field)
    assert await HttpDrainer(client=CLIENT).connections(asked) == expected


@pytest.mark.parametrize("path", ["/status/500", "/redirect", "/hang", "/reset", "/close", "/big", "/cut"])
async def test_connections_unknown(server: Faulty, path: str) -> None:
    asked = ConnectionsTarget(target(server, path), "active")
    assert await HttpDrainer(client=CLIENT).connections(asked) is None
    assert len(server.requests) == 1


async def test_connections_of_a_refused_address() -> None:
    strict = HttpDrainer(client=HttpClient(guard=AddressGuard(), version="1"))
    asked = ConnectionsTarget(HttpTarget(host="169.254.169.254", port=80, path="/"), "active")
    assert await strict.connections(asked) is None


async def test_prober_uses_a_new_connection_each_time(server: Faulty) -> None:
    prober = HttpProber(client=CLIENT)
    seconds = [await prober.request(target(server, "/status/200")) for _ in range(5)]
    assert all(0 < each < 1 for each in seconds)
    assert server.connections == len(server.requests) == 5
    assert await prober.request(target(server, "/redirect")) > 0


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/status/404", "answered 404"),
        ("/status/502", "answered 502"),
        ("/hang", "no answer within 200ms"),
        ("/reset", "the connection was reset"),
        ("/close", "the connection was closed without an answer"),
        ("/cut", "the answer broke off"),
    ],
)
async def test_prober_counts_every_failure_once(server: Faulty, path: str, words: str) -> None:
    with pytest.raises(Unavailable) as failed:
        await HttpProber(client=CLIENT).request(target(server, path))
    assert str(failed.value) == words
    assert len(server.requests) == 1


async def test_prober_fails_on_a_refused_address() -> None:
    strict = HttpProber(client=HttpClient(guard=AddressGuard(), version="1"))
    with pytest.raises(Unavailable):
        await strict.request(HttpTarget(host="127.0.0.1", port=80, path="/"))
