"""Delivers to PagerDuty through Events API v2: https://developer.pagerduty.com/docs/send-alert-event.

The conversation is the dedup_key: all its messages belong to one incident, and its end resolves the incident.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from resilience.adapters.net.credentials import Credentials
from resilience.adapters.receivers import wording
from resilience.adapters.receivers.post import Poster
from resilience.adapters.receivers.wording import Origin
from resilience.api.reasons import Severity
from resilience.api.receivers import PagerDutyReceiver, Region
from resilience.api.status_base import format_time
from resilience.core.alerting.message import Message
from resilience.core.health.dependencies import secret
from resilience.core.model.observation import Key
from resilience.ports import Receipt

URLS: Final[Mapping[Region, str]] = {
    Region.US: "https://events.pagerduty.com/v2/enqueue",
    Region.EU: "https://events.eu.pagerduty.com/v2/enqueue",
}
# Limits of the API: the summary's length, and the size of the whole event (512 KiB).
_SUMMARY: Final = 1024
_DETAILS: Final = 20
_SEVERITIES: Final = {Severity.CRITICAL: "critical", Severity.WARNING: "warning", Severity.INFO: "info"}


@dataclass(frozen=True, slots=True)
class PagerDuty:
    """Sends events. `urls`: the address of the Events API in each region."""

    poster: Poster
    credentials: Credentials
    origin: Origin
    urls: Mapping[Region, str]

    async def deliver(
        self, spec: PagerDutyReceiver, key: Key, message: Message, *, timeout: timedelta, fresh: bool
    ) -> Receipt:
        """Raises DeliveryFailed."""
        routing_key = await self.credentials.value(secret(spec.routing_key_from, key.namespace), fresh=fresh)
        event = event_of(message, self.origin, routing_key=routing_key.strip(), source=str(key))
        body = json.dumps(event).encode()
        await self.poster.post(self.urls[spec.region], body, timeout=timeout, proxy=spec.proxy)
        return Receipt()


def event_of(message: Message, origin: Origin, *, routing_key: str, source: str) -> dict[str, Any]:
    """The event for a message."""
    cluster = f"{origin.cluster}-" if origin.cluster else ""
    base = {"routing_key": routing_key, "dedup_key": f"resilience-{cluster}{message.conversation}"}
    if message.over:
        return {**base, "event_action": "resolve"}
    first = message.firing[0]
    links = [(origin.runbook(first.name), "Runbook"), (origin.dashboard_of(first), "Dashboard")]
    return {
        **base,
        "event_action": "trigger",
        "client": "Resilience Operator",
        "payload": {
            "summary": wording.headline(message, origin)[:_SUMMARY],
            "source": str(first.key) if message.firing else source,
            "severity": _SEVERITIES[message.severity],
            "timestamp": format_time(message.began_at),
            "component": first.key.name,
            "group": first.key.namespace,
            "class": str(first.name),
            "custom_details": _details(message, origin),
        },
        "links": [{"href": href, "text": text} for href, text in links if href],
    }


def _details(message: Message, origin: Origin) -> dict[str, str]:
    details = {line.head: f"{line.text} To do: {line.action}" for line in wording.lines(message, origin)[:_DETAILS]}
    rest = wording.rest(message)
    return {**details, **({"more": "; ".join(rest)} if rest else {})}
