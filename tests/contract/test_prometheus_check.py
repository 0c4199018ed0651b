"""The prometheus check against a real Prometheus that knows two namespaces, and against servers that misbehave."""

import asyncio
import io
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from resilience.adapters.checks.checker import NetworkChecker
from resilience.adapters.checks.prometheus.client import ANSWER_LIMIT, PrometheusClient
from resilience.adapters.checks.prometheus.promql import force_namespace
from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.http import HttpClient
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.bounds import NO_LEVELS, Bounds, Levels
from resilience.core.model.probes import PrometheusProbe
from resilience.ports import Invalid
from tests.support import prometheus
from tests.support.ports import server_port
from tests.support.secrets import no_secrets

METRICS = """
errors_ratio{namespace="shop"} 0.03
errors_ratio{namespace="other"} 0.9
requests{namespace="shop",pod="a"} 5
requests{namespace="shop",pod="b"} 7
requests{namespace="other",pod="a"} 100
secret{namespace="other"} 66
secret{namespace=""} 66
no_traffic{namespace="shop"} NaN
some_traffic{namespace="shop",pod="a"} NaN
some_traffic{namespace="shop",pod="b"} 1
""" + "".join(f'many{{namespace="shop",number="{number}"}} 1\n' for number in range(101))
FAIL, PASS, WARN, UNKNOWN = Outcome.FAIL, Outcome.PASS, Outcome.WARN, Outcome.INCONCLUSIVE
TIMEOUT = timedelta(seconds=2)
ABOVE = {"above": 0.05}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if which(prometheus.PROGRAM) is None:
        pytest.skip("needs prometheus")
    with prometheus.running(tmp_path_factory.mktemp("prometheus"), metrics=METRICS) as url:
        yield url


async def run(
    client: PrometheusClient | str | None,
    query: str = "errors_ratio",
    *,
    timeout: timedelta = TIMEOUT,
    bounds: Mapping[str, float] = ABOVE,
    warning: Bounds = NO_LEVELS.warning,
) -> CheckResult:
    if isinstance(client, str):
        client = PrometheusClient(url=client, version="1.2.3")
    checker = NetworkChecker(
        client=HttpClient(guard=AddressGuard(), version="1.2.3"),
        loop_lag=lambda since: 0.0,
        credentials=no_secrets(),
        prometheus=client,
    )
    probe = PrometheusProbe(query, "shop", Levels(Bounds(**bounds), warning))
    return await checker.check(probe, timeout=timeout)


@pytest.mark.parametrize(
    ("query", "bounds", "outcome", "reason"),
    [
        ("errors_ratio", {"above": 0.05}, PASS, "WithinBounds"),
        ("errors_ratio", {"above": 0.03}, PASS, "WithinBounds"),
        ("errors_ratio", {"above": 0.01}, FAIL, "OutOfBounds"),
        ("errors_ratio", {"below": 0.5}, FAIL, "OutOfBounds"),
        ("errors_ratio", {"below": 0.01, "above": 0.05}, PASS, "WithinBounds"),
        # Of another namespace nothing counts.
        ("sum(requests)", {"below": 12, "above": 12}, PASS, "WithinBounds"),
        ("scalar(sum(requests))", {"above": 11}, FAIL, "OutOfBounds"),
        ("secret", {"above": 0}, UNKNOWN, "NoData"),
        ('{__name__=~"sec.*"}', {"above": 0}, UNKNOWN, "NoData"),
        ("count(secret) or vector(0)", {"above": 0}, PASS, "WithinBounds"),
        ("max_over_time(secret[1m:1s])", {"above": 0}, UNKNOWN, "NoData"),
        ("errors_ratio / 0", {"above": 1}, FAIL, "OutOfBounds"),
        # Nothing to compare.
        ("errors_ratio > 1", {"above": 1}, UNKNOWN, "NoData"),
        ("errors_ratio offset 1h", {"below": 1}, UNKNOWN, "NoData"),
        ("no_traffic", {"above": 0}, UNKNOWN, "NoData"),
        ("some_traffic", {"above": 1}, UNKNOWN, "NoData"),
        ("some_traffic", {"above": 0.5}, FAIL, "OutOfBounds"),
        ("many", {"above": 0}, UNKNOWN, "TooManySeries"),
        ("requests[1m]", {"above": 0}, UNKNOWN, "QueryRefused"),
        # Refused here.
        ('errors_ratio{namespace="other"}', {"above": 0.05}, UNKNOWN, "QueryRefused"),
        ("errors_ratio +", {"above": 0.05}, UNKNOWN, "QueryRefused"),
        ("x[1e30]", {"above": 0.05}, UNKNOWN, "QueryRefused"),
        ("vector(0)", {"above": 0.05}, UNKNOWN, "QueryRefused"),
        # Refused by the server.
        ("requests * on() requests", {"above": 0}, UNKNOWN, "QueryRefused"),
        ("mad_over_time(requests[1m])", {"above": 0}, UNKNOWN, "QueryRefused"),
    ],
)
async def test_outcomes(server: str, query: str, bounds: dict[str, float], outcome: Outcome, reason: str) -> None:
    result = await run(server, query, bounds=bounds)
    assert (result.outcome, result.reason) == (outcome, reason), result


