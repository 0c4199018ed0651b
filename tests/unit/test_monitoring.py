"""Rules: up to date, of metrics that exist, with a page for each alert."""

import re
from pathlib import Path

import promql_parser
import pytest

from monitoring import operator_rules, slo_rules
from monitoring.__main__ import files
from monitoring.rule import Alert, Group, Record
from resilience.adapters.metrics import PrometheusMetrics

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
    assert whole[1].rules == short[1].rules, "alerts are over recorded series, whatever their windows"


def test_every_alert_says_what_to_do_and_has_a_page() -> None:
    alerts = [each for group in GROUPS for each in group.rules if isinstance(each, Alert)]
    assert len(alerts) > 10
    for each in alerts:
        assert each.summary and each.description and each.action
        assert each.severity in ("critical", "warning", "info")
        assert (RUNBOOKS / f"{each.name}.md").exists(), each.name
