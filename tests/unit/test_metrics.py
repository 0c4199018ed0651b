"""Metrics: names by convention, bounded labels, and nothing left of a resource that is gone."""

import re
from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from resilience.adapters.telemetry.metrics import PrometheusMetrics
from resilience.api.reasons import HealthState, Phase
from resilience.core.model.observation import Key
from resilience.core.report.metrics import ServiceFigures

CHECKOUT = Key("shop", "checkout")
PICTURE = ServiceFigures(
    health=HealthState.HEALTHY, phase=Phase.RUNNING, available=True, wanted=3, pods=3, flags={"lost": False},
    objective=0.999, window=2_592_000.0, availability=1.0, budget=1.0, recovery=None, recovery_objective=300.0,
)  # fmt: skip
CART = Key("shop", "cart")


def fill(metrics: PrometheusMetrics, key: Key) -> None:
    for check in ("ready", "live"):
        for outcome in ("Pass", "Fail", "Inconclusive"):
            metrics.checked(key=key, check=check, outcome=outcome, seconds=0.02 if outcome == "Pass" else None, at=1.0)
    metrics.observed(key=key, picture=PICTURE)
    metrics.restarted(key=key, result="Succeeded", seconds=12)
    metrics.released(key=key, result="Succeeded", seconds=40)


def text(metrics: PrometheusMetrics, accept: str = "") -> str:
    return metrics.exposition(accept)[0].decode()


def test_forget_leaves_no_series() -> None:
    metrics = PrometheusMetrics(version="1")
    fill(metrics, CART)
    before = text(metrics).count("\n")
    for number in range(50):
        key = Key("shop", f"churn-{number}")
        fill(metrics, key)
        metrics.forget(key)
    metrics.forget(Key("shop", "never-seen"))
    after = text(metrics)
    assert "churn" not in after
    assert after.count("\n") == before
    metrics.forget(CART)
    assert "cart" not in text(metrics)


def test_a_forgotten_resource_can_come_back() -> None:
    metrics = PrometheusMetrics(version="1")
    for _ in range(2):
        fill(metrics, CHECKOUT)
        fill(metrics, CHECKOUT)
        labels = {"namespace": "shop", "name": "checkout", "check": "ready", "outcome": "Pass"}
        assert metrics.registry.get_sample_value("resilience_service_check_results_total", labels) == 2
        metrics.forget(CHECKOUT)


def test_values() -> None:
    metrics = PrometheusMetrics(version="1.2.3", installation="ops/resilience")
    value = metrics.registry.get_sample_value
    metrics.reconciled(seconds=0.01, result="done")
    metrics.refused(reason="BelowFloor")
    metrics.queue(depth=7)
    metrics.leader(True)
    metrics.api_request("get", "200", 0.1)
    assert value("resilience_operator_reconciles_total", {"result": "done"}) == 1
    assert value("resilience_operator_reconcile_duration_seconds_count") == 1
    assert value("resilience_operator_guard_refusals_total", {"reason": "BelowFloor"}) == 1
    assert value("resilience_operator_queue_depth") == 7
    assert value("resilience_operator_leader") == 1
    metrics.leader(False)
    assert value("resilience_operator_leader") == 0
    assert value("resilience_operator_api_requests_total", {"verb": "get", "code": "200"}) == 1
    assert value("resilience_operator_api_request_duration_seconds_count", {"verb": "get"}) == 1
    assert value("resilience_operator_build_info", {"version": "1.2.3", "installation": "ops/resilience"}) == 1


def test_health_is_one_state_at_a_time() -> None:
    metrics = PrometheusMetrics(version="1")
    for state in HealthState:
        metrics.observed(key=CHECKOUT, picture=replace(PICTURE, health=state))
        values = {
            each: metrics.registry.get_sample_value(
                "resilience_service_health_state", {"namespace": "shop", "name": "checkout", "state": each}
            )
            for each in HealthState
        }
        assert values == {each: float(each is state) for each in HealthState}


def test_names_and_labels() -> None:
    metrics = PrometheusMetrics(version="1")
    fill(metrics, CHECKOUT)
    metrics.reconciled(seconds=1, result="done")
    allowed = {"namespace", "name", "check", "outcome", "result", "state", "reason", "verb", "code", "version", "le"}
    allowed |= {"severity", "phase", "flag", "to", "channel", "resource", "installation"}
    for family in text_string_to_metric_families(text(metrics)):
        assert family.documentation.endswith(".") or family.name.startswith("process_")
        assert re.match(r"(resilience_(operator|service|receiver)|process)_[a-z_]+$", family.name)
        for sample in family.samples:
            assert sample.labels.keys() <= allowed
            assert not sample.name.endswith("_created")


def test_series_per_resource_are_few() -> None:
    metrics = PrometheusMetrics(version="1")
    before = text(metrics).count("\n")
    metrics.observed(key=CHECKOUT, picture=PICTURE)
    assert text(metrics).count("\n") - before <= 45
    before = text(metrics).count("\n")
    metrics.checked(key=CHECKOUT, check="ready", outcome="Pass", seconds=0.1, at=1.0)
    assert text(metrics).count("\n") - before <= 13


def test_counters_begin_before_they_count() -> None:
    metrics = PrometheusMetrics(version="1")
    metrics.observed(key=CHECKOUT, picture=PICTURE)
    labels = {"namespace": "shop", "name": "checkout"}
    value = metrics.registry.get_sample_value
    assert value("resilience_service_restarts_total", {**labels, "result": "Failed"}) == 0
    assert value("resilience_service_rollouts_total", {**labels, "result": "RolledBack"}) == 0
    assert value("resilience_service_degradation_transitions_total", {**labels, "flag": "lost", "to": "on"}) == 0


def test_what_is_not_known_has_no_series() -> None:
    metrics = PrometheusMetrics(version="1")
    labels = {"namespace": "shop", "name": "checkout"}
    value = metrics.registry.get_sample_value
    metrics.observed(key=CHECKOUT, picture=replace(PICTURE, available=None, budget=None))
    assert value("resilience_service_available", labels) is None
    assert value("resilience_service_slo_error_budget_remaining_ratio", labels) is None
    metrics.observed(key=CHECKOUT, picture=PICTURE)
    assert value("resilience_service_available", labels) == 1
    metrics.observed(key=CHECKOUT, picture=replace(PICTURE, available=None))
    assert value("resilience_service_available", labels) == 1, "nobody can say: what was known stands"


def test_a_service_and_a_receiver_of_one_name_are_two() -> None:
    metrics = PrometheusMetrics(version="1")
    fill(metrics, CHECKOUT)
    metrics.delivered(receiver=CHECKOUT, result="failed", seconds=1)
    metrics.notified(receiver=CHECKOUT, seconds=5)
    metrics.forget(CHECKOUT)
    assert "resilience_receiver_deliveries_total{name=" in text(metrics)
    metrics.forget_receiver(CHECKOUT)
    assert "checkout" not in text(metrics)


def test_every_series_is_declared() -> None:
    metrics = PrometheusMetrics(version="1")
    fill(metrics, CHECKOUT)
    declared = {each.name.removesuffix("_total") for each in metrics.declared}
    for family in text_string_to_metric_families(text(metrics)):
        assert family.name in declared or family.name.startswith("process_")


def test_content_types() -> None:
    metrics = PrometheusMetrics(version="1")
    assert metrics.exposition("")[1].startswith("text/plain; version=0.0.4")
    body, content_type = metrics.exposition("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
