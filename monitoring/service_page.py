"""Service: everything about one service, from its health to its error budget."""

from typing import Final

from monitoring.fleet_page import CLUSTER, burn
from monitoring.panel import (
    BAD,
    GOOD,
    ONE,
    PLAIN,
    SHORT,
    Kind,
    Page,
    Panel,
    Query,
    Row,
    Variable,
    each,
    increase,
    or_zero,
    quantile,
    rate,
)

_P: Final = "resilience_service"
_STATES: Final = {"1": ("Healthy", GOOD), "2": ("Warning", SHORT), "3": ("Unhealthy", BAD), "0": ("Unknown", "gray")}
_NUMBERS: Final = (("Unknown", 0), ("Healthy", 1), ("Warning", 2), ("Unhealthy", 3))
_FLAGS: Final = {"0": ("normal", GOOD), "1": ("degraded", SHORT)}
_BUDGET: Final = ((None, BAD), (0.1, SHORT), (0.5, GOOD))


def page() -> Page:
    """The dashboard."""
    return Page(
        "resilience-service",
        "Resilience / Service",
        "One service: health, releases, restarts, flags, alerts and its objective.",
        (
            CLUSTER,
            Variable("namespace", "Namespace", f"{_P}_phase", "namespace", everything=False),
            Variable("service", "Service", f'{_P}_phase{{namespace="$namespace"}}', "name", everything=False),
        ),
        (
            Row("Now", _now()),
            Row("Checks", _checks()),
            Row("Releases and restarts", _work()),
            Row("Degradation and alerts", _trouble()),
            Row("Objective", _objective()),
        ),
    )


def _value(metric: str) -> str:
    return f"max({_P}_{metric}{{{ONE}}})"


def _now() -> list[Panel]:
    health = " + ".join(
        f'{number} * max({_P}_health_state{{state="{state}", {ONE}}})' for state, number in _NUMBERS if number
    )
    return [
        Panel(
            Kind.TIMELINE,
            "Health",
            "The result of all checks together. Unhealthy is an outage; Unknown is neither.",
            "none",
            [Query(health, "health")],
            width=12,
            height=5,
            words=_STATES,
        ),
        Panel(
            Kind.SERIES,
            "Pods",
            "Pods that are available, of those that are wanted. kubectl describe rsvc names what is wrong with others.",
            "short",
            [Query(_value("pods_available"), "available"), Query(_value("pods_wanted"), "wanted")],
            width=8,
            height=5,
        ),
        Panel(
            Kind.STAT,
            "Alerts",
            "Alerts that fire now; status.alerts of the service says what, and whom they go to.",
            "short",
            [
                Query(f'max({_P}_alerts_firing{{severity="{word}", {ONE}}})', word)
                for word in ("critical", "warning", "info")
            ],
            width=4,
            height=5,
            steps=((None, GOOD), (1, BAD)),
        ),
    ]


def _checks() -> list[Panel]:
    return [
        Panel(
            Kind.SERIES,
            "Results",
            "Runs of each check by result. Inconclusive says nothing about the service: the check could not be run.",
            "ops",
            [Query(f"{rate(f'{_P}_check_results_total', ONE, 'check', 'outcome')} > 0", "{{check}} {{outcome}}")],
            stacked=True,
        ),
        Panel(
            Kind.SERIES,
            "Time until an answer",
            "Median and 95th percentile. Above spec.health.timeout a run fails.",
            "s",
            [
                Query(
                    quantile(share, f"{_P}_check_duration_seconds", ONE, "check"), f"{{{{check}}}} p{share * 100:.0f}"
                )
                for share in (0.5, 0.95)
            ],
        ),
        Panel(
            Kind.SERIES,
            "Since the last success",
            "Time since each check passed last. What grows is failing or cannot be run.",
            "s",
            [Query(f"time() - {each(f'{_P}_check_last_success_timestamp_seconds', ONE, 'check')}", "{{check}}")],
        ),
    ]