@pytest.mark.parametrize(
    ("query", "warning", "outcome", "reason"),
    [
        ("errors_ratio", Bounds(above=0.01), WARN, "OutOfBounds"),
        ("errors_ratio", Bounds(above=0.03), PASS, "WithinBounds"),
        ("errors_ratio * 2", Bounds(above=0.01), FAIL, "OutOfBounds"),
        ("requests / 1000", Bounds(below=0.006), WARN, "OutOfBounds"),
        # Of values that are not known nobody can say that they are only a warning; a query without data passes no gate.
        ("some_traffic / 100", Bounds(above=0.001), UNKNOWN, "NoData"),
        ("no_traffic", Bounds(above=0), UNKNOWN, "NoData"),
    ],
)
async def test_warnings(server: str, query: str, warning: Bounds, outcome: Outcome, reason: str) -> None:
    result = await run(server, query, warning=warning)
    assert (result.outcome, result.reason) == (outcome, reason), result


@pytest.mark.parametrize(
    ("query", "bounds", "words"),
    [
        ("errors_ratio", {"above": 0.05}, "every value is within bounds"),
        ("requests", {"above": 6}, "1 of 2 values are out of bounds: about 7, above 6"),
        ("requests", {"below": 6, "above": 10}, "1 of 2 values are out of bounds: about 5, below 6"),
        ("errors_ratio * 4.123", {"above": 0.1}, "about 0.12, above 0.1"),
        ("errors_ratio == 1", {"above": 0.1}, "the query returns no series"),
        ("some_traffic", {"above": 1}, "1 of 2 values are not a number"),
        ("requests[1m]", {"above": 1}, "the query returns a matrix; a check needs one value for each series"),
        ("many", {"above": 1}, "the query returns 101 series, more than 100; aggregate it, e.g. with sum() or max()"),
    ],
)
async def test_messages_are_for_people(server: str, query: str, bounds: dict[str, float], words: str) -> None:
    assert (await run(server, query, bounds=bounds)).message == f"Prometheus query: {words}"


async def test_the_servers_own_words_are_shown_in_part(server: str) -> None:
    refused = await run(server, 'label_replace(requests, "pod", "same", "", "")', bounds={"above": 0})
    assert "vector cannot contain metrics with the same labelset" in refused.message
    long = await run(server, "requests * on() requests", bounds={"above": 0})
    assert long.message.endswith("…") and len(long.message) < 230


# What the rewriting has to survive; the real parser is the judge.
WICKED = (
    '{__name__=~".+"}',
    '{__name__!=""}',
    'secret or {namespace="shop"}',
    '{namespace="shop",__name__=~"secret|errors_ratio"}',
    'secret{pod=~"a|\\",namespace=~\\".+"}',
    "secret{pod!='\"} or secret{a!=\"'}",
    "secret # }\n or errors_ratio",
    'label_replace(secret, "namespace", "shop", "", "") or errors_ratio',
    "max without (pod) (requests)",
    "sum by (namespace) (requests) or errors_ratio",
    "last_over_time(requests[5m:1s] @ end() offset 1s)",
    "last_over_time({__name__=~'.+'}[5m])",
    "requests and on (pod) requests",
    "topk(5, {pod=~'.*', __name__=~'.+'})",
    "{__name__=~'requests|secret'} offset -1s",
    "-requests ^ 2 unless secret",
    'errors_ratio{a!="\\u007d\\x00\\n",b!~`}`}',
)


