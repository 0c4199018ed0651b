"""Fleet: the services in trouble, the reasons, and the outlook of the month's error budget."""

from typing import Final

from monitoring.panel import (
    BAD,
    FLEET,
    GOOD,
    PLAIN,
    SHORT,
    Column,
    Kind,
    Page,
    Panel,
    Query,
    Row,
    Variable,
    each,
    increase,
)

_SERVICE: Final = ("namespace", "name")
_NONE_IS_GOOD: Final = ((None, GOOD), (1, BAD))
_BUDGET: Final = ((None, BAD), (0.1, SHORT), (0.5, GOOD))
_BURN: Final = ((None, GOOD), (1, SHORT), (6, BAD))
_HEALTH: Final = {"Healthy": GOOD, "Warning": SHORT, "Unhealthy": BAD, "Unknown": "gray"}
_PHASES: Final = {
    "Running": GOOD,
    "Deploying": PLAIN,
    "Initializing": PLAIN,
    "Failed": BAD,
    "Crashed": BAD,
    "Suspended": "gray",
}
_OF_SERVICE: Final = "resilience_service"
# Link of a row of the table.
_LINK: Final = (
    "/d/resilience-service?var-datasource=${datasource}&var-cluster=${cluster:queryparam}"
    "&var-namespace=${__data.fields.namespace}&var-service=${__data.fields.name}&${__url_time_range}"
)
NAMESPACE: Final = Variable("namespace", "Namespace", f"{_OF_SERVICE}_phase", "namespace")
CLUSTER: Final = Variable("cluster", "Cluster", "resilience_operator_build_info", "cluster")


def page() -> Page:
    """The dashboard."""
    return Page(
        "resilience-fleet",
        "Resilience / Fleet",
        "All services that the operator looks after: which is in trouble, why, and whether its error budget lasts.",
        (CLUSTER, NAMESPACE),
        (Row("At a glance", _stats()), Row("Services", [_table()]), Row("Over time", _series())),
    )


def burn(metric_window: str, selector: str) -> str:
    """Factor by which a window used the error budget up too fast."""
    down = f"1 - avg_over_time({_OF_SERVICE}_available{{{selector}}}[{metric_window}])"
    allowed = f"1 - {_OF_SERVICE}_slo_objective_ratio{{{selector}}}"
    return f"max by (namespace, name) (({down}) / ({allowed}))"


def _count(inner: str) -> Query:
    """Number of series with the value 1; 0 when there are none."""
    return Query(f"count({inner} == 1) or vector(0)")


def _stats() -> list[Panel]:
    health = f'max by (namespace, name) ({_OF_SERVICE}_health_state{{state="%s", {FLEET}}})'
    return [
        _stat(
            "Services",
            "Services that are looked after.",
            [_count(f"max by (namespace, name) ({_OF_SERVICE}_phase{{{FLEET}}})")],
            (),
        ),
        _stat(
            "Unhealthy",
            "Services with a check that fails, or without a pod that serves. Look at the table below.",
            [_count(health % "Unhealthy")],
        ),
        _stat(
            "Warning",
            "Services with a check that warns: something is short, and works still.",
            [_count(health % "Warning")],
            ((None, GOOD), (1, SHORT)),
        ),
        _stat(
            "Degraded",
            "Services that work without a lost dependency. Fix the dependency; the services' pods are not at fault.",
            [_count(f"max by (namespace, name) ({_OF_SERVICE}_degraded{{{FLEET}}})")],
            ((None, GOOD), (1, SHORT)),
        ),
        _stat(
            "Releases in flight",
            "Services that bring a new version out now.",
            [_count(f'max by (namespace, name) ({_OF_SERVICE}_phase{{phase="Deploying", {FLEET}}})')],
            ((None, PLAIN),),
        ),
        _stat(
            "Alerts",
            "Alerts that fire, by severity. status.alerts of a service says what they are, and whom they go to.",
            [Query(f"{_firing(word)} or vector(0)", word) for word in ("critical", "warning")],
        ),
    ]


def _firing(severity: str) -> str:
    fires = f'{_OF_SERVICE}_alerts_firing{{severity="{severity}", {FLEET}}}'
    return f"sum(max by (namespace, name) ({fires}))"


def _stat(
    title: str, description: str, queries: list[Query], steps: tuple[tuple[float | None, str], ...] = _NONE_IS_GOOD
) -> Panel:
    return Panel(Kind.STAT, title, description, "short", queries, width=4, height=4, steps=steps or ((None, PLAIN),))


def _table() -> Panel:
    def word(metric: str, label: str) -> Query:
        return Query(f"max by (namespace, name, {label}) ({_OF_SERVICE}_{metric}{{{FLEET}}} == 1)")

    def value(metric: str) -> Query:
        return Query(each(f"{_OF_SERVICE}_{metric}", FLEET, *_SERVICE))

    firing = f"sum by (namespace, name) (max by (namespace, name, severity) ({_OF_SERVICE}_alerts_firing{{{FLEET}}}))"
    return Panel(
        Kind.TABLE,
        "Services",
        "One line for each service, the smallest error budget first. A click on the name leads to its own page.",
        "string",
        (
            word("health_state", "state"),
            word("phase", "phase"),
            Query(firing),
            Query(f"max by (namespace, name) ({_OF_SERVICE}_degraded{{{FLEET}}})"),
            value("slo_availability_ratio"),
            value("slo_error_budget_remaining_ratio"),
            Query(burn("1h", FLEET)),
            value("pods_available"),
            value("pods_wanted"),
        ),
        width=24,
        height=12,
        columns=(
            Column("namespace", "Namespace"),
            Column("name", "Service", link=_LINK),
            Column("state", "Health", words=_HEALTH),
            Column("phase", "Phase", words=_PHASES),
            Column("Value #C", "Alerts", "short", _NONE_IS_GOOD),
            Column("Value #D", "Degraded", "bool_yes_no", ((None, GOOD), (1, SHORT))),
            Column("Value #E", "Availability", "percentunit"),
            Column("Value #F", "Error budget left", "percentunit", _BUDGET),
            Column("Value #G", "Burn rate, 1 h", "none", _BURN),
            Column("Value #H", "Pods available", "short"),
            Column("Value #I", "Pods wanted", "short"),
        ),
    )


def _series() -> list[Panel]:
    return [
        Panel(
            Kind.SERIES,
            "Health",
            "How many services are in each state of health.",
            "short",
            [
                Query(
                    f"sum by (state) (max by (namespace, name, state) ({_OF_SERVICE}_health_state{{{FLEET}}}))",
                    "{{state}}",
                )
            ],
            stacked=True,
        ),
        Panel(
            Kind.SERIES,
            "Restarts and releases",
            "Number that ended, by result. RolledBack, Paused and Failed: check the service.",
            "short",
            [
                Query(increase(f"{_OF_SERVICE}_restarts_total", FLEET, "result"), "restart {{result}}"),
                Query(increase(f"{_OF_SERVICE}_rollouts_total", FLEET, "result"), "release {{result}}"),
            ],
            stacked=True,
        ),
        Panel(
            Kind.SERIES,
            "Error budget left: the ten lowest",
            "Of the window of spec.slo. Below zero the objective is missed: put off what is risky.",
            "percentunit",
            [
                Query(
                    f"bottomk(10, {each(f'{_OF_SERVICE}_slo_error_budget_remaining_ratio', FLEET, *_SERVICE)})",
                    "{{namespace}}/{{name}}",
                )
            ],
        ),
    ]
