"""Rules and dashboards: up to date, of metrics that exist, with a page for each alert, and readable at night."""

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from monitoring import grafana, operator_rules, slo_rules
from monitoring.__main__ import PAGES, files
from monitoring.expressions import asked, filled
from monitoring.rule import Alert, Group, Record
from resilience.adapters.telemetry.metrics import PrometheusMetrics

RUNBOOKS = Path(__file__).resolve().parents[2] / "docs" / "runbooks"
GROUPS = [*slo_rules.groups(), *operator_rules.groups()]
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def known() -> set[str]:
    """Every name that can be asked for: of series, of a histogram's parts, of recorded ones."""
    found = {rule.name for group in GROUPS for rule in group.rules if isinstance(rule, Record)}
    for each in PrometheusMetrics(version="1").declared:
        parts = ("_bucket", "_sum", "_count") if each.kind == "histogram" else ("",)
        found.update(each.name + part for part in parts)
    return found


def selected(expression: str) -> set[str]:
    """The names of the series that an expression asks for."""
    promql_parser.parse(expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|on) \([^)]*\)", " ", expression)
    return {name for name in _NAME.findall(bare) if name.startswith(("resilience_", "resilience:"))}


@pytest.mark.parametrize("path", files())
def test_files_are_up_to_date(path: Path) -> None:
    assert path.read_text() == files()[path], "python -m monitoring"


@pytest.mark.parametrize("group", GROUPS, ids=[group.name for group in GROUPS])
def test_every_metric_exists(group: Group) -> None:
    for rule in group.rules:
        names = selected(rule.expression)
        assert names
        assert names <= known()


@pytest.mark.parametrize("shortened", [1.0, 60.0, 600.0])
def test_shortened_rules_are_the_same_rules(shortened: float) -> None:
    whole, short = slo_rules.groups(), slo_rules.groups(shortened=shortened)
    assert [[each.name for each in group.rules] for group in whole] == [
        [each.name for each in group.rules] for group in short
    ]
    alerts = [[each for each in group.rules if isinstance(each, Alert)] for group in (*whole, *short)]
    assert alerts[0] == alerts[1], "alerts are over recorded series, whatever their windows"


def test_every_alert_says_what_to_do_and_has_a_page() -> None:
    alerts = [each for group in GROUPS for each in group.rules if isinstance(each, Alert)]
    assert len(alerts) > 10
    for each in alerts:
        assert each.summary and each.description and each.action
        assert each.severity in ("critical", "warning", "info")
        assert (RUNBOOKS / f"{each.name}.md").exists(), each.name


PAGES_OF_GRAFANA = {name: json.loads(grafana.render(page())) for name, page in PAGES.items()}


def panels(name: str) -> list[dict[str, Any]]:
    return [each for each in PAGES_OF_GRAFANA[name]["panels"] if each["type"] != "row"]


@pytest.mark.parametrize("name", PAGES)
def test_every_panel_can_be_read_by_somebody_who_has_never_seen_it(name: str) -> None:
    """The rules of https://github.com/grafana/dashboard-linter, and those of this project."""
    page = PAGES_OF_GRAFANA[name]
    assert page["title"] and page["description"] and page["uid"] == f"resilience-{name}"
    assert page["editable"] is False
    ids = [each["id"] for each in page["panels"]]
    assert len(set(ids)) == len(ids)
    for each in panels(name):
        where = f"{name}: {each['title']}"
        assert each["title"] and len(each["description"]) > 20, where
        assert each["datasource"]["uid"] == "${datasource}", where
        assert each["fieldConfig"]["defaults"]["unit"], where
        assert each["targets"], where
        assert all(target["datasource"]["uid"] == "${datasource}" for target in each["targets"]), where
        if each["type"] in ("timeseries", "state-timeline"):
            assert each["options"]["legend"]["showLegend"] is True, where
            assert all(target["legendFormat"] for target in each["targets"]), where
        if len(each["targets"]) > 1 and each["type"] != "table":
            legends = [target["legendFormat"] for target in each["targets"]]
            assert len(set(legends)) == len(legends), where


@pytest.mark.parametrize("name", PAGES)
def test_panels_lie_side_by_side(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for each in PAGES_OF_GRAFANA[name]["panels"]:
        place = each["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert taken.isdisjoint(cells), each["title"]
        taken |= cells


@pytest.mark.parametrize("name", PAGES)
def test_what_can_be_chosen_comes_from_the_data(name: str) -> None:
    variables = {each["name"]: each for each in PAGES_OF_GRAFANA[name]["templating"]["list"]}
    assert list(variables)[:2] == ["datasource", "cluster"]
    assert variables["datasource"]["query"] == "prometheus"
    for each in list(variables.values())[1:]:
        assert each["datasource"]["uid"] == "${datasource}"
        assert selected(each["query"].removeprefix("label_values(").rpartition(",")[0]) <= known()
    wanted = {"fleet": {"namespace"}, "service": {"namespace", "service"}, "operator": set[str]()}[name]
    assert wanted <= variables.keys()


@pytest.mark.parametrize("name", PAGES)
def test_every_expression_is_of_metrics_that_exist_and_knows_the_cluster(name: str) -> None:
    for each in asked(filled(PAGES[name](), namespace="shop", service="checkout")):
        where = f"{each.panel}: {each.expression}"
        assert "$" not in each.expression, where
        assert selected(each.expression) <= known(), where
        assert 'cluster=~".*"' in each.expression, where
    rates = [query for row in PAGES[name]().rows for panel in row.panels for query in panel.queries]
    fixed = re.compile(r"rate\([^\]]*\[[0-9]")
    assert not any(fixed.search(query.expression) for query in rates), "rates use $__rate_interval"


def test_a_service_leads_to_its_own_page() -> None:
    (table,) = [each for each in panels("fleet") if each["type"] == "table"]
    (link,) = [
        value["value"][0]["url"]
        for override in table["fieldConfig"]["overrides"]
        for value in override["properties"]
        if value["id"] == "links"
    ]
    assert link.startswith("/d/resilience-service?")
    columns = [override["matcher"]["options"] for override in table["fieldConfig"]["overrides"]]
    assert "Error budget left" in columns and "Health" in columns
