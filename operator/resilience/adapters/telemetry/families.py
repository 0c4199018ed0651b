"""Series of resources that come and go, kept as bare numbers: a child object of the library for each would be most of
the memory of an operator that looks after a thousand services. What a resource brought in goes with it.
"""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from resilience.core.model.observation import Key

Labels = tuple[str, ...]


class Family:
    """One metric with the labels namespace and name, and perhaps more."""

    def __init__(self, kind: type[GaugeMetricFamily | CounterMetricFamily], name: str, text: str, *more: str) -> None:
        self.name = name
        self._kind, self._text, self._labels = kind, text, ("namespace", "name", *more)
        self._values: dict[Key, dict[Labels, float]] = {}

    def set(self, key: Key, value: float | None, *labels: str) -> None:
        """The value now; None: there is none."""
        values = self._values.setdefault(key, {})
        if value is None:
            values.pop(labels, None)
        else:
            values[labels] = value

    def one_of(self, key: Key, words: Iterable[str], current: str) -> None:
        """1 for the word that is true, 0 for the others."""
        self._values[key] = {(word,): float(word == current) for word in words}

    def all_of(self, key: Key, values: Mapping[str, float]) -> None:
        """These and no others."""
        self._values[key] = {(word,): value for word, value in values.items()}

    def inc(self, key: Key, *labels: str, by: float = 1.0) -> None:
        """Counts; by 0 lets a series begin, so that its first change can be seen as one."""
        values = self._values.setdefault(key, {})
        values[labels] = values.get(labels, 0.0) + by

    def forget(self, key: Key) -> None:
        """The resource is gone."""
        self._values.pop(key, None)

    def declared(self) -> tuple[str, str, Labels, str]:
        """Name, type, labels and meaning."""
        counts = self._kind is CounterMetricFamily
        return f"{self.name}_total" if counts else self.name, "counter" if counts else "gauge", self._labels, self._text

    def metric(self) -> Metric:
        """All of its samples."""
        family = self._kind(self.name, self._text, labels=self._labels)
        # Copies: it is read in a thread of its own.
        for key, values in list(self._values.items()):
            for labels, value in list(values.items()):
                family.add_metric((key.namespace, key.name, *labels), value)
        return family


class Families(Collector):
    """Families of one kind of resource, for a registry."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._all: list[Family] = []

    def gauge(self, name: str, text: str, *more: str) -> Family:
        """A family of values."""
        return self._add(Family(GaugeMetricFamily, f"{self._prefix}_{name}", text, *more))

    def counter(self, name: str, text: str, *more: str) -> Family:
        """A family of counters; `_total` is added to the name."""
        return self._add(Family(CounterMetricFamily, f"{self._prefix}_{name}", text, *more))

    def declared(self) -> Iterator[tuple[str, str, Labels, str]]:
        """Name, type, labels and meaning of each."""
        for each in self._all:
            yield each.declared()

    def forget(self, key: Key) -> None:
        """Removes every series of a resource; one that is unknown is no error."""
        for each in self._all:
            each.forget(key)

    def collect(self) -> Iterator[Metric]:
        for each in self._all:
            yield each.metric()

    def _add(self, family: Family) -> Family:
        self._all.append(family)
        return family
