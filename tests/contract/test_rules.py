"""The rules as Prometheus' own tools read and evaluate them."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.__main__ import rules
from monitoring.rule import INSTALLATION
from tests.support.counts import PROOF
from tests.support.host import needs

PROMTOOL = "promtool"
pytestmark = needs(PROMTOOL)
SHOP = '{namespace="shop", name="checkout"}'
# What a rule knows the replicas of an installation by.
REPLICA = {"resilience_operator_build_info": "1x5000"}


def promtool(*words: str) -> str:
    done = subprocess.run([PROMTOOL, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("path", rules())
def test_they_can_be_read(path: Path) -> None:
    assert "SUCCESS" in promtool("check", "rules", str(path))


def run(folder: Path, series: dict[str, str], *cases: dict[str, Any]) -> None:
    """promtool evaluates every rule over these series, a value a minute."""
    test = {
        "rule_files": [str(path) for path in rules()],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in (REPLICA | series).items()],
                "alert_rule_test": list(cases),
            }
        ],
    }
    (folder / "test.yaml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", str(folder / "test.yaml"))


def expected(name: str, at: str, *alerts: dict[str, Any]) -> dict[str, Any]:
    return {"eval_time": at, "alertname": name, "exp_alerts": list(alerts)}


def burning(severity: str, long: str, short: str, rate: str) -> dict[str, Any]:
    labels = {"severity": severity, "long": long, "short": short, "service": "checkout"}
    said = (
        f"shop/checkout uses its error budget up {rate} times faster than it may, over {long} and still over {short}."
    )
    return {
        "exp_labels": {**labels, "namespace": "shop", "name": "checkout"},
        "exp_annotations": {
            "summary": "The error budget of shop/checkout is used up too fast",
            "description": said,
            "action": "Put off what is risky, releases first; kubectl get rsvc -o yaml has the outages in status.slo.",
            "runbook": "docs/runbooks/ErrorBudgetBurns.md",
        },
    }


OBJECTIVE = {f"resilience_service_slo_objective_ratio{SHOP}": "0.999x5000"}


def test_a_service_that_is_well_burns_nothing(tmp_path: Path) -> None:
    series = {f"resilience_service_available{SHOP}": "1x5000", **OBJECTIVE}
    last = "3d" if PROOF else "1d"
    run(tmp_path, series, expected("ErrorBudgetBurns", "1h"), expected("ErrorBudgetBurns", last))


def test_a_total_outage_is_a_page_by_both_fast_rules(tmp_path: Path) -> None:
    """Ten minutes of sixty are a share of 0.1667: 167 times what 99.9 % allows."""
    series = {f"resilience_service_available{SHOP}": "1x720 0x9 1x600", **OBJECTIVE}
    run(
        tmp_path,
        series,
        expected("ErrorBudgetBurns", "719m"),
        expected(
            "ErrorBudgetBurns",
            "730m",
            burning("critical", "1h", "5m", "163.9"),
            burning("critical", "6h", "30m", "27.7"),
            burning("warning", "1d", "2h", "13.68"),
            burning("warning", "3d", "6h", "13.68"),
        ),
        # Over for more than an hour: nobody is paged any more.
        expected(
            "ErrorBudgetBurns",
            "800m",
            burning("warning", "1d", "2h", "12.48"),
            burning("warning", "3d", "6h", "12.48"),
        ),
        expected("ErrorBudgetBurns", "1300m"),
    )


def test_two_leaders_and_two_replicas_are_one_series(tmp_path: Path) -> None:
    """The leader changes: the series of the one before ends, and nothing is counted twice."""
    first, second = '{namespace="shop", name="checkout", pod="a"}', '{namespace="shop", name="checkout", pod="b"}'
    series = {
        f"resilience_service_available{first}": "1x30 _x100",
        f"resilience_service_available{second}": "_x30 1x100",
        **OBJECTIVE,
    }
    run(tmp_path, series, expected("ErrorBudgetBurns", "60m"))


def operator(name: str, **annotations: str) -> dict[str, Any]:
    return {"exp_annotations": {"runbook": f"docs/runbooks/{name}.md", **annotations}}


@pytest.mark.parametrize(
    ("name", "series", "quiet", "loud"),
    [
        ("ResilienceOperatorDown", {"resilience_operator_build_info": "1x10 _x60"}, "10m", "25m"),
        ("ResilienceOperatorNoLeader", {"resilience_operator_leader": "1x10 0x60"}, "11m", "15m"),
        (
            "ResilienceOperatorTwoLeaders",
            {'resilience_operator_leader{pod="a"}': "1x60", 'resilience_operator_leader{pod="b"}': "0x10 1x50"},
            "10m",
            "15m",
        ),
        (
            "ResilienceOperatorErrors",
            {'resilience_operator_reconciles_total{result="error"}': "0x10 1 2 3x60"},
            "10m",
            "14m",
        ),
        (
            "ResilienceOperatorApiErrors",
            {
                'resilience_operator_api_requests_total{verb="GET", code="200"}': "0+10x100",
                'resilience_operator_api_requests_total{verb="GET", code="503"}': "0x10 0+10x90",
            },
            "10m",
            "40m",
        ),
        (
            "ResilienceOperatorSlow",
            {
                'resilience_operator_event_to_action_seconds_bucket{le="5"}': "0+10x10 100x90",
                'resilience_operator_event_to_action_seconds_bucket{le="60"}': "0+10x100",
                'resilience_operator_event_to_action_seconds_bucket{le="+Inf"}': "0+10x100",
            },
            "9m",
            "60m",
        ),
        (
            "ResilienceOperatorLoopLags",
            {'resilience_operator_loop_lag_seconds{work="redis"}': "0x10 1x60"},
            "12m",
            "15m",
        ),
        # One long delay is seen for a minute.
        ("ResilienceOperatorLoopLags", {'resilience_operator_loop_lag_seconds{work="pass"}': "0 9 0 1x60"}, "3m", "8m"),
        (
            "ResilienceWatchesRestart",
            {'resilience_operator_watch_restarts_total{resource="deployments"}': "0x20 0+5x80"},
            "20m",
            "50m",
        ),
        ("ResiliencePinsFought", {"resilience_operator_pins_lost_total": "0x20 0+1x80"}, "20m", "40m"),
        (
            "ResilienceAlertsUndelivered",
            {'resilience_receiver_dead_letters{namespace="shop", name="team"}': "0x10 3x60"},
            "12m",
            "17m",
        ),
    ],
)
def test_an_operator_that_is_gone_or_ill_is_told(
    tmp_path: Path, name: str, series: dict[str, str], quiet: str, loud: str
) -> None:
    """promtool compares whole alerts; here it matters which fire, so their number is asked for."""
    count = f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'
    test = {
        "rule_files": [str(path) for path in rules()],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": each, "values": values} for each, values in (REPLICA | series).items()],
                "promql_expr_test": [
                    {"expr": count, "eval_time": quiet, "exp_samples": []},
                    {"expr": count, "eval_time": loud, "exp_samples": [{"labels": "{}", "value": 1}]},
                ],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", str(tmp_path / "test.yaml"))


def replica(instance: str, *, name: str, leads: int = 1, phase: str = "1x120", out: bool = False) -> dict[str, str]:
    """The series of one replica, which looks after a service of that name."""
    service = f'{{namespace="shop", name="{name}", instance="{instance}"}}'
    return {
        f'resilience_operator_build_info{{installation="{instance}/operator", instance="{instance}"}}': "1x120",
        f'resilience_operator_leader{{instance="{instance}"}}': f"{leads}x120",
        f"resilience_service_phase{service}": phase,
        f"resilience_service_available{service}": "0x120" if out else "1x120",
        f"resilience_service_slo_objective_ratio{service}": "0.999x120",
    }


def quiet(folder: Path, *, of: str, series: dict[str, str]) -> None:
    """No rule fires, as the chart of installation `of` has them; else promtool's words are the error."""
    files = []
    for path in rules():
        files.append(folder / f"{of}-{path.name}")
        files[-1].write_text(path.read_text().replace(INSTALLATION, f'installation="{of}/operator"'))
    test = {
        "rule_files": [str(path) for path in files],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": each, "values": values} for each, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": "90m",
                        "exp_samples": [],
                    }
                ],
            }
        ],
    }
    (folder / f"{of}.yaml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", str(folder / f"{of}.yaml"))


