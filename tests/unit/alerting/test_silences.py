"""Silences: alerts that nobody is notified of, until when, and what status says of them."""

from datetime import timedelta
from typing import Any

import pytest

from resilience.api import parts
from resilience.api.alerts import Silence
from resilience.api.names import ANNOTATION_EXPLAIN_ALERT
from resilience.api.reasons import HealthState, Phase
from resilience.api.status import CheckStatus, HealthStatus, Status
from resilience.api.status_alerts import AlertsStatus
from resilience.api.status_base import format_time
from resilience.core.alerting import rules, service_status
from resilience.core.alerting.message import Manner, Message
from resilience.core.alerting.notifications import NotificationPlan, delivered, plan
from resilience.core.alerting.routing import Pace
from resilience.core.alerting.rules import FiringAlerts
from tests.support.factories import NOW, make_resource, make_seen, make_spec, make_workload

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
CHECKS: list[dict[str, Any]] = [{"name": name, "scope": "Pod", "usage": {"memory": {}}} for name in ("memory", "other")]
SILENCED = f"silenced by Ada until {format_time(NOW + HOUR)}: known leak, TICKET-7"


def silence(*matchers: str, ends_in: timedelta = HOUR) -> dict[str, Any]:
    until = format_time(NOW + ends_in)
    return {"matchers": list(matchers), "author": "Ada", "reason": "known leak, TICKET-7", "until": until}


def pass_at(at: timedelta, *silences: dict[str, Any], before: FiringAlerts | None = None) -> FiringAlerts:
    """The alerts that fire while two checks warn since NOW."""
    spec = make_spec(health={"checks": CHECKS}, alerts={"silences": list(silences), "defaultReceiver": "team"})
    warnings = [CheckStatus(name=each["name"], state=HealthState.WARNING, reason="R", message="m") for each in CHECKS]
    status = Status(phase=Phase.RUNNING, health=HealthStatus(state=HealthState.WARNING, checks=warnings))
    if before is not None:
        status = status.model_copy(update={"alerts": AlertsStatus(firing=list(before.firing))})
    return rules.evaluate(make_resource(spec), status, make_workload(), NOW + at)


def held(found: FiringAlerts) -> dict[str, str]:
    return {alert.subject: alert.held for alert in found.firing}


def first(at: timedelta, *silences: dict[str, Any]) -> FiringAlerts:
    """A pass when the alerts have lasted for long enough."""
    return pass_at(at, *silences, before=pass_at(timedelta()))


def due(found: FiringAlerts, *silences: dict[str, Any], at: timedelta, known: Any = ()) -> NotificationPlan:
    spec = make_spec(alerts={"silences": list(silences), "defaultReceiver": "team"})
    status = Status(alerts=AlertsStatus(firing=list(found.firing)))
    aims = service_status.aims(make_resource(spec).key, spec.alerts, status, otherwise=None)
    return plan(
        known, aims, looked_at=lambda _: True, fires=lambda _: True, manner=Manner(send_resolved=True), now=NOW + at
    )


def told(messages: tuple[Message, ...]) -> list[str]:
    return sorted(alert.subject for message in messages for alert in message.firing)


@pytest.mark.parametrize(
    ("matchers", "expected"),
    [
        (['check="memory"'], {"memory": SILENCED, "other": ""}),
        (['alertname="UsageHigh"', "check=~mem.*"], {"memory": SILENCED, "other": ""}),
        (['severity="critical"'], {"memory": "", "other": ""}),
        (['namespace="shop"'], {"memory": SILENCED, "other": SILENCED}),
    ],
)
def test_all_matchers_have_to_match(matchers: list[str], expected: dict[str, str]) -> None:
    assert held(first(HOUR / 2, silence(*matchers))) == expected


def test_status_names_the_silence_that_lasts_longest() -> None:
    short, long = silence('check="memory"', ends_in=HOUR / 2 + MINUTE), silence('check="memory"')
    assert held(first(HOUR / 2, short, long))["memory"] == SILENCED


def test_a_silence_ends_by_itself() -> None:
    ours = silence('check="memory"')
    during = first(HOUR - MINUTE, ours)
    assert during.wait == MINUTE, "the next pass is at its end"
    assert told(due(during, ours, at=HOUR - MINUTE).messages) == ["other"]
    after = pass_at(HOUR, ours, before=during)
    assert held(after) == {"memory": "", "other": ""}
    assert told(due(after, ours, at=HOUR).messages) == ["memory", "other"]
    assert {alert.since for alert in after.firing} == {NOW}


def test_an_alert_that_people_know_of_already_is_not_repeated_but_its_end_is_told() -> None:
    before = first(HOUR / 2)
    (message,) = due(before, at=HOUR / 2).messages
    known = delivered((), message, handle="", pace=Pace(), now=NOW + HOUR / 2)
    ours = silence('namespace="shop"', ends_in=HOUR * 24)
    later = pass_at(HOUR * 12, ours, before=before)
    assert due(later, ours, at=HOUR * 12, known=known).messages == ()
    assert told(due(pass_at(HOUR * 12, before=before), at=HOUR * 12, known=known).messages) == ["memory", "other"]
    (end,) = due(FiringAlerts(()), ours, at=HOUR * 12, known=known).messages
    assert end.over


def test_explain_names_the_silence() -> None:
    spec = make_spec(alerts={"silences": [silence('alertname="ServiceDown"')], "defaultReceiver": "team"})
    resource = make_resource(spec, annotations={ANNOTATION_EXPLAIN_ALERT: 'alertname="ServiceDown"'})
    status, _ = service_status.explain(resource, Status(), make_seen(), NOW)
    assert status.handled[0].note.endswith(f"default receiver, but {SILENCED}")


def test_a_time_without_a_zone_is_utc() -> None:
    ours = Silence.model_validate({**silence('check="memory"'), "until": "2000-01-01T00:00:00"})
    assert held(first(HOUR / 2, ours.model_dump(mode="json")))["memory"] == ""
    assert ours.until.utcoffset() == timedelta()


def test_a_silence_that_cannot_be_read_silences_nobody_and_the_others_hold() -> None:
    raw = make_spec(alerts={"defaultReceiver": "team"}).to_api()
    raw["alerts"]["silences"] = [silence('check="memory"'), silence("service=~(")]
    reading = parts.read(raw, {})
    assert reading.spec is not None
    assert [each.matchers for each in reading.spec.alerts.silences] == [['check="memory"']]
    assert [problem.words.startswith("spec.alerts.silences[1].matchers[0]") for problem in reading.problems] == [True]
