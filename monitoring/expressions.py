"""Every expression of the dashboards with Grafana's variables filled in, as a Prometheus can evaluate it."""

from collections.abc import Iterator
from dataclasses import dataclass

from monitoring.panel import Page


@dataclass(frozen=True, slots=True)
class Asked:
    """An expression, and where it stands."""

    dashboard: str
    panel: str
    expression: str


def asked(
    page: Page, *, namespace: str = ".*", service: str = ".*", rate: str = "1m", span: str = "5m"
) -> Iterator[Asked]:
    """All expressions of a dashboard, for these choices; `rate` and `span` are what Grafana would choose."""
    values = {
        "$__rate_interval": rate,
        "$__range": span,
        "$cluster": ".*",
        "$namespace": namespace,
        "$service": service,
    }
    for row in page.rows:
        for panel in row.panels:
            for query in panel.queries:
                text = query.expression
                for name, value in values.items():
                    text = text.replace(name, value)
                yield Asked(page.title, panel.title, text)
