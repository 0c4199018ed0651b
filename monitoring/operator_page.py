"""Operator: its leadership, load, and access to the API, its dependencies and alert receivers."""

from typing import Final

from monitoring.fleet_page import CLUSTER
from monitoring.panel import (
    BAD,
    EVERYWHERE,
    GOOD,
    PLAIN,
    Kind,
    Page,
    Panel,
    Query,
    Row,
    increase,
    or_zero,
    quantile,
    rate,
)
from monitoring.rule import of_installation

_P: Final = "resilience_operator"
_R: Final = "resilience_receiver"
_LEADERS: Final = of_installation(f"{_P}_leader{{{EVERYWHERE}}}", EVERYWHERE)
_QUANTILES: Final = (0.5, 0.95, 0.99)


def page() -> Page:
    """The dashboard."""
    return Page(
        "resilience-operator",
        "Resilience / Operator",
        "The Resilience Operator itself: is it alive, does it keep up, and whom can it not reach.",
        (CLUSTER,),
        (
            Row("At a glance", _stats()),
            Row("Passes", _passes()),
            Row("Kubernetes API", _api()),
            Row("Flags and alerts", _notifications()),
            Row("Process", _process()),
        ),
    )


def _quantiles(name: str, *by: str, shares: tuple[float, ...] = _QUANTILES) -> list[Query]:
    named = "".join(f"{{{{{label}}}}} " for label in by)
    return [Query(quantile(share, name, EVERYWHERE, *by), f"{named}p{share * 100:.0f}") for share in shares]


def _stats() -> list[Panel]:
    return [
        Panel(
            Kind.STAT,
            "Leaders",
            "Replicas that may write, by installation. One is right; with none no service is managed.",
            "short",
            [Query(f"sum by (installation) ({_LEADERS})", "{{installation}}")],
            width=4,
            height=4,
            steps=((None, BAD), (1, GOOD), (2, BAD)),
        ),
        Panel(
            Kind.STAT,
            "Replicas",
            "Replicas that are scraped, by version. Two versions at once: an upgrade is under way.",
            "short",
            [Query(f"sum by (version) ({_P}_build_info{{{EVERYWHERE}}})", "{{version}}")],
            width=4,
            height=4,
        ),
        Panel(
            Kind.STAT,
            "Waiting",
            "Services that wait for a pass. More than a handful for minutes: the operator does not keep up.",
            "short",
            [Query(f"sum({_P}_queue_depth{{{EVERYWHERE}}})")],
            width=4,
            height=4,
            steps=((None, GOOD), (50, BAD)),
        ),
        Panel(
            Kind.STAT,
            "Errors",
            "Passes that ended in an unexpected error, within the time shown. The log has the traceback.",
            "short",
            [Query(f'sum(increase({_P}_reconciles_total{{result="error", {EVERYWHERE}}}[$__range])) or vector(0)')],
            width=4,
            height=4,
            steps=((None, GOOD), (1, BAD)),
        ),
        Panel(
            Kind.STAT,
            "Alerts that were not delivered",
            "Dead letters of AlertReceivers. kubectl describe arcv says why they cannot be delivered.",
            "short",
            [Query(f"sum(max by (namespace, name) ({_R}_dead_letters{{{EVERYWHERE}}})) or vector(0)")],
            width=4,
            height=4,
            steps=((None, GOOD), (1, BAD)),
        ),
        Panel(
            Kind.STAT,
            "Pins lost",
            "Times that somebody took a pin of a release off a Service, within the time shown.",
            "short",
            [Query(f"sum(increase({_P}_pins_lost_total{{{EVERYWHERE}}}[$__range]))")],
            width=4,
            height=4,
            steps=((None, GOOD), (3, BAD)),
        ),
    ]


def _passes() -> list[Panel]:
    return [
        Panel(
            Kind.SERIES,
            "From an event to the action",
            "From what caused a pass until it had written or done something. Aim: p50 below 1 s, p95 below 5 s.",
            "s",
            _quantiles(f"{_P}_event_to_action_seconds"),
        ),
        Panel(
            Kind.SERIES,
            "Wait in the queue, and length of a pass",
            "95th percentile. Long waits with short passes: too few workers. Long passes: the API server.",
            "s",
            [
                Query(quantile(0.95, f"{_P}_queue_wait_seconds", EVERYWHERE), "wait"),
                Query(quantile(0.95, f"{_P}_reconcile_duration_seconds", EVERYWHERE), "pass"),
            ],
        ),
        Panel(
            Kind.SERIES,
            "Passes",
            "Per second, by result. conflict: decided again. refused: the API server refused. unavailable: no answer.",
            "ops",
            [Query(rate(f"{_P}_reconciles_total", EVERYWHERE, "result"), "{{result}}")],
            stacked=True,
        ),
    ]


