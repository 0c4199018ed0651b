"""A service's own status of its alerts: what fires, who is notified, and whether the receivers can be reached."""

import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from resilience.api.alerts import Alerts
from resilience.api.names import ANNOTATION_EXPLAIN_ALERT
from resilience.api.reasons import AlertName, ConditionType, Reason, Severity
from resilience.api.status import Effective, Status
from resilience.api.status_alerts import AlertsStatus
from resilience.core.alerting import routing, rules, silences
from resilience.core.alerting.alert import Alert, of_status
from resilience.core.alerting.catalogue import CATALOGUE
from resilience.core.alerting.routing import Aim, Pace
from resilience.core.model import conditions, requests
from resilience.core.model.conditions import ConditionVerdict
from resilience.core.model.decision import Event, StepResult
from resilience.core.model.observation import Alerting, Key, Observation, Resource

EXPLAIN: Final = "explain-alert"
_PAIR: Final = re.compile(r'\s*([a-z]+)\s*=\s*"?([^",]*)"?\s*(?:,|$)')
_NOBODY: Final = (
    "nobody is notified of alerts: create an AlertReceiver and name it in spec.alerts.defaultReceiver; until then see"
    " status.alerts and Events"
)


def pace(spec: Alerts, effective: Effective | None) -> Pace:
    """Frequency of notifications about this service."""
    return Pace(
        group_wait=effective.group_wait if effective is not None else Pace().group_wait,
        group_interval=spec.group_interval,
        suppress_for=effective.suppress_for if effective is not None else Pace().suppress_for,
        repeat_after=spec.repeat_after,
    )


def aims(key: Key, alerts: Alerts, status: Status, *, otherwise: Key | None) -> tuple[Aim, ...]:
    """All alerts that fire, with their receivers."""
    firing = (of_status(key, entry) for entry in status.alerts.firing)
    own_pace = pace(alerts, status.effective)
    return tuple(aim for alert in firing for aim in routing.aims(alert, alerts, pace=own_pace, otherwise=otherwise))


def reconcile(resource: Resource, status: Status, observation: Observation, now: datetime) -> StepResult:
    """The alerts of a pass. They come last, because they follow from everything else in the status."""
    explained, events = explain(resource, status, observation, now)
    reported, wait = report(resource, explained, observation, now)
    return StepResult(reported, events=events, requeue_after=wait)


def report(resource: Resource, status: Status, seen: Observation, now: datetime) -> tuple[Status, timedelta | None]:
    """The status with its alerts and the condition AlertsDelivered, and the wait until time alone changes them."""
    spec = resource.spec.alerts if resource.spec is not None else Alerts()
    alerts = rules.evaluate(resource, status, seen.workload, now)
    before = status.alerts
    named = []
    for alert in alerts.firing:
        to = routing.aims(of_status(resource.key, alert), spec, pace=Pace(), otherwise=seen.alerting.default)
        named.append(alert.model_copy(update={"receivers": [_name(aim.receiver, resource.key) for aim in to]}))
    status = status.model_copy(update={"alerts": before.model_copy(update={"firing": named})})
    if not seen.alerting.known:
        # The previous condition stays.
        kept = [
            condition for condition in resource.status.conditions if condition.type == ConditionType.ALERTS_DELIVERED
        ]
        return status.model_copy(update={"conditions": [*status.conditions, *kept]}), alerts.wait
    return _with_delivery(resource, status, spec, seen.alerting, now), alerts.wait


