"""Delivers to Microsoft Teams through a Workflows webhook: an adaptive card of at most 28 KiB.

https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from resilience.adapters.net.credentials import Credentials
from resilience.adapters.receivers import wording
from resilience.adapters.receivers.post import Poster
from resilience.adapters.receivers.wording import Origin
from resilience.api.reasons import Severity
from resilience.api.receivers import TeamsReceiver
from resilience.core.alerting.message import Message
from resilience.core.health.dependencies import secret
from resilience.core.model.observation import Key
from resilience.ports import Receipt

LIMIT: Final = 28 * 1024
_COLOURS: Final = {Severity.CRITICAL: "attention", Severity.WARNING: "warning", Severity.INFO: "accent"}


@dataclass(frozen=True, slots=True)
class Teams:
    """Posts one card for each message."""

    poster: Poster
    credentials: Credentials
    origin: Origin

    async def deliver(
        self, spec: TeamsReceiver, key: Key, message: Message, *, timeout: timedelta, fresh: bool
    ) -> Receipt:
        """Raises DeliveryFailed."""
        url = await self.credentials.value(secret(spec.url_from, key.namespace), fresh=fresh)
        await self.poster.post(url, card(message, self.origin), timeout=timeout, proxy=spec.proxy)
        return Receipt()


def card(message: Message, origin: Origin) -> bytes:
    """The body, within Teams' limit: the last parts are dropped until it fits."""
    parts = _parts(message, origin)
    while len(body := json.dumps(_envelope(message, origin, parts)).encode()) > LIMIT and parts:
        parts = parts[:-1]
    return body


def _envelope(message: Message, origin: Origin, parts: list[dict[str, Any]]) -> dict[str, Any]:
    colour = "good" if message.over else _COLOURS[message.severity]
    title = {
        "type": "TextBlock",
        "text": _plain(wording.headline(message, origin)),
        "weight": "bolder",
        "size": "medium",
        "color": colour,
        "wrap": True,
    }
    first = message.firing[0] if message.firing else None
    urls = [("Runbook", origin.runbook(first.name)), ("Dashboard", origin.dashboard_of(first))] if first else []
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": [title, *parts],
        "actions": [{"type": "Action.OpenUrl", "title": name, "url": url} for name, url in urls if url],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": content}
    return {"type": "message", "attachments": [attachment]}


def _parts(message: Message, origin: Origin) -> list[dict[str, Any]]:
    parts = []
    for line in wording.lines(message, origin):
        parts.append(_text(f"{line.sign} {line.head}", weight="bolder"))
        parts.append(_text(f"{line.text} — {line.action}"))
    parts.extend(_text(remark, isSubtle=True) for remark in wording.rest(message))
    return parts


def _text(text: str, **style: object) -> dict[str, Any]:
    return {"type": "TextBlock", "text": _plain(text), "wrap": True, **style}


def _plain(text: str) -> str:
    """Text without Markdown, which cards render: output of a check must not hide a link."""
    return text.replace("[", "(").replace("]", ")").replace("*", "·").replace("_", "\\_")