def _api() -> list[Panel]:
    return [
        Panel(
            Kind.SERIES,
            "Requests",
            "Per second, by verb and status. 5xx and none: the API server fails. 429: it throttles the operator.",
            "reqps",
            [Query(rate(f"{_P}_api_requests_total", EVERYWHERE, "verb", "code"), "{{verb}} {{code}}")],
            stacked=True,
        ),
        Panel(
            Kind.SERIES,
            "Length of a request",
            "95th percentile by verb.",
            "s",
            _quantiles(f"{_P}_api_request_duration_seconds", "verb", shares=(0.95,)),
        ),
        Panel(
            Kind.SERIES,
            "Refusals and watches",
            "What the availability guard refused, by reason, and watches that began anew, by what they watch.",
            "short",
            [
                Query(
                    or_zero(increase(f"{_P}_guard_refusals_total", EVERYWHERE, "reason"), "reason"),
                    "refused {{reason}}",
                ),
                Query(increase(f"{_P}_watch_restarts_total", EVERYWHERE, "resource"), "watch of {{resource}}"),
            ],
        ),
    ]


def _notifications() -> list[Panel]:
    return [
        Panel(
            Kind.SERIES,
            "Flags: detection and propagation",
            "95th percentile: from the first failed run until a dependency counts as lost and that is published.",
            "s",
            [
                Query(quantile(0.95, f"{_P}_detection_seconds", EVERYWHERE), "detection"),
                *_quantiles(f"{_P}_flag_propagation_seconds", "channel", shares=(0.95,)),
            ],
        ),
        Panel(
            Kind.SERIES,
            "Messages",
            "Messages delivered, or not, per second, over all AlertReceivers. A failed delivery is tried again.",
            "ops",
            [Query(or_zero(rate(f"{_R}_deliveries_total", EVERYWHERE, "result"), "result"), "{{result}}")],
        ),
        Panel(
            Kind.SERIES,
            "Time until people know",
            "95th percentile: from the beginning of an alert until a receiver was notified, and how long that took.",
            "s",
            [
                Query(quantile(0.95, f"{_R}_alert_latency_seconds", EVERYWHERE), "until notified"),
                Query(quantile(0.95, f"{_R}_delivery_duration_seconds", EVERYWHERE), "delivery"),
            ],
        ),
        Panel(
            Kind.SERIES,
            "Conversations",
            "Incidents that are open at receivers, suppressed repeats, and alerts that could not be delivered.",
            "short",
            [
                Query(f"sum(max by (namespace, name) ({_R}_{name}{{{EVERYWHERE}}})) or vector(0)", word)
                for name, word in (
                    ("conversations", "open"),
                    ("suppressed_repeats", "suppressed"),
                    ("dead_letters", "dead"),
                )
            ],
            width=24,
            height=6,
        ),
    ]


def _process() -> list[Panel]:
    mine = f"and on (instance) {_P}_build_info{{{EVERYWHERE}}}"
    return [
        Panel(
            Kind.SERIES,
            "Memory",
            "Resident memory of each replica. It grows with the number of services, not with time.",
            "bytes",
            [Query(f"process_resident_memory_bytes {mine}", "{{instance}}")],
            width=12,
        ),
        Panel(
            Kind.SERIES,
            "Processor",
            "Share of a core that each replica uses.",
            "percentunit",
            [Query(f"rate(process_cpu_seconds_total[$__rate_interval]) {mine}", "{{instance}}")],
            width=12,
            steps=((None, PLAIN),),
        ),
        Panel(
            Kind.SERIES,
            "Event loop stands still",
            "Longest time within a minute, by the work that the loop did meanwhile; other: short of processor time.",
            "s",
            [Query(f"max by (work) ({_P}_loop_lag_seconds{{{EVERYWHERE}}})", "{{work}}")],
            width=24,
            height=6,
        ),
    ]