def _with_delivery(resource: Resource, status: Status, spec: Alerts, alerting: Alerting, now: datetime) -> Status:
    """The status with the known state of the receivers."""
    verdict = _delivered(resource, spec, alerting)
    failing = {_name(receiver, resource.key) for receiver in alerting.troubles}
    alerts = AlertsStatus(
        firing=status.alerts.firing,
        suppressed=alerting.suppressed,
        undelivered=sum(not alert.held and not failing.isdisjoint(alert.receivers) for alert in status.alerts.firing),
        last_error=verdict.message[:1024] if verdict.status is False else "",
    )
    updated = conditions.update(resource.status.conditions, [verdict], generation=resource.generation, now=now)
    explanation = status.explanation + (f" Alerts: {verdict.message}." if verdict.status is False else "")
    update = {"alerts": alerts, "conditions": [*status.conditions, *updated], "explanation": explanation[:4096]}
    return status.model_copy(update=update)


def explain(resource: Resource, status: Status, seen: Observation, now: datetime) -> tuple[Status, tuple[Event, ...]]:
    """The status and Event that answer who would be notified of an alert, once for each value of the annotation."""
    value = resource.annotations.get(ANNOTATION_EXPLAIN_ALERT, "")
    answered = next((handled.value for handled in status.handled if handled.request == EXPLAIN), None)
    if not value or value[:1024] == answered:
        return status, ()
    try:
        alert = _alert(resource.key, value, now)
    except ValueError as error:
        note = str(error)
    else:
        spec = resource.spec.alerts if resource.spec is not None else Alerts()
        silence = silences.silence_of(alert, spec, now)
        alert = replace(alert, held=silences.words(silence) if silence is not None else "")
        to = routing.aims(alert, spec, pace=Pace(), otherwise=seen.alerting.default)
        labels = ", ".join(f'{name}="{label}"' for name, label in alert.all_labels().items())
        note = f"{{{labels}}} goes to {routing.explain(to, now)}"
    handled = requests.noted(status.handled, EXPLAIN, value, now=now, note=note)
    return status.model_copy(update={"handled": handled}), (Event(Reason.ALERT_ROUTE, note),)


def _alert(key: Key, text: str, now: datetime) -> Alert:
    """An alert with these labels.

    Raises:
        ValueError: the text is no list of labels, or names an alert or a severity that does not exist.
    """
    labels = {pair[1]: pair[2] for pair in _PAIR.finditer(text)}
    if not labels:
        raise ValueError(f'{text[:200]!r} names no labels; write alertname="DependencyLost", severity="critical"')
    names, severities = [str(known) for known in AlertName], [str(known) for known in Severity]
    name = labels.get("alertname", str(AlertName.SERVICE_UNHEALTHY))
    if name not in names:
        raise ValueError(f"there is no alert {name!r}; there are {', '.join(names)}")
    severity = labels.get("severity", str(CATALOGUE[AlertName(name)].severity))
    if severity not in severities:
        raise ValueError(f"there is no severity {severity!r}; there are {', '.join(severities)}")
    subject = next((labels[label] for label in ("check", "flag", "receiver") if label in labels), "")
    return Alert(key, AlertName(name), Severity(severity), now, "", subject, labels.get("cause", ""))


def _delivered(resource: Resource, spec: Alerts, alerting: Alerting) -> ConditionVerdict:
    kind, key = ConditionType.ALERTS_DELIVERED, resource.key
    named = [Key(key.namespace, route.receiver) for route in spec.routes]
    default = Key(key.namespace, spec.default_receiver) if spec.default_receiver is not None else alerting.default
    receivers = list(dict.fromkeys([*named, *([default] if default is not None else [])]))
    if not receivers:
        return ConditionVerdict(kind, None, Reason.NOBODY_TO_TELL, _NOBODY)
    failing = [(receiver, *alerting.troubles[receiver]) for receiver in receivers if receiver in alerting.troubles]
    if failing:
        words = "; ".join(f"{_name(receiver, key)}: {message}" for receiver, _, message in failing)
        return ConditionVerdict(kind, False, failing[0][1], words)
    return ConditionVerdict(
        kind, True, Reason.DELIVERED, f"notified: {', '.join(_name(receiver, key) for receiver in receivers)}"
    )


def _name(receiver: Key, key: Key) -> str:
    return receiver.name if receiver.namespace == key.namespace else str(receiver)
