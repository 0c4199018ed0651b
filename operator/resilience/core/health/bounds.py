"""Figures against their bounds: the bounds that a check has, by severity, and the outcome of a figure."""

from dataclasses import replace
from datetime import timedelta

from resilience.api import bounds as api
from resilience.api.checks import JsonNumber, PrometheusCheck
from resilience.api.scalars import format_duration
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.bounds import NO_LEVELS, Bounds, Levels


def of_number(wanted: JsonNumber | PrometheusCheck | api.NumberBounds) -> Levels:
    """The bounds of a number; `above` and `below` of the check itself are short for the critical ones."""
    critical = _bounds(wanted.critical)
    if not isinstance(wanted, api.NumberBounds) and wanted.critical is None:
        critical = Bounds(above=_number(wanted.above), below=_number(wanted.below))
    return Levels(critical, _bounds(wanted.warning))


def of_latency(wanted: api.DurationBounds | None) -> Levels:
    """The bounds of a latency, in seconds; none when the check sets none."""
    return NO_LEVELS if wanted is None else largest(_seconds(wanted.warning), _seconds(wanted.critical))


def largest(
    warning: float | None,
    critical: float | None,
    *,
    usual_warning: float | None = None,
    usual_critical: float | None = None,
) -> Levels:
    """The bounds of a number that can only be too large. A usual bound holds where none is set and it makes sense.

    It makes none where it would contradict the bound that is set: the warning comes first.
    """
    if warning is None and usual_warning is not None and (critical is None or usual_warning < critical):
        warning = usual_warning
    if critical is None and usual_critical is not None and (warning is None or usual_critical > warning):
        critical = usual_critical
    return Levels.most(warning=warning, critical=critical)


def judge(levels: Levels, value: float) -> tuple[Outcome, Bounds]:
    """The outcome of the number, and the bounds that it breaches: a number out of both levels is critical."""
    for outcome, limits in ((Outcome.FAIL, levels.critical), (Outcome.WARN, levels.warning)):
        if limits.breach(value):
            return outcome, limits
    return Outcome.PASS, Bounds()


def in_time(result: CheckResult, latency: Levels) -> CheckResult:
    """The result, made worse when the target works and took longer than its bounds allow."""
    if result.outcome not in (Outcome.PASS, Outcome.WARN) or result.latency_seconds is None:
        return result
    outcome, limits = judge(latency, result.latency_seconds)
    if outcome in (Outcome.PASS, result.outcome):
        return result
    took = format_duration(timedelta(seconds=float(about(result.latency_seconds))))
    words = f"took about {took}, more than {format_duration(timedelta(seconds=limits.above or 0))}"
    return replace(result, outcome=outcome, reason="Slow", message=f"{result.message}; {words}")


def about(value: float) -> str:
    """The value with two digits: enough for a person, and a small change does not cause a write of status."""
    return f"{float(f'{value:.2g}'):g}"


def _bounds(wanted: api.Bounds | None) -> Bounds:
    return Bounds() if wanted is None else Bounds(above=_number(wanted.above), below=_number(wanted.below))


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()
