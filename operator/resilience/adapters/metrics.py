"""The Metrics port with prometheus_client, on a registry of its own.

Labels are words from fixed sets, and namespace, name and check of a resource: no pod names, messages or addresses.
What a resource brought in goes with it (`forget`), so that the number of series does not grow with churn.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from resilience.api.reasons import HealthState, Severity
from resilience.core.observation import Key

_PASS_BUCKETS: Final = (0.005, 0.025, 0.1, 0.5, 2.0, 10.0)
# Few, for there is one set per check.
_CHECK_BUCKETS: Final = (0.01, 0.05, 0.25, 1.0, 5.0)
_ROLLOUT_BUCKETS: Final = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
_TOLD_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0)
# No name of an object can begin so.
_RECEIVER: Final = "receiver/"
_API_BUCKETS: Final = (0.01, 0.05, 0.25, 1.0, 5.0, 15.0)


class PrometheusMetrics:
    """Implements ports.Metrics, and what only adapters and the program count."""

    def __init__(self, *, version: str) -> None:
        self.registry = CollectorRegistry()
        self._series: dict[Key, set[tuple[MetricWrapperBase, tuple[str, ...]]]] = {}
        self._make_operator(version)
        self._make_service()
        self._make_receiver()
        ProcessCollector(registry=self.registry)

    def _make_operator(self, version: str) -> None:
        prefix, registry = "resilience_operator", self.registry
        self._passes = Counter(f"{prefix}_reconciles", "Passes over a resource.", ["result"], registry=registry)
        self._pass_seconds = Histogram(
            f"{prefix}_reconcile_duration_seconds", "Length of a pass.", registry=registry, buckets=_PASS_BUCKETS
        )
        self._depth = Gauge(f"{prefix}_queue_depth", "Resources that wait for a pass.", registry=registry)
        self._refusals = Counter(
            f"{prefix}_guard_refusals", "Writes that the availability guard refused.", ["reason"], registry=registry
        )
        self._pins = Counter(
            f"{prefix}_pins_lost", "Pins of a release that somebody took off a Service.", registry=registry
        )
        self._leader = Gauge(f"{prefix}_leader", "1 while this replica may write, else 0.", registry=registry)
        self._api_requests = Counter(
            f"{prefix}_api_requests", "Requests to the Kubernetes API.", ["verb", "code"], registry=registry
        )
        self._api_seconds = Histogram(
            f"{prefix}_api_request_duration_seconds",
            "Length of a request to the Kubernetes API.",
            ["verb"],
            registry=registry,
            buckets=_API_BUCKETS,
        )
        self._told = Histogram(
            f"{prefix}_flag_propagation_seconds",
            "Time from the decision on a flag until a channel has it.",
            ["channel"],
            registry=registry,
            buckets=_TOLD_BUCKETS,
        )
        build = Gauge(f"{prefix}_build_info", "Always 1; the label tells the version.", ["version"], registry=registry)
        build.labels(version).set(1)

    def _make_service(self) -> None:
        prefix, registry = "resilience_service", self.registry
        resource = ["namespace", "name"]
        self._checks = Counter(
            f"{prefix}_check_results", "Runs of a health check.", [*resource, "check", "outcome"], registry=registry
        )
        self._check_seconds = Histogram(
            f"{prefix}_check_duration_seconds",
            "Time until a health check's answer.",
            [*resource, "check"],
            registry=registry,
            buckets=_CHECK_BUCKETS,
        )
        self._restarts = Counter(f"{prefix}_restarts", "Restarts ended.", [*resource, "result"], registry=registry)
        self._rollouts = Counter(f"{prefix}_rollouts", "Releases ended.", [*resource, "result"], registry=registry)
        self._rollout_seconds = Histogram(
            f"{prefix}_rollout_duration_seconds",
            "Time from a new template to the end of its release.",
            resource,
            registry=registry,
            buckets=_ROLLOUT_BUCKETS,
        )
        self._health = Gauge(
            f"{prefix}_health_state",
            "1 for the state that the service's health is in, 0 for the others.",
            [*resource, "state"],
            registry=registry,
        )

        self._flag = Gauge(
            f"{prefix}_degraded", "1 while a degradation flag is on, else 0.", [*resource, "flag"], registry=registry
        )
        self._switches = Counter(
            f"{prefix}_degradation_transitions",
            "Changes of a degradation flag.",
            [*resource, "flag", "to"],
            registry=registry,
        )

    def _make_receiver(self) -> None:
        prefix, registry = "resilience_receiver", self.registry
        resource = ["namespace", "name"]
        self._firing = Gauge(
            "resilience_service_alerts_firing",
            "Alerts that fire, by severity.",
            [*resource, "severity"],
            registry=registry,
        )
        self._deliveries = Counter(
            f"{prefix}_deliveries", "Messages told or not told to a receiver.", [*resource, "result"], registry=registry
        )
        self._delivery_seconds = Histogram(
            f"{prefix}_delivery_duration_seconds",
            "Time that one delivery took.",
            resource,
            registry=registry,
            buckets=_CHECK_BUCKETS,
        )
        self._conversations = Gauge(
            f"{prefix}_conversations", "Conversations that are open at a receiver.", resource, registry=registry
        )
        self._dead = Gauge(
            f"{prefix}_dead_letters", "Alerts that a receiver could not be told of.", resource, registry=registry
        )
        self._suppressed = Gauge(
            f"{prefix}_suppressed_repeats",
            "Repeats that a receiver was not told of, in conversations that go on.",
            resource,
            registry=registry,
        )

    def reconciled(self, *, seconds: float, result: str) -> None:
        """One pass is over."""
        self._passes.labels(result).inc()
        self._pass_seconds.observe(seconds)

    def refused(self, *, reason: str) -> None:
        """The guard said no."""
        self._refusals.labels(reason).inc()

    def checked(self, *, key: Key, check: str, outcome: str, seconds: float | None) -> None:
        """A check ran."""
        self._checks.labels(*self._own(self._checks, key, check, outcome)).inc()
        if seconds is not None:
            self._check_seconds.labels(*self._own(self._check_seconds, key, check)).observe(seconds)

    def restarted(self, *, key: Key, result: str) -> None:
        """A restart ended."""
        self._restarts.labels(*self._own(self._restarts, key, result)).inc()

    def released(self, *, key: Key, result: str, seconds: float) -> None:
        """A release ended."""
        self._rollouts.labels(*self._own(self._rollouts, key, result)).inc()
        self._rollout_seconds.labels(*self._own(self._rollout_seconds, key)).observe(seconds)

    def pins_lost(self, *, count: int) -> None:
        """Somebody took pins of a release away."""
        self._pins.inc(count)

    def queue(self, *, depth: int) -> None:
        """How many keys wait."""
        self._depth.set(depth)

    def health(self, *, key: Key, state: HealthState) -> None:
        """The service's health, as status has it."""
        for each in HealthState:
            self._health.labels(*self._own(self._health, key, each)).set(each is state)

    def flags(self, *, key: Key, on: Mapping[str, bool]) -> None:
        """The flags as status has them; those that are no more vanish."""
        owned = {labels for metric, labels in self._series.get(key, ()) if metric is self._flag}
        for labels in owned - {(key.namespace, key.name, name) for name in on}:
            self._series[key].discard((self._flag, labels))
            self._flag.remove(*labels)
        for name, value in on.items():
            self._flag.labels(*self._own(self._flag, key, name)).set(value)
            for to in ("on", "off"):
                # From the beginning, so that the first change can be seen as one.
                self._switches.labels(*self._own(self._switches, key, name, to))

    def switched(self, *, key: Key, flag: str, on: bool) -> None:
        """A flag changed."""
        self._switches.labels(*self._own(self._switches, key, flag, "on" if on else "off")).inc()

    def told(self, *, channel: str, seconds: float) -> None:
        """A channel has a change of a flag."""
        self._told.labels(channel).observe(max(seconds, 0.0))

    def alerts(self, *, key: Key, firing: Mapping[Severity, int]) -> None:
        """What fires of a service."""
        for severity in Severity:
            self._firing.labels(*self._own(self._firing, key, severity)).set(firing.get(severity, 0))

    def delivered(self, *, receiver: Key, result: str, seconds: float) -> None:
        """A message was told, or was not."""
        owner = _of_receiver(receiver)
        for each in ("delivered", "failed"):
            # From the beginning, so that the first failure can be seen as one.
            self._deliveries.labels(*self._own(self._deliveries, owner, each))
        self._deliveries.labels(*self._own(self._deliveries, owner, result)).inc()
        self._delivery_seconds.labels(*self._own(self._delivery_seconds, owner)).observe(seconds)

    def receiver(self, *, receiver: Key, open_: int, dead: int, suppressed: int) -> None:
        """What a receiver's status says in figures."""
        owner = _of_receiver(receiver)
        values = ((self._conversations, open_), (self._dead, dead), (self._suppressed, suppressed))
        for gauge, value in values:
            gauge.labels(*self._own(gauge, owner)).set(value)

    def forget_receiver(self, receiver: Key) -> None:
        """Removes every series of a receiver."""
        self.forget(_of_receiver(receiver))

    def leader(self, held: bool) -> None:
        """Whether this replica may write."""
        self._leader.set(held)

    def api_request(self, verb: str, code: str, seconds: float) -> None:
        """A request to the Kubernetes API ended; `code` is its status, or a word when there was none."""
        self._api_requests.labels(verb, code).inc()
        self._api_seconds.labels(verb).observe(seconds)

    def forget(self, key: Key) -> None:
        """Removes every series of a resource; one that is unknown is no error."""
        for metric, labels in self._series.pop(key, ()):
            metric.remove(*labels)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All series as text, and its content type, as the Accept header asks. Takes long: call it in a thread."""
        encode, content_type = choose_encoder(accept)
        return encode(_WithoutCreated(self.registry)), content_type

    def _own(self, metric: MetricWrapperBase, key: Key, *labels: str) -> tuple[str, ...]:
        values = (key.namespace, key.name.removeprefix(_RECEIVER), *labels)
        self._series.setdefault(key, set()).add((metric, values))
        return values


def _of_receiver(receiver: Key) -> Key:
    """Whose the series of a receiver are: a service may have the same name."""
    return Key(receiver.namespace, _RECEIVER + receiver.name)


class _WithoutCreated(Collector):
    """Leaves out the `_created` samples, which double the series; the library's own switch is global."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