@pytest.mark.parametrize("query", WICKED)
def test_the_real_parser_sees_one_namespace(server: str, query: str) -> None:
    found = prometheus.ask(server, force_namespace(query, namespace="shop"))
    assert {sample["metric"].get("namespace") for sample in found} <= {"shop"}
    assert not {sample["value"][1] for sample in found} & {"0.9", "66", "100", "-10000"}


def test_without_it_everything_is_seen(server: str) -> None:
    seen = {sample["metric"].get("namespace") for sample in prometheus.ask(server, '{__name__=~".+"}')}
    assert {"shop", "other", None} <= seen


async def test_without_a_server_it_says_so() -> None:
    missing = await run(None)
    assert (missing.outcome, missing.reason) == (UNKNOWN, "NotConfigured")
    assert "set prometheus.url in the operator's values" in missing.message
    down = await run(f"http://127.0.0.1:{server_port()}")
    assert (down.outcome, down.reason) == (UNKNOWN, "Unavailable")
    assert down.message == "Prometheus query: the connection was refused"
    unknown = await run("http://prometheus.invalid")
    assert (unknown.outcome, unknown.reason) == (UNKNOWN, "Unavailable")


class Strange:
    """A server that answers `/<case>/api/v1/query` in a way of its own, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.body: dict[str, Any] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        match request.match_info["case"]:
            case "hang":
                await asyncio.sleep(60)
            case "redirect":
                raise web.HTTPFound("/body/api/v1/query")
            case "huge":
                return web.Response(body=io.BytesIO(json.dumps(vector("1", x="x" * ANSWER_LIMIT)).encode()))
            case "garbage":
                return web.Response(text="<html>")
            case "deep":
                return web.Response(text="[" * 100_000)
            case "body":
                return web.json_response(self.body)
            case status:
                return web.json_response({"status": "error", "error": "because\n of this"}, status=int(status))
        return web.Response()


def vector(*values: str, **more: Any) -> dict[str, Any]:
    result = [{"metric": {}, "value": [1700000000.1, value]} for value in values]
    return {"status": "success", "data": {"resultType": "vector", "result": result}, **more}


@pytest.fixture
async def strange() -> AsyncIterator[tuple[Strange, str]]:
    serving, app = Strange(), web.Application()
    app.router.add_get("/{case}/api/v1/query", serving.answer)
    async with TestServer(app, shutdown_timeout=0) as running:
        yield serving, f"http://127.0.0.1:{running.port}"


@pytest.mark.parametrize(
    ("case", "reason", "words"),
    [
        ("hang", "Unavailable", "no answer within 200ms"),
        ("redirect", "Unavailable", "answered 302, a redirect, which is not followed"),
        ("huge", "TooManySeries", "the answer is longer than 1024 KiB; aggregate it"),
        ("garbage", "Unavailable", "the server that answered 200 is not Prometheus"),
        ("deep", "Unavailable", "the server that answered 200 is not Prometheus"),
        ("400", "QueryRefused", "Prometheus query: because of this"),
        ("422", "QueryRefused", "Prometheus query: because of this"),
        ("401", "Unavailable", "answered 401; check prometheus.token and prometheus.headers in the operator's values"),
        ("403", "Unavailable", "answered 403; check"),
        ("404", "Unavailable", "answered 404"),
        ("429", "Unavailable", "answered 429"),
        ("503", "Unavailable", "answered 503"),
    ],
)
async def test_what_is_no_answer_says_nothing(strange: tuple[Strange, str], case: str, reason: str, words: str) -> None:
    serving, url = strange
    serving.body = vector("1")
    short = timedelta(milliseconds=200) if case == "hang" else TIMEOUT
    result = await run(f"{url}/{case}/", bounds={"above": 0}, timeout=short)
    assert (result.outcome, result.reason) == (UNKNOWN, reason), result
    assert words in result.message
    # Neither followed nor tried again.
    assert len(serving.asked) == 1


@pytest.mark.parametrize(
    ("body", "outcome", "reason"),
    [
        (vector("1"), FAIL, "OutOfBounds"),
        (vector("-Inf"), PASS, "WithinBounds"),
        (vector("1", warnings=["PromQL info: metric might not be a counter"]), FAIL, "OutOfBounds"),
        (vector("1", infos=["PromQL info: metric might not be a counter"]), FAIL, "OutOfBounds"),
        (vector("1", warnings=["remote read: a store did not answer"]), UNKNOWN, "PartialData"),
        (vector("0", warnings=["remote read: a store did not answer"]), UNKNOWN, "PartialData"),
        (vector("1e"), UNKNOWN, "Unavailable"),
        ({"status": "success", "data": {"resultType": "scalar", "result": [1.5, "1"]}}, FAIL, "OutOfBounds"),
        ({"status": "success", "data": {"resultType": "string", "result": [1.5, "1"]}}, UNKNOWN, "QueryRefused"),
        (
            {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "histogram": [1.5, {}]}]}},
            UNKNOWN,
            "QueryRefused",
        ),
        ({"status": "error", "error": "x"}, UNKNOWN, "Unavailable"),
        ({"status": "success", "data": None}, UNKNOWN, "Unavailable"),
        ({}, UNKNOWN, "Unavailable"),
    ],
)
async def test_bodies(strange: tuple[Strange, str], body: dict[str, Any], outcome: Outcome, reason: str) -> None:
    serving, url = strange
    serving.body = body
    result = await run(f"{url}/body", bounds={"above": 0})
    assert (result.outcome, result.reason) == (outcome, reason), result


async def test_what_is_sent(strange: tuple[Strange, str], tmp_path: Path) -> None:
    serving, url = strange
    serving.body = vector("1")
    token = tmp_path / "token"
    client = PrometheusClient(url=f"{url}/body", version="1.2.3", token_file=str(token))
    unreadable = await run(client)
    assert (unreadable.outcome, unreadable.reason, serving.asked) == (UNKNOWN, "Unavailable", [])
    for content in ("first\n", "renewed\n"):
        token.write_text(content)
        assert (await run(client, "a + b")).outcome is FAIL
        (request,) = serving.asked
        assert request.headers["Authorization"] == f"Bearer {content.strip()}"
        assert request.headers["User-Agent"] == "resilience-operator/1.2.3"
        assert dict(request.query) == {
            "query": '{__name__="a",namespace="shop"} + {__name__="b",namespace="shop"}',
            "timeout": "2.000",
        }
        serving.asked.clear()
    token.write_text("two\nlines")
    assert "lines" not in (await run(client)).message
    assert serving.asked == []


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, and its key."""
    made, key = tmp_path / "ca.crt", tmp_path / "key.pem"
    options = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=nobody"
    more = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(made))
    subprocess.run(["openssl", "req", "-x509", *options.split(), *more], check=True, capture_output=True)
    return made, key


async def test_certificates_are_verified(certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    serving, app = Strange(), web.Application()
    serving.body = vector("0")
    app.router.add_get("/{case}/api/v1/query", serving.answer)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=context)
    try:
        url = f"https://127.0.0.1:{server.port}/body"
        refused = await run(url)
        assert (refused.outcome, refused.reason) == (UNKNOWN, "Unavailable")
        assert refused.message == "Prometheus query: the certificate is not trusted"
        trusting = PrometheusClient(url=url, version="1", ca_file=str(certificate[0]))
        assert (await run(trusting)).outcome is PASS
    finally:
        await server.close()


def test_authorities_that_cannot_be_read_end_the_start(tmp_path: Path) -> None:
    empty = tmp_path / "ca.crt"
    for path in (empty, tmp_path):
        with pytest.raises(Invalid, match="RESILIENCE_PROMETHEUS_CA_FILE"):
            PrometheusClient(url="https://x", version="1", ca_file=str(path))
    empty.write_text("no certificate")
    with pytest.raises(Invalid, match="RESILIENCE_PROMETHEUS_CA_FILE"):
        PrometheusClient(url="https://x", version="1", ca_file=str(empty))
