"""Objectives: what counts as an outage, what it costs, when the budget burns, and what a full status does."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.api.reasons import AlertName, HealthState, Phase, Severity
from resilience.api.slo import Slo
from resilience.api.status import CheckStatus, HealthStatus, Status
from resilience.api.status_slo import Outage, SloStatus
from resilience.core.alerting import rules
from resilience.core.model.check_state import CheckState
from resilience.core.model.profiles import resolve
from resilience.core.report import metrics, slo
from tests.support.factories import NOW, make_resource, make_spec, make_workload

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SPEC = make_spec(slo={"availability": "99.9%"}, health={"checks": [{"name": "ready", "http": {"path": "/readyz"}}]})
WANTED = Slo(availability="99.9%")


def status(state: HealthState = HealthState.HEALTHY, phase: Phase = Phase.RUNNING) -> Status:
    return Status(phase=phase, health=HealthStatus(state=state, checks=[CheckStatus(name="ready", state=state)]))


def follow(known: SloStatus | None, state: HealthState, now: datetime, **checks: CheckState) -> SloStatus:
    found = slo.follow(SPEC, known, status(state), make_workload(), checks, now)
    assert found is not None
    return found


def through(*changes: tuple[HealthState, timedelta]) -> tuple[SloStatus, datetime]:
    """What is known after a service was in these states for so long each."""
    known, now = None, NOW
    for state, lasts in changes:
        known = follow(known, state, now)
        now += lasts
        known = follow(known, state, now)
    assert known is not None
    return known, now


@pytest.mark.parametrize(
    ("said", "workload", "out"),
    [
        (status(), {}, False),
        (status(HealthState.WARNING), {}, False),
        (status(HealthState.UNHEALTHY), {}, True),
        (status(HealthState.UNKNOWN), {}, None),
        (status(phase=Phase.INITIALIZING), {"available": 0}, None),
        (status(phase=Phase.SUSPENDED), {}, None),
        (status(phase=Phase.FAILED), {"available": 0}, True),
        (status(phase=Phase.CRASHED), {"available": 0}, True),
        (Status(phase=Phase.RUNNING), {}, False),
        (Status(phase=Phase.DEPLOYING), {"available": 0}, None),
        (Status(phase=Phase.DEPLOYING), {"available": 1}, False),
        (Status(phase=Phase.RUNNING), {"replicas": 0, "available": 0}, False),
    ],
)
def test_what_is_an_outage(said: Status, workload: dict[str, Any], out: bool | None) -> None:
    assert slo.outage(said, make_workload(**workload)) is out


def test_without_an_objective_nothing_is_kept() -> None:
    assert slo.follow(make_spec(), SloStatus(since=NOW), status(), make_workload(), {}, NOW) is None


def test_it_counts_from_the_first_time_that_the_service_is_well() -> None:
    out = status(HealthState.UNHEALTHY)

    starting = slo.follow(SPEC, None, out, make_workload(), {}, NOW, starting=True)
    late = slo.follow(SPEC, None, out, make_workload(), {}, NOW)
    known = slo.follow(SPEC, SloStatus(since=NOW), out, make_workload(), {}, NOW, starting=True)

    assert starting is None
    assert late is not None and len(late.outages) == 1
    assert known is not None and len(known.outages) == 1
    assert metrics.of(SPEC, out, make_workload(), NOW).available is None
    assert metrics.of(SPEC, out.model_copy(update={"slo": late}), make_workload(), NOW).available is False


def test_an_outage_is_an_interval_and_costs_budget() -> None:
    # 99.9 % of 30 days leave 43.2 minutes.
    known, now = through(
        (HealthState.HEALTHY, 30 * DAY), (HealthState.UNHEALTHY, 21.6 * MINUTE), (HealthState.HEALTHY, HOUR)
    )
    (outage,) = known.outages
    assert outage.ended is not None
    assert outage.ended - outage.began == 21.6 * MINUTE
    assert known.last_recovery == 21.6 * MINUTE
    assert known.budget_left == "50%"
    assert known.summary == "99.95%, 50% of budget left"
    figures = slo.figures(WANTED, known, now)
    assert figures.availability == pytest.approx(0.9995)
    assert figures.budget == pytest.approx(0.5)


def test_what_nobody_knows_neither_begins_nor_ends_an_outage() -> None:
    known, _ = through((HealthState.UNHEALTHY, MINUTE), (HealthState.UNKNOWN, MINUTE), (HealthState.HEALTHY, MINUTE))
    assert [each.ended for each in known.outages] == [NOW + 2 * MINUTE]
    known, _ = through((HealthState.HEALTHY, MINUTE), (HealthState.UNKNOWN, HOUR))
    assert known.outages == []


def test_an_outage_begins_with_the_first_failure_and_remembers_the_lag() -> None:
    known = follow(None, HealthState.HEALTHY, NOW)
    failing = CheckState("ready", HealthState.UNHEALTHY, "Failed", "", NOW, None, failing_since=NOW + 5 * MINUTE)
    lag = CheckState("database", HealthState.HEALTHY, "Answered", "", NOW, None, figure=90.0, replication_lag=2.5)
    known = follow(known, HealthState.UNHEALTHY, NOW + 6 * MINUTE, ready=failing, database=lag)
    assert known.outages[0].began == NOW + 5 * MINUTE
    assert known.outages[0].replication_lag == timedelta(seconds=2.5)


def test_the_figures_of_other_checks_are_no_lag() -> None:
    known = follow(None, HealthState.HEALTHY, NOW)
    errors = CheckState("errors", HealthState.UNHEALTHY, "OutOfBounds", "", NOW, None, figure=3.0)
    rows = CheckState("rows", HealthState.HEALTHY, "Answered", "", NOW, None, figure=7.0)

    known = follow(known, HealthState.UNHEALTHY, NOW + MINUTE, errors=errors, rows=rows)

    assert len(known.outages) == 1 and known.outages[0].replication_lag is None


def test_a_young_service_is_judged_by_its_own_time_but_has_the_whole_budget() -> None:
    known, now = through((HealthState.HEALTHY, 9 * MINUTE), (HealthState.UNHEALTHY, MINUTE))
    found = slo.figures(WANTED, known, now)
    assert found.availability == pytest.approx(0.9)
    assert found.budget == pytest.approx(1 - 1 / 43.2)


def test_what_the_window_has_left_behind_is_forgotten() -> None:
    known, now = through((HealthState.UNHEALTHY, HOUR), (HealthState.HEALTHY, 29 * DAY))
    assert slo.figures(WANTED, known, now).budget < 0
    known = follow(known, HealthState.HEALTHY, now + 2 * DAY)
    assert known.outages == []
    assert known.budget_left == "100%"
    assert known.last_recovery == HOUR


@pytest.mark.parametrize(
    ("down", "severity"),
    [
        # Of an hour: 14.4 times 0.1 % are 52 s. Of six hours: 6 times 0.1 % are 130 s. Of a day: 259 s.
        (timedelta(seconds=40), None),
        (timedelta(seconds=60), Severity.CRITICAL),
    ],
)
def test_the_budget_burns_too_fast(down: timedelta, severity: Severity | None) -> None:
    known, now = through((HealthState.HEALTHY, 30 * DAY), (HealthState.UNHEALTHY, down))
    found = slo.burning(WANTED, known, now)
    assert (found.severity if found is not None else None) == severity


def test_a_burn_that_is_over_is_not_told() -> None:
    known, now = through((HealthState.HEALTHY, 30 * DAY), (HealthState.UNHEALTHY, timedelta(seconds=60)))
    assert slo.burning(WANTED, known, now) is not None
    assert slo.burning(WANTED, follow(known, HealthState.HEALTHY, now), now + 6 * MINUTE) is None


def test_small_outages_again_and_again_are_a_warning() -> None:
    known, now = None, NOW
    for _ in range(24):
        known = follow(known, HealthState.HEALTHY, now)
        known = follow(known, HealthState.UNHEALTHY, now + 50 * MINUTE)
        now += 50 * MINUTE + timedelta(seconds=15)
        known = follow(known, HealthState.HEALTHY, now)
    assert known is not None
    found = slo.burning(WANTED, known, now)
    assert found is not None
    assert found.severity is Severity.WARNING


@given(
    lengths=st.lists(st.tuples(st.integers(1, 20_000), st.integers(1, 900)), min_size=1, max_size=200),
)
def test_however_many_outages_status_stays_small_and_no_time_is_lost(lengths: list[tuple[int, int]]) -> None:
    known, now, down = None, NOW, timedelta()
    for well, ill in lengths:
        known = follow(known, HealthState.HEALTHY, now)
        now += timedelta(seconds=well)
        known = follow(known, HealthState.UNHEALTHY, now)
        now += timedelta(seconds=ill)
        known = follow(known, HealthState.HEALTHY, now)
        if now - NOW < 30 * DAY:
            down += timedelta(seconds=ill)
    assert known is not None
    assert len(known.outages) <= slo.MOST
    SloStatus.model_validate(known.to_api())
    if now - NOW < 30 * DAY:
        assert slo.downtime(known, now - 30 * DAY, now) == down
    assert -1_000 < slo.figures(WANTED, known, now).budget <= 1


def test_while_it_lasts_and_while_it_burns_there_is_an_appointment() -> None:
    out = SloStatus(since=NOW, outages=[Outage(began=NOW)])
    assert slo.next_change(out, burns=False) == timedelta(seconds=30)
    assert slo.next_change(SloStatus(since=NOW), burns=True) == MINUTE
    assert slo.next_change(SloStatus(since=NOW), burns=False) is None
    assert slo.next_change(None, burns=False) is None


def test_a_clock_that_was_set_back_makes_no_negative_outage() -> None:
    known = follow(None, HealthState.UNHEALTHY, NOW)
    known = follow(known, HealthState.HEALTHY, NOW - HOUR)
    assert known.outages[0].ended == known.outages[0].began


def test_what_clients_saw_counts_where_it_is_known() -> None:
    spec = make_spec(slo={"availability": "99.9%", "query": "x"}, health=SPEC.health.to_api())
    seen = CheckState(slo.QUERY, HealthState.HEALTHY, "WithinBounds", "", NOW, None, figure=0.9992)
    known = slo.follow(spec, None, status(), make_workload(), {slo.QUERY: seen}, NOW)
    assert known is not None
    assert (known.measured, known.availability, known.budget_left) == ("99.9200%", "99.9200%", "20%")
    # A new leader has not asked yet, and a server that is away says nothing.
    known = slo.follow(spec, known, status(), make_workload(), {}, NOW)
    assert known is not None
    assert known.measured == "99.9200%"
    assert spec.slo is not None
    (target,) = slo.query_targets(spec, resolve(spec), namespace="shop")
    assert target.interval >= MINUTE


def test_an_outage_that_lasts_and_a_budget_that_burns_are_alerts() -> None:
    spec = make_spec(slo={"availability": "99.9%", "recoveryTime": "5m"}, health=SPEC.health.to_api())
    known = SloStatus(since=NOW - 30 * DAY, outages=[Outage(began=NOW - 6 * MINUTE, reason="ready: 503")])
    said = status(HealthState.UNHEALTHY).model_copy(update={"slo": known})
    found = {each.name: each for each in rules.evaluate(make_resource(spec), said, make_workload(), NOW).firing}
    assert found[AlertName.RECOVERY_SLOW].message == "out for longer than 5m: ready: 503"
    assert found[AlertName.BUDGET_BURNS].severity is Severity.CRITICAL
