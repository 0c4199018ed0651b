"""Bounds by severity: in each spelling, for each figure, and what a warning never does."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.api.bounds import DurationBounds
from resilience.api.checks import PrometheusCheck
from resilience.core.health import bounds
from resilience.core.health.dependencies import probe
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.bounds import NO_LEVELS, Bounds, Levels
from resilience.core.model.probes import PostgresProbe, RedisStreamProbe
from tests.support.factories import make_spec

PASS, WARN, FAIL, UNKNOWN = Outcome.PASS, Outcome.WARN, Outcome.FAIL, Outcome.INCONCLUSIVE
BOTH = Levels(critical=Bounds(above=0.05, below=0.0), warning=Bounds(above=0.01))
LATENCY = Levels.most(warning=1.0, critical=2.0)
CACHE = {"name": "cache", "scope": "Dependency", "redis": {"address": "r:6379"}}


def query(**fields: Any) -> Levels:
    return bounds.of_number(PrometheusCheck.model_validate({"query": "up", **fields}))


def stream(**fields: Any) -> tuple[Levels, Levels, Levels]:
    check = {"name": "jobs", "scope": "Dependency", "redisStream": {"redis": "cache", "stream": "jobs", **fields}}
    spec = make_spec(health={"checks": [CACHE, check]})
    found = probe(spec.health.checks[1], spec, namespace="shop")
    assert isinstance(found, RedisStreamProbe)
    return found.length, found.lag, found.pending


@pytest.mark.parametrize(
    ("fields", "levels"),
    [
        ({"above": "0.05"}, Levels(Bounds(above=0.05))),
        ({"critical": {"above": "0.05"}}, Levels(Bounds(above=0.05))),
        ({"above": "0.05", "below": "0", "warning": {"above": "0.01"}}, BOTH),
        ({"critical": {"above": "0.05", "below": "0"}, "warning": {"above": "0.01"}}, BOTH),
        ({"warning": {"below": "0.5"}}, Levels(warning=Bounds(below=0.5))),
    ],
)
def test_short_and_long_spellings_mean_the_same(fields: dict[str, Any], levels: Levels) -> None:
    assert query(**fields) == levels


@pytest.mark.parametrize(
    ("value", "outcome"), [(0.0, PASS), (0.01, PASS), (0.02, WARN), (0.05, WARN), (0.06, FAIL), (-0.1, FAIL)]
)
def test_what_is_out_of_both_is_critical_and_a_bound_itself_is_within(value: float, outcome: Outcome) -> None:
    assert bounds.judge(BOTH, value)[0] is outcome


@given(value=st.floats(allow_nan=False), warning=st.floats(-1e9, 1e9), critical=st.floats(-1e9, 1e9))
def test_a_figure_without_a_critical_bound_never_fails(value: float, warning: float, critical: float) -> None:
    mild = Levels(warning=Bounds(above=warning, below=critical))

    assert bounds.judge(mild, value)[0] is not FAIL
    assert bounds.judge(NO_LEVELS, value) == (PASS, Bounds())


@pytest.mark.parametrize(
    ("fields", "length", "lag", "pending"),
    [
        ({}, Levels.most(warning=10_000), Levels.most(critical=300), Levels.most(warning=1000)),
        # As stored before: the API server has written the defaults of then into each object.
        (
            {"maxLength": 10_000, "maxLag": "5m", "maxPending": 1000},
            Levels.most(warning=10_000),
            Levels.most(critical=300),
            Levels.most(warning=1000),
        ),
        (
            {"maxLength": 7, "maxLag": "1m", "maxPending": 3},
            Levels.most(warning=7),
            Levels.most(critical=60),
            Levels.most(warning=3),
        ),
        # What such an object says beside the new spelling is the older word.
        (
            {"maxLength": 10_000, "maxLag": "5m", "length": {"warning": 20_000}, "lag": {"critical": "10m"}},
            Levels.most(warning=20_000),
            Levels.most(critical=600),
            Levels.most(warning=1000),
        ),
        (
            {"length": {"critical": 50_000}, "lag": {"warning": "1m"}, "pending": {"warning": 5, "critical": 50}},
            Levels.most(warning=10_000, critical=50_000),
            Levels.most(warning=60, critical=300),
            Levels.most(warning=5, critical=50),
        ),
        # A default that would come after the other severity makes no sense.
        (
            {"length": {"critical": 500}, "lag": {"warning": "10m"}},
            Levels.most(critical=500),
            Levels.most(warning=600),
            Levels.most(warning=1000),
        ),
    ],
)
def test_bounds_of_a_stream(fields: dict[str, Any], length: Levels, lag: Levels, pending: Levels) -> None:
    assert stream(**fields) == (length, lag, pending)


def test_the_value_of_a_query_has_bounds_if_it_is_to_count() -> None:
    dsn = {"secretKeyRef": {"name": "db", "key": "dsn"}}

    def found(**fields: Any) -> PostgresProbe:
        check = {"name": "db", "scope": "Dependency", "postgres": {"dsnFrom": dsn, **fields}}
        spec = make_spec(health={"checks": [check]})
        made = probe(spec.health.checks[0], spec, namespace="shop")
        assert isinstance(made, PostgresProbe)
        return made

    assert found().levels is None
    assert found(value={"warning": {"above": "3"}}).levels == Levels(warning=Bounds(above=3.0))


@pytest.mark.parametrize(
    ("outcome", "seconds", "expected", "reason"),
    [
        (PASS, 1.0, PASS, "Reason"),
        (PASS, 1.5, WARN, "Slow"),
        (PASS, 2.5, FAIL, "Slow"),
        (WARN, 1.5, WARN, "Reason"),
        (WARN, 2.5, FAIL, "Slow"),
        # What fails or could not be asked is no slower for it.
        (FAIL, 2.5, FAIL, "Reason"),
        (UNKNOWN, 2.5, UNKNOWN, "Reason"),
        (PASS, None, PASS, "Reason"),
    ],
)
def test_an_answer_that_takes_too_long(outcome: Outcome, seconds: float | None, expected: Outcome, reason: str) -> None:
    found = bounds.in_time(CheckResult(outcome, "Reason", "it answered", seconds), LATENCY)

    assert (found.outcome, found.reason) == (expected, reason)


def test_the_message_says_how_slow_with_figures_that_stay() -> None:
    limits = bounds.of_latency(DurationBounds(warning=timedelta(milliseconds=500)))

    words = {
        bounds.in_time(CheckResult(PASS, "HTTP200", "GET / answered 200", seconds), limits).message
        for seconds in (0.6501, 0.6512, 0.6538)
    }

    assert words == {"GET / answered 200; took about 650ms, more than 500ms"}
