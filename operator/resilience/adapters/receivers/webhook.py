"""Posts to a webhook, with the body of Alertmanager's webhooks, signed if a key is given."""

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.login import with_login
from resilience.adapters.receivers import alertmanager_body
from resilience.adapters.receivers.post import JSON, Poster
from resilience.adapters.receivers.wording import Origin
from resilience.api.receivers import WebhookReceiver
from resilience.core.alerting.message import Message
from resilience.core.health.dependencies import secret, trust
from resilience.core.model.observation import Key
from resilience.ports import Receipt


@dataclass(frozen=True, slots=True)
class Webhook:
    """`X-Resilience-Delivery` is the same when a message is sent again, so that receivers can detect duplicates."""

    poster: Poster
    credentials: Credentials
    origin: Origin
    now: Callable[[], datetime]

    async def deliver(
        self, spec: WebhookReceiver, key: Key, message: Message, *, timeout: timedelta, fresh: bool
    ) -> Receipt:
        """Raises DeliveryFailed."""
        url = await self.credentials.value(secret(spec.url_from, key.namespace), fresh=fresh)
        signing_key = await self.credentials.value(secret(spec.hmac_from, key.namespace), fresh=fresh)
        tls = await self.credentials.tls(trust(spec.tls, key.namespace), fresh=fresh)
        document = alertmanager_body.webhook(message, self.origin, receiver=key.name)
        body = json.dumps(document).encode()
        given = await self.poster.access(spec, key.namespace, timeout=timeout, fresh=fresh)
        own = [JSON, ("X-Resilience-Delivery", message.delivery), ("X-Resilience-Kind", str(message.kind))]
        if signing_key:
            own.extend(signature(signing_key, body, at=self.now()))
        headers = with_login(given, own)
        name = spec.tls.server_name or "" if spec.tls is not None else ""
        await self.poster.post(url, body, timeout=timeout, headers=headers, tls=tls, server_name=name, proxy=spec.proxy)
        return Receipt()


def signature(secret: str, body: bytes, *, at: datetime) -> list[tuple[str, str]]:
    """Headers that let a receiver verify the sender of the body, and detect a replay of an old one."""
    timestamp = str(int(at.timestamp()))
    signed = hmac.new(secret.strip().encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return [("X-Resilience-Timestamp", timestamp), ("X-Resilience-Signature", f"sha256={signed}")]
