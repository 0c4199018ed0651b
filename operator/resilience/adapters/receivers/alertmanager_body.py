"""Alerts in Alertmanager's formats: the body of its API (v2) and the body of its webhooks (version 4).

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml,
https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from resilience.adapters.receivers.wording import Origin, described
from resilience.api.reasons import AlertName
from resilience.api.status_base import format_time
from resilience.core.alerting import catalogue
from resilience.core.alerting.alert import Alert
from resilience.core.alerting.message import Ended, Message
from resilience.core.model.observation import Key

_NEVER: Final = "0001-01-01T00:00:00Z"
Json = dict[str, Any]


def api_alerts(message: Message, origin: Origin, *, now: datetime, expires: timedelta) -> list[Json]:
    """Body of POST /api/v2/alerts. Firing alerts get an end in the future; without one Alertmanager would choose it."""
    firing = [
        {
            "labels": labels_of(alert, origin),
            "annotations": annotations_of(alert, origin),
            "startsAt": format_time(alert.since),
            "endsAt": format_time(now + expires),
            **({"generatorURL": url} if (url := origin.dashboard_of(alert)) else {}),
        }
        for alert in message.firing
    ]
    over = [
        # After the clock was set back, the end may precede the start; Alertmanager would refuse the whole batch.
        {
            "labels": labels_of_ended(ended, origin),
            "startsAt": format_time(min(ended.since, ended.at)),
            "endsAt": format_time(ended.at),
        }
        for ended in message.ended
    ]
    return [*over, *firing]


def webhook(message: Message, origin: Origin, *, receiver: str) -> Json:
    """The body of a webhook. It contains every alert of the conversation, resolved alerts too."""
    alerts = [*(_firing(alert, origin) for alert in message.firing), *(_over(ended, origin) for ended in message.ended)]
    group = ", ".join(f'{name}="{value}"' for name, value in message.group)
    return {
        "version": "4",
        "groupKey": f"{{{group}}}:{message.conversation}",
        "truncatedAlerts": message.more,
        "status": "resolved" if message.over else "firing",
        "receiver": receiver,
        "groupLabels": dict(message.group),
        "commonLabels": _common([alert["labels"] for alert in alerts]),
        "commonAnnotations": _common([alert["annotations"] for alert in alerts]),
        "externalURL": "",
        "alerts": alerts,
    }


def annotations_of(alert: Alert, origin: Origin) -> dict[str, str]:
    """Annotations of an alert; empty ones are left out."""
    annotations = {
        "summary": catalogue.CATALOGUE[alert.name].title,
        "description": described(alert),
        "action": catalogue.action(alert.name, namespace=alert.key.namespace, service=alert.key.name),
        "runbook_url": origin.runbook(alert.name),
        "dashboard_url": origin.dashboard_of(alert),
        "trace_id": alert.trace,
    }
    return {name: value for name, value in annotations.items() if value}


def labels_of(alert: Alert, origin: Origin) -> dict[str, str]:
    """Labels of an alert, with the cluster if it has a name: a receiver may get alerts of several clusters."""
    return {**alert.all_labels(), **({"cluster": origin.cluster} if origin.cluster else {})}


def labels_of_ended(ended: Ended, origin: Origin) -> dict[str, str]:
    """Labels that an alert had when it was delivered."""
    namespace, service, name, subject = ended.identity.split("/", 3)
    key = Key(namespace, service)
    return labels_of(Alert(key, AlertName(name), ended.severity, ended.since, "", subject, ended.cause), origin)


def _firing(alert: Alert, origin: Origin) -> Json:
    return {
        "status": "firing",
        "labels": labels_of(alert, origin),
        "annotations": annotations_of(alert, origin),
        "startsAt": format_time(alert.since),
        "endsAt": _NEVER,
        "generatorURL": origin.dashboard_of(alert),
        "fingerprint": _fingerprint(alert.identity, origin),
    }


def _over(ended: Ended, origin: Origin) -> Json:
    name = AlertName(ended.identity.split("/", 3)[2])
    annotations = {"summary": catalogue.CATALOGUE[name].title, "runbook_url": origin.runbook(name)}
    return {
        "status": "resolved",
        "labels": labels_of_ended(ended, origin),
        "annotations": {key: value for key, value in annotations.items() if value},
        "startsAt": format_time(ended.since),
        "endsAt": format_time(ended.at),
        "generatorURL": "",
        "fingerprint": _fingerprint(ended.identity, origin),
    }


def _fingerprint(identity: str, origin: Origin) -> str:
    """Fingerprint of an alert; it does not change while the alert fires, even when the severity does."""
    return hashlib.sha256(f"{origin.cluster} {identity}".encode()).hexdigest()[:16]


def _common(mappings: Sequence[dict[str, str]]) -> dict[str, str]:
    if not mappings:
        return {}
    return {name: value for name, value in mappings[0].items() if all(other.get(name) == value for other in mappings)}
