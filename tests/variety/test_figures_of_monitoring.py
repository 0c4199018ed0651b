"""Figures that people already watch, with the severities that they are used to, from the answer to who is woken."""

from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from resilience.adapters.checks.prometheus.client import PrometheusClient
from resilience.adapters.checks.prometheus.prometheus_check import check_prometheus
from resilience.api.reasons import HealthState
from resilience.api.status import Status
from resilience.core.health import targets, thresholds
from resilience.core.health.thresholds import CheckResult
from resilience.core.model.check_state import CheckState
from resilience.core.model.probes import CheckTarget, PrometheusProbe
from resilience.core.model.profiles import resolve
from resilience.core.reconcile import decide
from tests.support.factories import NOW, make_pod, make_resource, make_seen, make_spec

MINUTE = timedelta(minutes=1)
# As the services that are looked after had them: cache hits under 50 % warn, errors over 5 % are critical.
HITS = {"query": "hits", "warning": {"below": "0.5"}}
ERRORS = {"query": "errors", "warning": {"above": "0.01"}, "critical": {"above": "0.05"}}
EARLIER = {"query": "hits", "below": "0.5"}


async def answered(target: CheckTarget, value: float) -> CheckResult:
    """The result of the check where a Prometheus server answers with one value."""
    assert isinstance(target.probe, PrometheusProbe)
    vector = {"resultType": "vector", "result": [{"metric": {}, "value": [NOW.timestamp(), str(value)]}]}

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"status": "success", "data": vector})

    app = web.Application()
    app.router.add_get("/api/v1/query", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        client = PrometheusClient(url=f"http://127.0.0.1:{server.port}", version="1.2.3")
        return await check_prometheus(target.probe, client=client, timeout=timedelta(seconds=5))


async def reported(bounds: dict[str, Any], value: float) -> tuple[HealthState, set[str], int]:
    """The health of the service, the alerts as name and severity, and the number of outages after five such answers."""
    spec = make_spec(health={"checks": [{"name": "figure", "prometheus": bounds}]}, slo={"availability": "99.9%"})
    seen = make_seen(make_pod("a"))
    (target,) = targets.check_targets(spec, resolve(spec), seen)
    result = await answered(target, value)
    fold = thresholds.initial(now=NOW - MINUTE)
    for _ in range(5):
        fold = thresholds.fold(
            fold,
            result,
            failure_threshold=target.failure_threshold,
            success_threshold=target.success_threshold,
            now=NOW - MINUTE,
        )
    checks: dict[str, CheckState] = {"figure": thresholds.of_service("figure", fold)}
    # It has been well before.
    resource = make_resource(spec, status=Status(first_healthy_at=NOW - 9 * MINUTE))
    status = decide(resource, make_seen(make_pod("a"), checks=checks), NOW).status
    assert status is not None and status.slo is not None
    return (
        status.health.state,
        {f"{alert.name} {alert.severity}" for alert in status.alerts.firing},
        len(status.slo.outages),
    )


@pytest.mark.parametrize(
    ("bounds", "value", "state", "alerts", "outages"),
    [
        (HITS, 0.8, HealthState.HEALTHY, set(), 0),
        (HITS, 0.3, HealthState.WARNING, {"CheckWarning warning"}, 0),
        (ERRORS, 0.02, HealthState.WARNING, {"CheckWarning warning"}, 0),
        (ERRORS, 0.2, HealthState.UNHEALTHY, {"ServiceUnhealthy critical"}, 1),
        # The short spelling means what it meant.
        (EARLIER, 0.3, HealthState.UNHEALTHY, {"ServiceUnhealthy critical"}, 1),
    ],
)
async def test_a_warning_wakes_nobody_and_costs_no_budget(
    bounds: dict[str, Any], value: float, state: HealthState, alerts: set[str], outages: int
) -> None:
    assert await reported(bounds, value) == (state, alerts, outages)
