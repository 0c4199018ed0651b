"""Alerts as Alertmanager writes them: the body of its API (v2) and that of its webhooks (version 4).

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
    """What POST /api/v2/alerts takes. Without an end in the future Alertmanager would choose one."""
    firing = [
        {
            "labels": labels_of(each, origin),
            "annotations": annotations_of(each, origin),
            "startsAt": format_time(each.since),
            "endsAt": format_time(now + expires),
            **({"generatorURL": url} if (url := origin.dashboard_of(each)) else {}),
        }
        for each in message.firing
    ]
    over = [
        # An end before the beginning, by a clock that was set back, would have the whole batch refused.
        {
            "labels": labels_of_ended(each, origin),
            "startsAt": format_time(min(each.since, each.at)),
            "endsAt": format_time(each.at),
        }
        for each in message.ended
    ]
    return [*over, *firing]


def webhook(message: Message, origin: Origin, *, receiver: str) -> Json:
    """The body of a webhook. Every alert of the conversation is in it, those that are over too."""
    alerts = [*(_firing(each, origin) for each in message.firing), *(_over(each, origin) for each in message.ended)]
    group = ", ".join(f'{name}="{value}"' for name, value in message.group)
    return {
        "version": "4",
        "groupKey": f"{{{group}}}:{message.conversation}",
        "truncatedAlerts": message.more,
        "status": "resolved" if message.over else "firing",
        "receiver": receiver,
        "groupLabels": dict(message.group),
        "commonLabels": _common([each["labels"] for each in alerts]),
        "commonAnnotations": _common([each["annotations"] for each in alerts]),
        "externalURL": "",
        "alerts": alerts,
    }


def annotations_of(alert: Alert, origin: Origin) -> dict[str, str]:
    """What an alert says."""
    found = {
        "summary": catalogue.CATALOGUE[alert.name].title,
        "description": described(alert),
        "action": catalogue.action(alert.name, namespace=alert.key.namespace, service=alert.key.name),
        "runbook_url": origin.runbook(alert.name),
        "dashboard_url": origin.dashboard_of(alert),
        "trace_id": alert.trace,
    }
    return {name: value for name, value in found.items() if value}


def labels_of(alert: Alert, origin: Origin) -> dict[str, str]:
    """The labels of an alert; those of several clusters may meet where it is told."""
    return {**alert.all_labels(), **({"cluster": origin.cluster} if origin.cluster else {})}


def labels_of_ended(ended: Ended, origin: Origin) -> dict[str, str]:
    """The labels that an alert was told with."""
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
    """The same for as long as it fires, however bad it gets."""
    return hashlib.sha256(f"{origin.cluster} {identity}".encode()).hexdigest()[:16]


def _common(each: Sequence[dict[str, str]]) -> dict[str, str]:
    if not each:
        return {}
    return {name: value for name, value in each[0].items() if all(other.get(name) == value for other in each)}
