"""Series of resources that come and go, kept as bare numbers.

A child object of the library for each series would be most of the memory of an operator that manages a thousand
services. The series of a resource are removed with it.
"""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from resilience.core.model.observation import Key

Labels = tuple[str, ...]


class Family:
    """One metric with the labels namespace and name, and optional further labels."""

    def __init__(self, kind: type[GaugeMetricFamily | CounterMetricFamily], name: str, text: str, *more: str) -> None:
        self.name = name
        self._kind, self._text, self._labels = kind, text, ("namespace", "name", *more)
        self._values: dict[Key, dict[Labels, float]] = {}

    def set(self, key: Key, value: float | None, *labels: str) -> None:
        """Sets the current value; None removes the series."""
        values = self._values.setdefault(key, {})
        if value is None:
            values.pop(labels, None)
        else:
            values[labels] = value

    def one_of(self, key: Key, words: Iterable[str], current: str) -> None:
        """Sets 1 for the current word and 0 for the others."""
        self._values[key] = {(word,): float(word == current) for word in words}

    def all_of(self, key: Key, values: Mapping[str, float]) -> None:
        """Sets these values and removes all others of the resource."""
        self._values[key] = {(word,): value for word, value in values.items()}

    def inc(self, key: Key, *labels: str, by: float = 1.0) -> None:
        """Adds to a counter; 0 creates the series, so that its first change is visible as a change."""
        values = self._values.setdefault(key, {})
        values[labels] = values.get(labels, 0.0) + by

    def forget(self, key: Key) -> None:
        """Removes the series of a resource."""
        self._values.pop(key, None)

    def declared(self) -> tuple[str, str, Labels, str]:
        """Name, type, labels and meaning."""
        counts = self._kind is CounterMetricFamily
        return f"{self.name}_total" if counts else self.name, "counter" if counts else "gauge", self._labels, self._text

    def metric(self) -> Metric:
        """The metric with all its samples."""
        family = self._kind(self.name, self._text, labels=self._labels)
        # Iterate over copies, because metrics are read in a separate thread.
        for key, values in list(self._values.items()):
            for labels, value in list(values.items()):
                family.add_metric((key.namespace, key.name, *labels), value)
        return family


class Families(Collector):
    """The families of one kind of resource, as a collector for a registry."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._all: list[Family] = []

    def gauge(self, name: str, text: str, *more: str) -> Family:
        """A new family of gauges."""
        return self._add(Family(GaugeMetricFamily, f"{self._prefix}_{name}", text, *more))

    def counter(self, name: str, text: str, *more: str) -> Family:
        """A new family of counters; `_total` is added to the name."""
        return self._add(Family(CounterMetricFamily, f"{self._prefix}_{name}", text, *more))

    def declared(self) -> Iterator[tuple[str, str, Labels, str]]:
        """Name, type, labels and meaning of each family."""
        for family in self._all:
            yield family.declared()

    def forget(self, key: Key) -> None:
        """Removes every series of a resource; an unknown resource is no error."""
        for family in self._all:
            family.forget(key)

    def collect(self) -> Iterator[Metric]:
        for family in self._all:
            yield family.metric()

    def _add(self, family: Family) -> Family:
        self._all.append(family)
        return family
