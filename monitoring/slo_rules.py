"""Rules for objectives: the share of outage in each window, and the alert that the error budget burns.

Multiwindow, multi-burn-rate: https://sre.google/workbook/alerting-on-slos/. The same numbers as in
`resilience.core.report.slo`, which computes the same without Prometheus.
"""

from datetime import timedelta
from typing import Final

from monitoring.rule import INSTALLATION, Alert, Group, Record, of_installation, prometheus_duration
from resilience.core.report.slo import BURNS, Burn

_OF: Final = "cluster, installation, namespace, name"
_OUTAGE: Final = "resilience:service_unavailable"
_OBJECTIVE: Final = "resilience:service_slo_objective:ratio"


def groups(*, shortened: float = 1.0) -> list[Group]:
    """The rule groups. `shortened`: factor by which every window is shorter, to try them in less than days."""
    windows = sorted({window for burn in BURNS for window in (burn.long, burn.short)})
    records = [
        # One series, no matter which replica leads.
        Record(_OUTAGE, f"1 - max by ({_OF}) ({of_installation('resilience_service_available')})"),
        Record(_OBJECTIVE, f"max by ({_OF}) ({of_installation('resilience_service_slo_objective_ratio')})"),
        *(
            Record(_ratio(window), f"avg_over_time({_mine(_OUTAGE)}[{prometheus_duration(window / shortened)}])")
            for window in windows
        ),
    ]
    every = max(timedelta(seconds=30) / shortened, timedelta(seconds=1))
    alerts = [_alert(burn) for burn in BURNS]
    # One group, because its rules are evaluated in order: the alerts read the values that were just recorded.
    return [Group("resilience-objectives", every, [*records, *alerts])]


def _mine(recorded: str) -> str:
    """The series of one installation, for another one has recorded its own under the same name."""
    return f"{recorded}{{{INSTALLATION}}}"


def _ratio(window: timedelta) -> str:
    return f"{_OUTAGE}:ratio_rate{prometheus_duration(window)}"


def _alert(burn: Burn) -> Alert:
    long, short = prometheus_duration(burn.long), prometheus_duration(burn.short)
    budget = f"(1 - {_mine(_OBJECTIVE)})"
    rates = [f"{_mine(_ratio(window))} / on ({_OF}) {budget} > {burn.rate:g}" for window in (burn.long, burn.short)]
    return Alert(
        name="ErrorBudgetBurns",
        expression=" and ".join(rates),
        severity=str(burn.severity),
        summary="The error budget of {{ $labels.namespace }}/{{ $labels.name }} is used up too fast",
        description=(
            "{{ $labels.namespace }}/{{ $labels.name }} uses its error budget up {{ $value | humanize }} times faster"
            f" than it may, over {long} and still over {short}."
        ),
        action="Put off what is risky, releases first; kubectl get rsvc -o yaml has the outages in status.slo.",
        # The label `service` groups it with the operator's own alerts.
        labels={"service": "{{ $labels.name }}", "long": long, "short": short},
    )
