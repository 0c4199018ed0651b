"""A real Alertmanager: it takes what it is told, believes it, and its own tool routes as we do."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resilience.api.alerts import Alerts
from resilience.api.reasons import AlertName, Severity
from resilience.core.alerting import routing
from resilience.core.alerting.alert import Alert
from resilience.core.alerting.routing import Pace
from resilience.core.model.observation import Key
from tests.support import alertmanager
from tests.support.alertmanager import quoted
from tests.support.counts import count
from tests.support.factories import NOW
from tests.support.host import needs
from tests.support.messages import Post, make_alert, make_message

pytestmark = needs(alertmanager.PROGRAM)


async def test_it_believes_what_it_is_told_until_it_is_over(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with alertmanager.running(tmp_path) as url:
        post, spec = Post(now=now), {"alertmanager": {"urls": [url, "http://127.0.0.1:9"]}}
        alert = make_alert(AlertName.DEPENDENCY_LOST, subject="cache", cause="redis redis:6379", since=now)
        many = [make_alert(subject=f"check-{number}", since=now) for number in range(150)]
        await post.send(make_message(alert, *many), **spec)
        found = alertmanager.alerts(url)
        assert len(found) == 151, "one of two replicas is enough, and all batches arrive"
        (lost,) = [each for each in found if each["labels"]["alertname"] == "DependencyLost"]
        assert lost["labels"] == {
            "alertname": "DependencyLost",
            "namespace": "shop",
            "service": "checkout",
            "severity": "critical",
            "check": "cache",
            "cause": "redis redis:6379",
        }
        assert lost["annotations"]["summary"] == "A dependency is lost"
        ends = datetime.fromisoformat(lost["endsAt"])
        assert timedelta(minutes=3) < ends - now < timedelta(minutes=5), "gone with the operator, it ends by itself"
        over = make_message(ended=(alert, *many))
        await post.send(over, **spec)
        await asyncio.to_thread(alertmanager.wait_for_none, url)


async def test_no_replica_is_a_failure() -> None:
    trouble = await Post().fails(make_message(make_alert()), alertmanager={"urls": ["http://127.0.0.1:9"]})
    assert "refused" in trouble.message
    assert not trouble.permanent


LABELS = st.sampled_from(["severity", "alertname", "check", "service", "cause", "absent"])
VALUES = st.sampled_from(["critical", "warning", "ServiceUnhealthy", "db", "checkout", "", 'a "b" \\ c', "redis x:1"])
PATTERNS = st.sampled_from([".*", "crit.*|warning", "db|cache", "[a-z]+", "", "(?i)DB", "check.{3}", "^db$", r"\w+ \w"])


MATCHERS = st.one_of(
    st.builds(lambda label, sign, value: f"{label}{sign}{quoted(value)}", LABELS, st.sampled_from(["=", "!="]), VALUES),
    st.builds(
        lambda label, sign, value: f"{label} {sign} {quoted(value)}", LABELS, st.sampled_from(["=~", "!~"]), PATTERNS
    ),
    st.builds(lambda label, value: f"{label}={value}", LABELS, st.sampled_from(["critical", "db", "ServiceDown"])),
)
ROUTES = st.lists(
    st.fixed_dictionaries(
        {
            "matchers": st.lists(MATCHERS, max_size=3),
            "receiver": st.sampled_from(["one", "two", "three"]),
            "continue": st.booleans(),
        }
    ),
    max_size=5,
)
ALERTS = st.builds(
    lambda name, severity, subject, cause: Alert(Key("shop", "checkout"), name, severity, NOW, "", subject, cause),
    st.sampled_from([AlertName.SERVICE_UNHEALTHY, AlertName.SERVICE_DOWN, AlertName.DEPENDENCY_LOST]),
    st.sampled_from(list(Severity)),
    st.sampled_from(["", "db", "cache", "DB"]),
    st.sampled_from(["", "redis x:1", 'a "b" \\ c']),
)


@given(routes=ROUTES, alert=ALERTS)
@settings(max_examples=count(60, proof=3000), deadline=None, suppress_health_check=list(HealthCheck))
def test_routes_choose_whom_alertmanager_would_choose(
    routes: list[dict[str, Any]], alert: Alert, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = tmp_path_factory.getbasetemp() / "routes.yml"
    receivers = [{"name": name} for name in ("one", "two", "three", "default")]
    config.write_text(yaml.dump({"route": {"receiver": "default", "routes": routes}, "receivers": receivers}))
    alerts = Alerts.model_validate({"routes": routes, "defaultReceiver": "default"})
    chosen = [each.receiver.name for each in routing.aims(alert, alerts, pace=Pace(), otherwise=None)]
    theirs = alertmanager.route(config, alert.all_labels())
    # Two routes to one receiver are told once.
    assert chosen == list(dict.fromkeys(theirs))