def test_an_installation_does_not_page_for_another_one(tmp_path: Path) -> None:
    # given: two installations; nobody leads in one of them, and its service is out
    ill = replica("b", name="other", leads=0, out=True)
    series = {**replica("a", name="checkout"), **ill, 'resilience_operator_pins_lost_total{instance="b"}': "0+1x120"}
    # then: the rules of the first one tell nothing
    quiet(tmp_path, of="a", series=series)
    # and those of the second one do
    with pytest.raises(AssertionError) as caught:
        quiet(tmp_path, of="b", series=series)
    for name in ("ErrorBudgetBurns", "ResilienceOperatorNoLeader", "ResiliencePinsFought"):
        assert f'alertname="{name}"' in str(caught.value)


def test_two_leaders_of_two_installations_are_right(tmp_path: Path) -> None:
    series = {**replica("a", name="checkout"), **replica("b", name="other")}
    run(tmp_path, series, expected("ResilienceOperatorTwoLeaders", "60m"))


def test_an_installation_is_told_when_another_one_looks_after_its_services(tmp_path: Path) -> None:
    shared = {**replica("a", name="checkout"), **replica("b", name="checkout", phase="_x60 1x60")}
    alone = {**replica("a", name="checkout"), **replica("b", name="other")}
    quiet(tmp_path, of="a", series=alone)
    with pytest.raises(AssertionError, match="ResilienceServicesShared"):
        quiet(tmp_path, of="a", series=shared)
