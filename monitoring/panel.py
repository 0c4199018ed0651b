"""Panels of dashboards: their content in the project's own terms; `grafana` converts them to Grafana's form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

# Every selector begins with this. Without a label `cluster` on the series, `.*` matches as well.
EVERYWHERE: Final = 'cluster=~"$cluster"'
FLEET: Final = f'{EVERYWHERE}, namespace=~"$namespace"'
ONE: Final = f'{EVERYWHERE}, namespace="$namespace", name="$service"'

GOOD: Final = "green"
BAD: Final = "red"
SHORT: Final = "orange"
PLAIN: Final = "blue"


class Kind(StrEnum):
    """Form of a panel."""

    STAT = "stat"
    SERIES = "series"
    TIMELINE = "timeline"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and the legend of its series."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: the field of the answer that it shows, and its format."""

    source: str
    title: str
    unit: str = "string"
    steps: tuple[tuple[float | None, str], ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    link: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel. `steps`: lower bound and colour, the first from None. `words`: text and colour by value."""

    kind: Kind
    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    width: int = 8
    height: int = 7
    steps: tuple[tuple[float | None, str], ...] = ((None, PLAIN),)
    words: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    columns: Sequence[Column] = ()
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A heading with its panels, from left to right."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice of the viewer; `everything` adds a choice for all. `metric`: the metric whose label has the values."""

    name: str
    title: str
    metric: str
    label: str
    everything: bool = True


@dataclass(frozen=True, slots=True)
class Page:
    """A dashboard."""

    uid: str
    title: str
    description: str
    variables: Sequence[Variable]
    rows: Sequence[Row]


def quantile(share: float, histogram: str, selector: str, *by: str) -> str:
    """A quantile of a histogram over all replicas."""
    labels = ", ".join((*by, "le"))
    return (
        f"histogram_quantile({share:g}, sum by ({labels}) (rate({histogram}_bucket{{{selector}}}[$__rate_interval])))"
    )


def rate(counter: str, selector: str, *by: str) -> str:
    """Rate of a counter per second, over all replicas."""
    return f"sum by ({', '.join(by)}) (rate({counter}{{{selector}}}[$__rate_interval]))"


def increase(counter: str, selector: str, *by: str) -> str:
    """Increase of a counter within the interval of one point, over all replicas."""
    return f"sum by ({', '.join(by)}) (increase({counter}{{{selector}}}[$__rate_interval]))"


def or_zero(expression: str, label: str) -> str:
    """The expression, or 0 while it has no series, where that means that nothing exists. The label is then `none`."""
    none = f'label_replace(vector(0), "{label}", "none", "", "")'
    return f"({expression}) or ({none} unless on () ({expression}))"


def each(metric: str, selector: str, *by: str) -> str:
    """A value for each service, from the replica that leads."""
    return f"max by ({', '.join(by)}) ({metric}{{{selector}}})"
