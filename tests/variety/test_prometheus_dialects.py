"""Prometheus, and what looks like it: Thanos, Mimir, Cortex, VictoriaMetrics. Each warns in its own way.

An answer that is not all of it is inconclusive. Advice about the query says nothing about the answer.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from resilience.adapters.checks.prometheus.client import PrometheusClient
from resilience.adapters.checks.prometheus.prometheus_check import check_prometheus
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.bounds import Bounds, Levels
from resilience.core.model.probes import PrometheusProbe

ADVICE = pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="only `PromQL info:` is taken for advice; `PromQL warning:` is as well"
)
PARTIAL = pytest.mark.xfail(strict=True, raises=AssertionError, reason="VictoriaMetrics' isPartial is not read")
WELL: Final = {"resultType": "vector", "result": [{"metric": {}, "value": [1772366400.0, "1"]}]}
# As Prometheus 2.48 to 3 words them; the position in the query comes last.
INFO: Final = 'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "errors"'
BUCKETS: Final = (
    'PromQL warning: bucket label "le" is missing or has a malformed value of "" for metric name "x_bucket" (1:19)'
)
MIXED: Final = 'PromQL warning: encountered a mix of histograms and floats for metric name "x" (1:5)'
# As Thanos and Mimir say that a store did not answer.
STORE: Final = "No StoreAPIs matched for this query"
BLOCK: Final = "fetch series for {} Addr: 10.0.0.9:10901: receive series: rpc error: code = Unavailable"


async def asked(**more: Any) -> CheckResult:
    """The check's result where the server answers with one good value, and this besides."""
    body: Mapping[str, Any] = {"status": "success", "data": WELL} | more

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(body)

    app = web.Application()
    app.router.add_get("/api/v1/query", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        client = PrometheusClient(url=f"http://127.0.0.1:{server.port}", version="1.2.3")
        probe = PrometheusProbe("sum(errors_total)", "shop", Levels(Bounds(above=5.0)))
        return await check_prometheus(probe, client=client, timeout=timedelta(seconds=5))


@pytest.mark.parametrize(
    "words",
    [INFO, pytest.param(BUCKETS, marks=ADVICE), pytest.param(MIXED, marks=ADVICE)],
    ids=["info", "buckets", "mixed"],
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


@pytest.mark.parametrize(
    ("partial", "reason"), [(False, "WithinBounds"), pytest.param(True, "PartialData", marks=PARTIAL)]
)
async def test_victoria_metrics_says_by_a_field_whether_it_is_all(partial: bool, reason: str) -> None:
    assert (await asked(isPartial=partial)).reason == reason
