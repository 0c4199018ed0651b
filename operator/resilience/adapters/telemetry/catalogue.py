"""Every metric of the operator, with its unit and meaning; docs/reference/metrics.md is generated from this module.

Names and units follow Prometheus and controller-runtime. Labels are words from fixed sets, and namespace, name, check
and flag of a resource: no pod names, messages or addresses.
"""

from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from resilience.adapters.telemetry.families import Families

_PASS: Final = (0.005, 0.025, 0.1, 0.5, 2.0, 10.0)
_WAIT: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
# Few buckets, because there is one set per check.
_CHECK: Final = (0.01, 0.05, 0.25, 1.0, 5.0)
_WORK: Final = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
_REACTION: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0)
_LATENCY: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
_API: Final = (0.01, 0.05, 0.25, 1.0, 5.0, 15.0)
_RESOURCE: Final = ("namespace", "name")


@dataclass(frozen=True, slots=True)
class Declared:
    """A metric as its readers see it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str


class _Declaring:
    """Creates metrics with one prefix, and lists them in `declared`."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        self.declared: list[Declared] = []
        self._registry, self._prefix = registry, prefix

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        self._note(f"{name}_total", "counter", labels, text)
        return Counter(f"{self._prefix}_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        self._note(name, "gauge", labels, text)
        return Gauge(f"{self._prefix}_{name}", text, labels, registry=self._registry)

    def _seconds(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        self._note(f"{name}_seconds", "histogram", labels, text)
        return Histogram(f"{self._prefix}_{name}_seconds", text, labels, registry=self._registry, buckets=buckets)

    def _families(self, made: Families) -> None:
        self._registry.register(made)
        self.declared.extend(Declared(*entry) for entry in made.declared())

    def _note(self, name: str, kind: str, labels: tuple[str, ...], text: str) -> None:
        self.declared.append(Declared(f"{self._prefix}_{name}", kind, labels, text))


class OperatorMetrics(_Declaring):
    """Metrics of the operator itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry, "resilience_operator")
        counter, gauge, seconds = self._counter, self._gauge, self._seconds
        self.passes = counter("reconciles", "Passes over a resource.", "result")
        self.pass_seconds = seconds("reconcile_duration", "Length of a pass.", _PASS)
        self.depth = gauge("queue_depth", "Resources that wait for a pass.")
        self.wait_seconds = seconds("queue_wait", "Time that a resource waited for a pass that was due.", _WAIT)
        self.action_seconds = seconds(
            "event_to_action", "Time from an event until the pass that it caused had written or acted.", _WAIT
        )
        self.refusals = counter("guard_refusals", "Writes that the availability guard refused.", "reason")
        self.pins = counter("pins_lost", "Pins of a release that somebody removed from a Service.")
        self.leader = gauge("leader", "1 while this replica may write, else 0.")
        self.api_requests = counter("api_requests", "Requests to the Kubernetes API.", "verb", "code")
        self.api_seconds = seconds("api_request_duration", "Length of a request to the Kubernetes API.", _API, "verb")
        self.watches = counter("watch_restarts", "Restarted watches of the Kubernetes API.", "resource")
        self.told = seconds(
            "flag_propagation", "Time from the decision on a flag until a channel has it.", _REACTION, "channel"
        )
        self.detection = seconds(
            "detection", "Time from the first failed run of a dependency's check until it counts as lost.", _REACTION
        )
        self.lag = gauge(
            "loop_lag_seconds",
            "Longest time in the last minute for which the event loop stood still, by the work that it did meanwhile.",
            "work",
        )
        self.build = gauge(
            "build_info",
            "Always 1; the version, and the installation as namespace/name of its Lease.",
            "version",
            "installation",
        )


class ServiceMetrics(_Declaring):
    """Metrics of each service."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry, "resilience_service")
        made = self.families = Families("resilience_service")
        self.health = made.gauge(
            "health_state", "1 for the state that the service's health is in, 0 for the others.", "state"
        )
        self.phase = made.gauge("phase", "1 for the phase that the service is in, 0 for the others.", "phase")
        self.available = made.gauge(
            "available",
            "1 while it serves and its checks pass, 0 in an outage; absent at a first start, or when unknown.",
        )
        self.wanted = made.gauge("pods_wanted", "Pods that the workload requests.")
        self.pods = made.gauge("pods_available", "Pods of the workload that are available.")
        self.degraded = made.gauge("degraded", "1 while a degradation flag is on, else 0.", "flag")
        self.switches = made.counter("degradation_transitions", "Changes of a degradation flag.", "flag", "to")
        self.firing = made.gauge("alerts_firing", "Alerts that fire, by severity.", "severity")
        self.fired = made.counter("alerts_fired", "Alerts that started, by severity.", "severity")
        self.checks = made.counter("check_results", "Runs of a health check.", "check", "outcome")
        self.last_success = made.gauge(
            "check_last_success_timestamp_seconds", "Time at which a health check last passed, as Unix time.", "check"
        )
        self.restarts = made.counter("restarts", "Ended restarts.", "result")
        self.rollouts = made.counter("rollouts", "Ended releases.", "result")
        self.requests = made.counter(
            "measured_requests", "Requests that the operator sent during restarts and releases.", "result"
        )
        self.objective = made.gauge("slo_objective_ratio", "Availability that spec.slo requires, 0 to 1.")
        self.window = made.gauge("slo_window_seconds", "Length of the window of spec.slo.")
        self.availability = made.gauge("slo_availability_ratio", "Availability within the window so far, 0 to 1.")
        self.budget = made.gauge(
            "slo_error_budget_remaining_ratio", "Share of the error budget that is left; negative when overspent."
        )
        self.recovery = made.gauge("slo_recovery_seconds", "Duration of the last outage.")
        self.recovery_objective = made.gauge("slo_recovery_objective_seconds", "Longest outage that spec.slo allows.")
        self._families(made)
        self.check_seconds = self._seconds(
            "check_duration", "Time until a health check's answer.", _CHECK, *_RESOURCE, "check"
        )
        self.restart_seconds = self._seconds(
            "restart_duration", "Time from the beginning of a restart to its end.", _WORK, *_RESOURCE
        )
        self.rollout_seconds = self._seconds(
            "rollout_duration", "Time from a new template to the end of its release.", _WORK, *_RESOURCE
        )


class ReceiverMetrics(_Declaring):
    """Metrics of each AlertReceiver."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry, "resilience_receiver")
        made = self.families = Families("resilience_receiver")
        self.deliveries = made.counter("deliveries", "Messages delivered or not delivered to a receiver.", "result")
        self.conversations = made.gauge("conversations", "Conversations that are open at a receiver.")
        self.dead = made.gauge("dead_letters", "Alerts that could not be delivered to a receiver.")
        self.suppressed = made.gauge(
            "suppressed_repeats", "Repeats of which a receiver was not notified, in open conversations."
        )
        self._families(made)
        self.delivery_seconds = self._seconds("delivery_duration", "Time that one delivery took.", _CHECK, *_RESOURCE)
        self.latency = self._seconds(
            "alert_latency",
            "Time from the start of an alert until a receiver was first notified of it.",
            _LATENCY,
            *_RESOURCE,
        )
