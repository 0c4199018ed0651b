"""The dashboards with Grafana's variables filled in, as a Prometheus can evaluate them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from monitoring.panel import Page, Query


@dataclass(frozen=True, slots=True)
class Asked:
    """An expression, with its dashboard and panel."""

    dashboard: str
    panel: str
    expression: str


def filled(page: Page, *, namespace: str = ".*", service: str = ".*", rate: str = "1m", span: str = "5m") -> Page:
    """The dashboard for these choices; `rate` and `span` are the values that Grafana would choose."""
    values = {
        "$__rate_interval": rate,
        "$__range": span,
        "$cluster": ".*",
        "$namespace": namespace,
        "$service": service,
    }

    def fill(query: Query) -> Query:
        text = query.expression
        for name, value in values.items():
            text = text.replace(name, value)
        return replace(query, expression=text)

    rows = [
        replace(row, panels=[replace(panel, queries=[fill(query) for query in panel.queries]) for panel in row.panels])
        for row in page.rows
    ]
    return replace(page, rows=rows)


def asked(page: Page) -> Iterator[Asked]:
    """All expressions of a dashboard."""
    for row in page.rows:
        for panel in row.panels:
            for query in panel.queries:
                yield Asked(page.title, panel.title, query.expression)