def _work() -> list[Panel]:
    return [
        Panel(
            Kind.SERIES,
            "Restarts and releases ended",
            "By how they ended. RolledBack and Failed: status.rollout.failure has class and advice.",
            "short",
            [
                Query(_ended("restarts"), "restart {{result}}"),
                Query(_ended("rollouts"), "release {{result}}"),
            ],
            stacked=True,
        ),
        Panel(
            Kind.SERIES,
            "How long they took, on average",
            "Since the operator's leader started. A release that takes longer than before waits for something.",
            "s",
            [
                Query(_average(f"{_P}_{what}_duration_seconds"), word)
                for what, word in (("restart", "restart"), ("rollout", "release"))
            ],
        ),
        Panel(
            Kind.SERIES,
            "Requests measured meanwhile",
            "What the operator sent through the Service while it replaced pods (spec.verify). None should fail.",
            "short",
            [Query(increase(f"{_P}_measured_requests_total", ONE, "result"), "{{result}}")],
        ),
    ]


def _ended(what: str) -> str:
    """Increase by result, only for results that occurred: there are more kinds than a legend has room for."""
    return or_zero(f"{increase(f'{_P}_{what}_total', ONE, 'result')} > 0", "result")


def _average(histogram: str) -> str:
    """Average of a histogram; 0 while nothing has ended yet."""
    return f"(sum({histogram}_sum{{{ONE}}}) / (sum({histogram}_count{{{ONE}}}) > 0)) or vector(0)"


def _trouble() -> list[Panel]:
    return [
        Panel(
            Kind.TIMELINE,
            "Degradation flags",
            "Flags as they are published. On: a dependency is lost, and applications work without it.",
            "none",
            [Query(or_zero(each(f"{_P}_degraded", ONE, "flag"), "flag"), "{{flag}}")],
            width=12,
            words=_FLAGS,
        ),
        Panel(
            Kind.SERIES,
            "Changes of flags",
            "How often flags went on and off. Often: the dependency flaps, or its check is too strict.",
            "short",
            [
                Query(
                    or_zero(increase(f"{_P}_degradation_transitions_total", ONE, "flag", "to"), "flag"),
                    "{{flag}} {{to}}",
                )
            ],
            width=6,
        ),
        Panel(
            Kind.SERIES,
            "Alerts firing",
            "By severity, withheld ones included.",
            "short",
            [Query(each(f"{_P}_alerts_firing", ONE, "severity"), "{{severity}}")],
            width=6,
            stacked=True,
        ),
    ]


def _objective() -> list[Panel]:
    return [
        Panel(
            Kind.STAT,
            "Availability",
            "Of the window of spec.slo so far, and its objective. Empty without spec.slo.",
            "percentunit",
            [Query(_value("slo_availability_ratio"), "is"), Query(_value("slo_objective_ratio"), "objective")],
            width=6,
            steps=((None, PLAIN),),
        ),
        Panel(
            Kind.STAT,
            "Error budget left",
            "Of the whole window. With nothing left, agree on what is released at all until the window has moved on.",
            "percentunit",
            [Query(_value("slo_error_budget_remaining_ratio"), "left")],
            width=4,
            steps=_BUDGET,
        ),
        Panel(
            Kind.SERIES,
            "Burn rate",
            "How many times faster than allowed outages used the budget up. Above 14.4 over an hour people are paged.",
            "none",
            [Query(burn(window, ONE), window) for window in ("5m", "1h", "6h")],
            width=8,
            steps=((None, GOOD), (1, SHORT), (14.4, BAD)),
        ),
        Panel(
            Kind.STAT,
            "Recovery",
            "How long the last outage lasted, and how long one may (spec.slo.recoveryTime).",
            "s",
            [
                Query(f"{_value('slo_recovery_seconds')} or vector(0)", "last"),
                Query(f"{_value('slo_recovery_objective_seconds')} or vector(0)", "allowed"),
            ],
            width=6,
            steps=((None, PLAIN),),
        ),
    ]
