"""Alertmanager by its API: all its replicas are told, for any of them may be cut off from the others."""

import asyncio
import json
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.failures import NetworkFailure
from resilience.adapters.net.http import no_answer
from resilience.adapters.receivers import alertmanager_body
from resilience.adapters.receivers.post import JSON, Poster
from resilience.adapters.receivers.wording import Origin
from resilience.api.receivers import AlertmanagerReceiver
from resilience.core.alerting.alertmanager_feed import EXPIRES
from resilience.core.alerting.delivery import DeliveryFailure
from resilience.core.alerting.message import Message
from resilience.core.health.dependencies import secret, trust
from resilience.core.model.headers import parse_headers
from resilience.core.model.observation import Key
from resilience.ports import DeliveryFailed, Receipt, Refused

# One request for each: bodies stay small, and one odd alert spoils no other batch.
BATCH: Final = 100
_PEERS: Final = 16


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """Tells every replica; it is told when one of them took it."""

    poster: Poster
    credentials: Credentials
    origin: Origin
    now: Callable[[], datetime]

    async def deliver(
        self, spec: AlertmanagerReceiver, key: Key, message: Message, *, timeout: timedelta, fresh: bool
    ) -> Receipt:
        """Raises DeliveryFailed when no replica took it."""
        tls = await self.credentials.tls(trust(spec.tls, key.namespace), fresh=fresh)
        text = await self.credentials.value(secret(spec.headers_from, key.namespace), fresh=fresh)
        headers = [JSON, *parse_headers(text)]
        alerts = alertmanager_body.api_alerts(message, self.origin, now=self.now(), expires=EXPIRES)
        peers = await self._peers(spec, key, timeout)
        name = _server_name(spec, key)
        answers = await asyncio.gather(
            *(self._tell(url, alerts, headers, timeout, tls, name) for url in peers), return_exceptions=True
        )
        if all(isinstance(each, BaseException) for each in answers):
            raise next(each for each in answers if isinstance(each, BaseException))
        return Receipt()

    async def _tell(
        self,
        url: str,
        alerts: Sequence[object],
        headers: Sequence[tuple[str, str]],
        timeout: timedelta,
        tls: ssl.SSLContext | None,
        server_name: str,
    ) -> None:
        """Every replica has the whole time, so that one that hangs takes none of another's."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                for start in range(0, len(alerts), BATCH):
                    body = json.dumps(alerts[start : start + BATCH]).encode()
                    await self.poster.post(
                        url, body, timeout=timeout, headers=headers, tls=tls, server_name=server_name
                    )
        except TimeoutError as error:
            raise DeliveryFailed(DeliveryFailure(str(no_answer(timeout)), unsure=True)) from error

    async def _peers(self, spec: AlertmanagerReceiver, key: Key, timeout: timedelta) -> list[str]:
        """Addresses of the API of every replica."""
        if spec.service is None:
            return [f"{url.rstrip('/')}/api/v2/alerts" for url in spec.urls or ()]
        namespace = spec.service.namespace or key.namespace
        host = f"{spec.service.name}.{namespace}.svc"
        try:
            found = await self.poster.client.guard.addresses(host, spec.service.port, timeout=timeout / 2)
        except NetworkFailure as failure:
            raise DeliveryFailed(DeliveryFailure(str(failure))) from failure
        except Refused as refusal:
            raise DeliveryFailed(DeliveryFailure(str(refusal), permanent=True)) from refusal
        scheme = "https" if spec.tls is not None else "http"
        return [f"{scheme}://{address}/api/v2/alerts" for address in found[:_PEERS]]


def _server_name(spec: AlertmanagerReceiver, key: Key) -> str:
    """The name that a replica's certificate has to carry; of a Service they are reached by address."""
    if spec.tls is None:
        return ""
    if spec.tls.server_name or spec.service is None:
        return spec.tls.server_name or ""
    return f"{spec.service.name}.{spec.service.namespace or key.namespace}.svc"
