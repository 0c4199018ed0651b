"""Objectives: outages, the error budget that is left, and alerts when it burns too fast.

Outages are intervals in status, so a new leader continues to count and no other system is needed. The burn-rate rules
are Google's: https://sre.google/workbook/alerting-on-slos/, multiwindow and multi-burn-rate.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from resilience.api.reasons import HealthState, Phase, Severity
from resilience.api.scalars import format_duration
from resilience.api.slo import LONGEST_WINDOW, Slo
from resilience.api.status import CheckStatus, Effective, Status
from resilience.api.status_slo import DayOfOutages, Outage, SloStatus
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.health import quantities
from resilience.core.model import wrong_parts
from resilience.core.model.check_state import CheckState
from resilience.core.model.context import Context
from resilience.core.model.decision import StepResult
from resilience.core.model.probes import CheckTarget, PrometheusProbe
from resilience.core.model.workload import Workload
from resilience.core.report import phase

# The check that runs spec.slo.query. Check names in the spec contain no slash.
QUERY: Final = "slo/availability"
MOST: Final = 50
_ZERO: Final = timedelta()
_HOUR: Final = timedelta(hours=1)
_WHILE_DOWN: Final = timedelta(seconds=30)
_WHILE_BURNING: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Burn:
    """An alert: the budget is used up `rate` times too fast, over a long time and still over a short one."""

    rate: float
    long: timedelta
    short: timedelta
    severity: Severity


BURNS: Final = (
    Burn(14.4, _HOUR, timedelta(minutes=5), Severity.CRITICAL),
    Burn(6.0, 6 * _HOUR, timedelta(minutes=30), Severity.CRITICAL),
    Burn(3.0, 24 * _HOUR, 2 * _HOUR, Severity.WARNING),
    Burn(1.0, 72 * _HOUR, 6 * _HOUR, Severity.WARNING),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """The state of an objective. `availability` and `objective` are shares; `budget` is negative when overspent."""

    objective: float
    availability: float
    budget: float
    burn_rate: float
    recovery: timedelta | None


@dataclass(frozen=True, slots=True)
class Burning:
    """An error budget that burns too fast."""

    severity: Severity
    message: str


def outage(status: Status, workload: Workload | None) -> bool | None:
    """The service is out now; None when that is not known, or it has not served yet."""
    if workload is None or status.phase in (Phase.INITIALIZING, Phase.SUSPENDED):
        return None
    down = phase.is_down(workload)
    if down and status.phase in (Phase.FAILED, Phase.CRASHED):
        return True
    if not status.health.checks:
        return None if down or status.phase is Phase.FAILED else False
    return None if status.health.state is HealthState.UNKNOWN else status.health.state is HealthState.UNHEALTHY


def reconcile(context: Context) -> StepResult:
    """Update the record of the objectives from the status of this pass."""
    resource, spec, status, now = context.resource, context.spec, context.status, context.now
    starting = phase.starting(resource, status, now)
    checks = context.observation.checks
    if wrong_parts.lacks(resource, "slo"):
        known = _recorded(context, status.slo)
    else:
        known = follow(spec, status.slo, status, context.workload, checks, now, starting=starting)
    burns = known is not None and spec.slo is not None and burning(spec.slo, known, now) is not None
    return StepResult(status.model_copy(update={"slo": known}), requeue_after=next_change(known, burns=burns))


def _recorded(context: Context, before: SloStatus | None) -> SloStatus | None:
    """The record while the objective cannot be read: outages count, and nothing else changes."""
    if before is None:
        return None
    observation, now = context.observation, context.now
    is_out = outage(context.status, context.workload)
    outages = _outages(before, context.status, is_out, observation.checks, now)
    kept, days = _bounded(outages, before.days, now - LONGEST_WINDOW)
    return before.model_copy(update={"outages": kept, "days": days})


def follow(
    spec: ResilientServiceSpec,
    before: SloStatus | None,
    status: Status,
    workload: Workload | None,
    checks: Mapping[str, CheckState],
    now: datetime,
    *,
    starting: bool = False,
) -> SloStatus | None:
    """The record after a pass; None without an objective, and while the service starts for the first time."""
    slo = spec.slo
    if slo is None or (before is None and starting):
        return None
    known = before or SloStatus(since=now)
    outages = _outages(known, status, outage(status, workload), checks, now)
    kept, days = _bounded(outages, known.days, now - slo.window)
    query_check = checks.get(QUERY) if slo.query is not None else None
    measured = query_check.figure if query_check is not None else None
    last_measured = known.measured if measured is None and slo.query is not None else ""
    after = known.model_copy(
        update={
            "outages": kept,
            "days": days,
            "measured": last_measured if measured is None else _percent(min(max(measured, 0.0), 1.0), 4),
        }
    )
    current = figures(slo, after, now)
    ended = [entry for entry in kept if entry.ended is not None]
    return after.model_copy(
        update={
            "availability": _percent(current.availability, 4),
            "budget_left": _percent(current.budget, 0),
            "burn_rate": f"{current.burn_rate:.1f}",
            "last_recovery": _length(ended[-1], now) if ended else known.last_recovery,
            "summary": f"{_percent(current.availability, 2)}, {_percent(current.budget, 0)} of budget left",
        }
    )


def figures(slo: Slo, known: SloStatus, now: datetime) -> Figures:
    """The state of the objective: availability in the time that was counted, and the budget of the whole window.

    With a query, both follow from what clients saw.
    """
    objective = _objective(slo)
    down, counted = downtime(known, now - slo.window, now), min(slo.window, max(now - known.since, _ZERO))
    availability, lost = 1 - down / counted if counted else 1.0, down / slo.window
    if known.measured:
        availability = quantities.share(known.measured)
        lost = 1 - availability
    return Figures(
        objective=objective,
        availability=availability,
        budget=1 - lost / (1 - objective),
        burn_rate=burn_rate(known, objective, _HOUR, now),
        recovery=known.last_recovery,
    )


def burning(slo: Slo, known: SloStatus, now: datetime) -> Burning | None:
    """The worst rule that holds; None while the budget will last."""
    objective = _objective(slo)
    for rule in BURNS:
        long = burn_rate(known, objective, rule.long, now)
        if long > rule.rate and burn_rate(known, objective, rule.short, now) > rule.rate:
            left = figures(slo, known, now).budget
            words = f"{rule.rate:g} times too fast over {format_duration(rule.long)}: {_percent(left, 0)} of it is left"
            return Burning(rule.severity, f"the error budget of {slo.availability} is used up more than {words}")
    return None


def burn_rate(known: SloStatus, objective: float, span: timedelta, now: datetime) -> float:
    """Factor by which the budget was used up faster than allowed, within a span that ends now."""
    return downtime(known, now - span, now) / span / (1 - objective)


def downtime(known: SloStatus, start: datetime, end: datetime) -> timedelta:
    """Duration of outages within a span. Outages that are kept by day count with the whole day."""
    kept = sum((_overlap(entry, start, end) for entry in known.outages), _ZERO)
    first = start.date().isoformat()
    return kept + sum((day.down for day in known.days if day.day >= first), _ZERO)


def next_change(known: SloStatus | None, *, burns: bool) -> timedelta | None:
    """Time until the report changes by itself; None when it does not."""
    if known is not None and known.outages and known.outages[-1].ended is None:
        return _WHILE_DOWN
    return _WHILE_BURNING if burns else None


def query_targets(spec: ResilientServiceSpec, effective: Effective, *, namespace: str) -> tuple[CheckTarget, ...]:
    """The query of the objective as a check, if there is one: it never fails and only supplies a figure."""
    if spec.slo is None or spec.slo.query is None:
        return ()
    interval = max(effective.interval, timedelta(minutes=1))
    probe = PrometheusProbe(spec.slo.query, namespace)
    return (CheckTarget(QUERY, probe, "", interval, effective.timeout, 1, 1),)


def _outages(
    known: SloStatus, status: Status, down: bool | None, checks: Mapping[str, CheckState], now: datetime
) -> list[Outage]:
    outages, last = list(known.outages), known.outages[-1] if known.outages else None
    is_ongoing = last is not None and last.ended is None
    if down and not is_ongoing:
        wrong = [check for check in status.health.checks if check.state is HealthState.UNHEALTHY]
        least = last.ended if last is not None and last.ended is not None else known.since
        began = min((_failing_since(check, checks) or now for check in wrong), default=now)
        reason = "; ".join(f"{check.name}: {check.message}" for check in wrong) or "no pod serves"
        lags = [state.replication_lag for state in checks.values() if state.replication_lag is not None]
        lag = timedelta(seconds=max(lags)) if lags else None
        # For a clock that was set back, and for a check that failed before the previous outage was over.
        began = min(max(began, least), now)
        outages.append(Outage(began=began, reason=reason[:256], replication_lag=lag))
    elif down is False and is_ongoing:
        assert last is not None
        outages[-1] = last.model_copy(update={"ended": max(now, last.began)})
    return outages


def _objective(slo: Slo) -> float:
    """The objective as a share; 99.9 % is 0.999 and not the float next to it."""
    return round(quantities.share(slo.availability), 8)


def _failing_since(check: CheckStatus, checks: Mapping[str, CheckState]) -> datetime | None:
    """Time of the first failure in the row that made the check count as failed, else the `since` of the check."""
    known = checks.get(check.name)
    return known.failing_since if known is not None and known.failing_since is not None else check.since


def _bounded(
    outages: Sequence[Outage], days: Sequence[DayOfOutages], start: datetime
) -> tuple[list[Outage], list[DayOfOutages]]:
    """The outages and days that are still in the window; outages beyond the limit are kept by day."""
    kept = [entry for entry in outages if entry.ended is None or entry.ended > start]
    by_day = {day.day: day.down for day in days if day.day >= start.date().isoformat()}
    for entry in kept[: max(len(kept) - MOST, 0)]:
        assert entry.ended is not None
        day = entry.ended.date().isoformat()
        by_day[day] = by_day.get(day, _ZERO) + (entry.ended - entry.began)
    return kept[-MOST:], [DayOfOutages(day=day, down=down) for day, down in sorted(by_day.items())]


def _overlap(entry: Outage, start: datetime, end: datetime) -> timedelta:
    return max(min(entry.ended or end, end) - max(entry.began, start), _ZERO)


def _length(entry: Outage, now: datetime) -> timedelta:
    return (entry.ended or now) - entry.began


def _percent(share: float, digits: int) -> str:
    """The share as a percentage, rounded down, except for float error in the last digit: nearly met is not met."""
    scale = 10**digits
    return f"{math.floor(share * 100 * scale + 1e-6) / scale:.{digits}f}%"
