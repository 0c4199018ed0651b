"""Objectives: which time was an outage, what is left of the error budget, and whether it burns too fast.

Outages are intervals in status, so a new leader goes on counting and no other system is needed. The rules for burning
are Google's: https://sre.google/workbook/alerting-on-slos/, multiwindow and multi-burn-rate.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from resilience.api.reasons import HealthState, Phase, Severity
from resilience.api.scalars import format_duration
from resilience.api.slo import Slo
from resilience.api.status import CheckStatus, Effective, Status
from resilience.api.status_slo import DayOfOutages, Outage, SloStatus
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.health import quantities
from resilience.core.model.check_state import CheckState
from resilience.core.model.context import Context
from resilience.core.model.decision import StepResult
from resilience.core.model.probes import CheckTarget, PrometheusProbe
from resilience.core.model.workload import Workload
from resilience.core.report import phase

# The check that asks for spec.slo.query: no name of a check of the spec has a slash.
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
    """What an objective stands at. `availability` and `objective` are shares; `budget` is negative when overspent."""

    objective: float
    availability: float
    budget: float
    burn_rate: float
    recovery: timedelta | None


@dataclass(frozen=True, slots=True)
class Burning:
    """The budget burns too fast."""

    severity: Severity
    message: str


def outage(status: Status, workload: Workload | None) -> bool | None:
    """Whether the service is out now; None when nobody can say, or it has not served yet."""
    if workload is None or status.phase in (Phase.INITIALIZING, Phase.SUSPENDED):
        return None
    down = phase.is_down(workload)
    if down and status.phase in (Phase.FAILED, Phase.CRASHED):
        return True
    if not status.health.checks:
        return None if down or status.phase is Phase.FAILED else False
    return None if status.health.state is HealthState.UNKNOWN else status.health.state is HealthState.UNHEALTHY


def reconcile(context: Context) -> StepResult:
    """Keep the books of the objectives, by what the status of this pass says."""
    resource, spec, status, now = context.resource, context.spec, context.status, context.now
    starting = phase.starting(resource, status, now)
    checks = context.observation.checks
    known = follow(spec, status.slo, status, context.workload, checks, now, starting=starting)
    burns = known is not None and spec.slo is not None and burning(spec.slo, known, now) is not None
    return StepResult(status.model_copy(update={"slo": known}), requeue_after=appointment(known, burns=burns))


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
    """The book-keeping after a pass; None without an objective, and while the service starts for the first time."""
    slo = spec.slo
    if slo is None or (before is None and starting):
        return None
    known = before or SloStatus(since=now)
    outages = _outages(known, status, outage(status, workload), checks, now)
    kept, days = _bounded(outages, known.days, now - slo.window)
    asked = checks.get(QUERY) if slo.query is not None else None
    measured = asked.figure if asked is not None else None
    said = known.measured if measured is None and slo.query is not None else ""
    after = known.model_copy(
        update={
            "outages": kept,
            "days": days,
            "measured": said if measured is None else _percent(min(max(measured, 0.0), 1.0), 4),
        }
    )
    found = figures(slo, after, now)
    ended = [each for each in kept if each.ended is not None]
    return after.model_copy(
        update={
            "availability": _percent(found.availability, 4),
            "budget_left": _percent(found.budget, 0),
            "burn_rate": f"{found.burn_rate:.1f}",
            "last_recovery": _length(ended[-1], now) if ended else known.last_recovery,
            "summary": f"{_percent(found.availability, 2)}, {_percent(found.budget, 0)} of budget left",
        }
    )


def figures(slo: Slo, known: SloStatus, now: datetime) -> Figures:
    """What the objective stands at: of the time that was counted, and of the whole window's budget.

    Where clients were asked, by what they saw.
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
    """How many times faster than allowed the budget was used up within a span that ends now."""
    return downtime(known, now - span, now) / span / (1 - objective)


def downtime(known: SloStatus, start: datetime, end: datetime) -> timedelta:
    """How long outages lasted within a span. Those that are kept by day count with the whole day."""
    kept = sum((_overlap(each, start, end) for each in known.outages), _ZERO)
    first = start.date().isoformat()
    return kept + sum((each.down for each in known.days if each.day >= first), _ZERO)


def appointment(known: SloStatus | None, *, burns: bool) -> timedelta | None:
    """When time alone changes what is to be said."""
    if known is not None and known.outages and known.outages[-1].ended is None:
        return _WHILE_DOWN
    return _WHILE_BURNING if burns else None


def watched(spec: ResilientServiceSpec, effective: Effective, *, namespace: str) -> tuple[CheckTarget, ...]:
    """The query, if there is one, as something to check: it never fails, it only tells a figure."""
    if spec.slo is None or spec.slo.query is None:
        return ()
    interval = max(effective.interval, timedelta(minutes=1))
    probe = PrometheusProbe(spec.slo.query, namespace)
    return (CheckTarget(QUERY, probe, "", interval, effective.timeout, 1, 1),)


def _outages(
    known: SloStatus, status: Status, down: bool | None, checks: Mapping[str, CheckState], now: datetime
) -> list[Outage]:
    outages, last = list(known.outages), known.outages[-1] if known.outages else None
    lasts = last is not None and last.ended is None
    if down and not lasts:
        wrong = [each for each in status.health.checks if each.state is HealthState.UNHEALTHY]
        least = last.ended if last is not None and last.ended is not None else known.since
        began = min((_failing_since(each, checks) or now for each in wrong), default=now)
        reason = "; ".join(f"{each.name}: {each.message}" for each in wrong) or "no pod serves"
        lags = [each.figure for each in checks.values() if each.figure is not None and each.name != QUERY]
        lag = timedelta(seconds=max(lags)) if lags else None
        # A clock that was set back, and a check that failed before the outage before was over.
        began = min(max(began, least), now)
        outages.append(Outage(began=began, reason=reason[:256], replication_lag=lag))
    elif down is False and lasts:
        assert last is not None
        outages[-1] = last.model_copy(update={"ended": max(now, last.began)})
    return outages


def _objective(slo: Slo) -> float:
    """As a share; 99.9 % is 0.999 and not the float next to it."""
    return round(quantities.share(slo.availability), 8)


def _failing_since(check: CheckStatus, checks: Mapping[str, CheckState]) -> datetime | None:
    """When the first failure was seen that made it count as failed."""
    known = checks.get(check.name)
    return known.failing_since if known is not None and known.failing_since is not None else check.since


def _bounded(
    outages: Sequence[Outage], days: Sequence[DayOfOutages], start: datetime
) -> tuple[list[Outage], list[DayOfOutages]]:
    """Without what the window has left behind; what is too much is kept by day."""
    kept = [each for each in outages if each.ended is None or each.ended > start]
    by_day = {each.day: each.down for each in days if each.day >= start.date().isoformat()}
    for each in kept[: max(len(kept) - MOST, 0)]:
        assert each.ended is not None
        day = each.ended.date().isoformat()
        by_day[day] = by_day.get(day, _ZERO) + (each.ended - each.began)
    return kept[-MOST:], [DayOfOutages(day=day, down=down) for day, down in sorted(by_day.items())]


def _overlap(each: Outage, start: datetime, end: datetime) -> timedelta:
    return max(min(each.ended or end, end) - max(each.began, start), _ZERO)


def _length(each: Outage, now: datetime) -> timedelta:
    return (each.ended or now) - each.began


def _percent(share: float, digits: int) -> str:
    """Rounded down: what is nearly met is not met. What only a float's last digit is short of is."""
    scale = 10**digits
    return f"{math.floor(share * 100 * scale + 1e-6) / scale:.{digits}f}%"
