"""Prometheus, and what looks like it: Thanos, Mimir, Cortex, VictoriaMetrics. Each warns in its own way.

An answer that is not all of it is inconclusive. Advice about the query says nothing about the answer.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from resilience.adapters.checks.prometheus.client import PrometheusClient
from resilience.adapters.checks.prometheus.prometheus_check import check_prometheus
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.bounds import Bounds, Levels
from resilience.core.model.probes import PrometheusProbe

WELL: Final = {"resultType": "vector", "result": [{"metric": {}, "value": [1772366400.0, "1"]}]}
# As Prometheus 2.48 to 3 words them; the position in the query comes last.
INFO: Final = 'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "errors"'
BUCKETS: Final = (
    'PromQL warning: bucket label "le" is missing or has a malformed value of "" for metric name "x_bucket" (1:19)'
)
MIXED: Final = 'PromQL warning: encountered a mix of histograms and floats for metric name "x" (1:5)'
FROM_STORE: Final = f"10.0.0.9:10901: {MIXED}"
# As Thanos and Mimir say that a store did not answer.
STORE: Final = "No StoreAPIs matched for this query"
BLOCK: Final = "fetch series for {} Addr: 10.0.0.9:10901: receive series: rpc error: code = Unavailable"


Answer = Callable[[web.Request], web.Response]


async def asked(path: str = "", *, headers_file: str = "", answer: Answer | None = None, **more: Any) -> CheckResult:
    """The check's result where the server answers so, or else with one good value and `more` besides."""
    body: Mapping[str, Any] = {"status": "success", "data": WELL} | more

    async def serve(request: web.Request) -> web.Response:
        return answer(request) if answer is not None else web.json_response(body)

    app = web.Application()
    app.router.add_get(f"{path}/api/v1/query", serve)
    async with TestServer(app, host="127.0.0.1") as server:
        url = f"http://127.0.0.1:{server.port}{path}"
        client = PrometheusClient(url=url, version="1.2.3", headers_file=headers_file)
        probe = PrometheusProbe("sum(errors_total)", "shop", Levels(Bounds(above=5.0)))
        return await check_prometheus(probe, client=client, timeout=timedelta(seconds=5))


@pytest.mark.parametrize(
    "words",
    [INFO, BUCKETS, MIXED, FROM_STORE],
    ids=["info", "buckets", "mixed", "of a store"],
)
async def test_advice_about_the_query_is_no_doubt_about_the_answer(words: str) -> None:
    result = await asked(warnings=[words])

    assert (result.outcome, result.reason) == (Outcome.PASS, "WithinBounds")


@pytest.mark.parametrize("words", [STORE, BLOCK], ids=["stores", "series"])
async def test_an_answer_without_a_store_is_inconclusive(words: str) -> None:
    result = await asked(warnings=[words])

    assert (result.outcome, result.reason) == (Outcome.INCONCLUSIVE, "PartialData")


@pytest.mark.parametrize("words", [BUCKETS, INFO], ids=["buckets", "info"])
async def test_advice_does_not_hide_that_a_store_is_missing(words: str) -> None:
    assert (await asked(warnings=[words, STORE])).reason == "PartialData"


@pytest.mark.parametrize(("partial", "reason"), [(False, "WithinBounds"), (True, "PartialData")])
async def test_victoria_metrics_says_by_a_field_whether_it_is_all(partial: bool, reason: str) -> None:
    assert (await asked(isPartial=partial)).reason == reason


async def test_a_partial_answer_is_inconclusive_also_when_its_value_is_bad() -> None:
    bad = {"resultType": "vector", "result": [{"metric": {}, "value": [1772366400.0, "9"]}]}

    assert (await asked(data=bad)).outcome is Outcome.FAIL
    assert (await asked(data=bad, isPartial=True)).reason == "PartialData"
    assert (await asked(data=bad, warnings=[STORE])).reason == "PartialData"
    assert (await asked(data=bad, warnings=[BUCKETS], isPartial=False)).outcome is Outcome.FAIL


def as_mimir(request: web.Request) -> web.Response:
    """Mimir and Cortex with more than one tenant."""
    if request.headers.get("X-Scope-OrgID") != "team-a|team-b":
        return web.Response(status=401, text="no org id")
    return web.json_response({"status": "success", "data": WELL})


async def test_mimir_and_cortex_want_a_tenant(tmp_path: Path) -> None:
    headers = tmp_path / "headers"
    headers.write_text("X-Scope-OrgID: team-a|team-b\n")
    without, with_one = (
        await asked("/prometheus", answer=as_mimir),
        await asked("/prometheus", answer=as_mimir, headers_file=str(headers)),
    )

    assert (without.outcome, without.reason) == (Outcome.INCONCLUSIVE, "Unavailable")
    assert "prometheus.headers in the operator's values" in without.message
    assert (with_one.outcome, with_one.reason) == (Outcome.PASS, "WithinBounds")


@pytest.mark.parametrize(
    "more",
    [
        {"isPartial": False, "stats": {"seriesFetched": "1", "executionTimeMsec": 3}},
        {"warnings": [], "infos": [INFO]},
        {"trace": {}, "data": WELL | {"stats": {}, "explanation": None}},
    ],
    ids=["VictoriaMetrics", "Prometheus 3", "Thanos"],
)
async def test_what_stands_beside_the_answer_does_not_matter(more: dict[str, Any]) -> None:
    assert (await asked("/select/0/prometheus", **more)).reason == "WithinBounds"


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (422, {"status": "error", "errorType": "execution", "error": "no StoreAPIs matched"}, "QueryRefused"),
        (422, {"status": "error", "errorType": "422", "error": "missing args for sum()"}, "QueryRefused"),
        (503, {"status": "error", "errorType": "timeout", "error": "query timed out"}, "Unavailable"),
        (429, {"status": "error", "errorType": "too_many_requests", "error": "limit"}, "Unavailable"),
        (500, {"status": "error", "errorType": "internal", "error": "too many unhealthy instances"}, "Unavailable"),
    ],
)
async def test_what_a_cluster_of_stores_refuses_is_inconclusive(status: int, body: dict[str, str], reason: str) -> None:
    result = await asked(answer=lambda request: web.json_response(body, status=status))

    assert (result.outcome, result.reason) == (Outcome.INCONCLUSIVE, reason)
