"""The Metrics port with prometheus_client, on a registry of its own; `catalogue` lists the metrics.

The series of a resource are removed with it (`forget`), so that the number of series does not grow with churn.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from resilience.adapters.telemetry.catalogue import Declared, OperatorMetrics, ReceiverMetrics, ServiceMetrics
from resilience.adapters.telemetry.culprit import Work
from resilience.api.reasons import HealthState, Phase, RestartOutcome, RolloutOutcome, Severity
from resilience.core.health.thresholds import Outcome
from resilience.core.model.observation import Key
from resilience.core.report.metrics import ServiceFigures

_DELIVERED: Final = ("delivered", "failed")
# Channels that publish flags.
_CHANNELS: Final = ("configmap", "annotation", "http")


class PrometheusMetrics:
    """Implements ports.Metrics, and the metrics that only adapters and the program set."""

    def __init__(self, *, version: str, installation: str = "") -> None:
        self.registry = CollectorRegistry()
        self._operator = OperatorMetrics(self.registry)
        self._service = ServiceMetrics(self.registry)
        self._receiver = ReceiverMetrics(self.registry)
        self._operator.build.labels(version, installation).set(1)
        for channel in _CHANNELS:
            self._operator.told.labels(channel)
        # Labels of the histograms of each resource.
        self._timed: dict[Key, set[tuple[Histogram, tuple[str, ...]]]] = {}
        self._timed_receivers: dict[Key, set[tuple[Histogram, tuple[str, ...]]]] = {}
        ProcessCollector(registry=self.registry)

    @property
    def declared(self) -> tuple[Declared, ...]:
        """Every metric that the operator declares itself."""
        return (*self._operator.declared, *self._service.declared, *self._receiver.declared)

    def reconciled(self, *, seconds: float, result: str) -> None:
        """Counts a pass that has ended, and records its duration."""
        self._operator.passes.labels(result).inc()
        self._operator.pass_seconds.observe(seconds)

    def waited(self, *, seconds: float) -> None:
        """Records the time that a key waited for its pass."""
        self._operator.wait_seconds.observe(seconds)

    def acted(self, *, seconds: float) -> None:
        """Records the time from an event until a pass wrote or did something because of it."""
        self._operator.action_seconds.observe(seconds)

    def refused(self, *, reason: str) -> None:
        """Counts a refusal of the availability guard."""
        self._operator.refusals.labels(reason).inc()

    def pins_lost(self, *, count: int) -> None:
        """Counts pins of a rollout that somebody removed."""
        self._operator.pins.inc(count)

    def queue(self, *, depth: int) -> None:
        """Sets the number of keys that wait."""
        self._operator.depth.set(depth)

    def flag_published(self, *, channel: str, seconds: float) -> None:
        """Records the time until a channel had a change of a flag."""
        self._operator.told.labels(channel).observe(max(seconds, 0.0))

    def detected(self, *, seconds: float) -> None:
        """Records the time from a dependency's first failed check until it counts as lost."""
        self._operator.detection.observe(max(seconds, 0.0))

    def leader(self, held: bool) -> None:
        """Sets the gauge that says if this replica may write."""
        self._operator.leader.set(held)

    def loop_lag(self, of_last_minute: Callable[[Work], float]) -> None:
        """Sets the function that measures how long each kind of work held the event loop; it is called in a thread."""
        for work in Work:
            self._operator.lag.labels(work).set_function(partial(of_last_minute, work))

    def api_request(self, verb: str, code: str, seconds: float) -> None:
        """Counts a request to the Kubernetes API; `code` is its status, or a word when there was none."""
        self._operator.api_requests.labels(verb, code).inc()
        self._operator.api_seconds.labels(verb).observe(seconds)

    def watch_began(self, resource: str, again: bool) -> None:
        """Counts a watch that began again; the first time only creates the series."""
        self._operator.watches.labels(resource).inc(1 if again else 0)

    def checked(self, *, key: Key, check: str, outcome: str, seconds: float | None, at: float) -> None:
        """Counts a run of a check; `at` is Unix time."""
        service = self._service
        for label in Outcome:
            service.checks.inc(key, check, label, by=float(label == outcome))
        if outcome == Outcome.PASS:
            service.last_success.set(key, at, check)
        if seconds is not None:
            self._time(service.check_seconds, key, seconds, check)

    def observed(self, *, key: Key, picture: ServiceFigures) -> None:
        """Sets the metrics of a service to the state that a pass observed."""
        service = self._service
        service.health.one_of(key, HealthState, picture.health)
        service.phase.one_of(key, Phase, picture.phase)
        service.firing.all_of(key, {severity: float(picture.firing.get(severity, 0)) for severity in Severity})
        service.degraded.all_of(key, {name: float(on) for name, on in picture.flags.items()})
        if picture.available is not None:
            service.available.set(key, float(picture.available))
        service.wanted.set(key, picture.wanted)
        service.pods.set(key, picture.pods)
        for family, value in (
            (service.objective, picture.objective),
            (service.window, picture.window),
            (service.availability, picture.availability),
            (service.budget, picture.budget),
            (service.recovery, picture.recovery),
            (service.recovery_objective, picture.recovery_objective),
        ):
            family.set(key, value)
        self._begin(key, picture)

    def restarted(self, *, key: Key, result: str, seconds: float) -> None:
        """Counts a restart that has ended, and records its duration."""
        self._service.restarts.inc(key, result)
        self._time(self._service.restart_seconds, key, seconds)

    def released(self, *, key: Key, result: str, seconds: float) -> None:
        """Counts a rollout that has ended, and records its duration."""
        self._service.rollouts.inc(key, result)
        self._time(self._service.rollout_seconds, key, seconds)

    def measured(self, *, key: Key, sent: int, failed: int) -> None:
        """Counts the requests that were sent during a restart or rollout of a service; `failed` of them failed."""
        self._service.requests.inc(key, "ok", by=sent - failed)
        self._service.requests.inc(key, "failed", by=failed)

    def switched(self, *, key: Key, flag: str, on: bool) -> None:
        """Counts a change of a flag."""
        self._service.switches.inc(key, flag, "on" if on else "off")

    def fired(self, *, key: Key, severity: str) -> None:
        """Counts an alert that began."""
        self._service.fired.inc(key, severity)

    def delivered(self, *, receiver: Key, result: str, seconds: float) -> None:
        """Counts a message that was delivered or not, and records the duration of the attempt."""
        for label in _DELIVERED:
            self._receiver.deliveries.inc(receiver, label, by=float(label == result))
        self._time(self._receiver.delivery_seconds, receiver, seconds, of=self._timed_receivers)

    def notified(self, *, receiver: Key, seconds: float) -> None:
        """Records the time from the beginning of an alert until a receiver was first notified of it."""
        self._time(self._receiver.latency, receiver, max(seconds, 0.0), of=self._timed_receivers)

    def receiver(self, *, receiver: Key, open_: int, dead: int, suppressed: int) -> None:
        """Sets the metrics of a receiver to the numbers in its status."""
        self._receiver.conversations.set(receiver, open_)
        self._receiver.dead.set(receiver, dead)
        self._receiver.suppressed.set(receiver, suppressed)
        for label in _DELIVERED:
            self._receiver.deliveries.inc(receiver, label, by=0)
        for metric in (self._receiver.delivery_seconds, self._receiver.latency):
            self._own(metric, receiver, of=self._timed_receivers)

    def forget(self, key: Key) -> None:
        """Removes every series of a service; an unknown service is no error."""
        self._service.families.forget(key)
        for metric, labels in self._timed.pop(key, ()):
            metric.remove(*labels)

    def forget_receiver(self, receiver: Key) -> None:
        """Removes every series of a receiver."""
        self._receiver.families.forget(receiver)
        for metric, labels in self._timed_receivers.pop(receiver, ()):
            metric.remove(*labels)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All series as text, and its content type, according to the Accept header. Slow: call it in a thread."""
        encode, content_type = choose_encoder(accept)
        return encode(_WithoutCreated(self.registry)), content_type

    def _begin(self, key: Key, picture: ServiceFigures) -> None:
        """Creates the counters at 0, so that the first change is visible as a change."""
        service = self._service
        for family, words in (
            (service.restarts, RestartOutcome),
            (service.rollouts, RolloutOutcome),
            (service.fired, Severity),
            (service.requests, ("ok", "failed")),
        ):
            for word in words:
                family.inc(key, word, by=0)
        for flag in picture.flags:
            for to in ("on", "off"):
                service.switches.inc(key, flag, to, by=0)

    def _time(
        self,
        metric: Histogram,
        key: Key,
        seconds: float,
        *more: str,
        of: dict[Key, set[tuple[Histogram, tuple[str, ...]]]] | None = None,
    ) -> None:
        self._own(metric, key, *more, of=self._timed if of is None else of).observe(seconds)

    def _own(
        self, metric: Histogram, key: Key, *more: str, of: dict[Key, set[tuple[Histogram, tuple[str, ...]]]]
    ) -> Histogram:
        """The histogram of one resource, which is removed with the resource."""
        labels = (key.namespace, key.name, *more)
        of.setdefault(key, set()).add((metric, labels))
        return metric.labels(*labels)


class _WithoutCreated(Collector):
    """Leaves out the `_created` samples, which double the series; the library's own switch is global."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
