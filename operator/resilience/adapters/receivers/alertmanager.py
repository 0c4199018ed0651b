"""Delivers to Alertmanager through its API, to all its replicas: any of them may be cut off from the others."""

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
from resilience.api.http import ProxyUse
from resilience.api.receivers import AlertmanagerReceiver
from resilience.core.alerting.alertmanager_feed import EXPIRES
from resilience.core.alerting.delivery import DeliveryFailure
from resilience.core.alerting.message import Message
from resilience.core.health.dependencies import trust
from resilience.core.model.observation import Key
from resilience.ports import DeliveryFailed, Receipt, Refused

# Alerts in one request: bodies stay small, and an invalid alert fails no other batch.
BATCH: Final = 100
_PEERS: Final = 16


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """Delivers to every replica; the message counts as delivered when one replica accepts it."""

    poster: Poster
    credentials: Credentials
    origin: Origin
    now: Callable[[], datetime]

    async def deliver(
        self, spec: AlertmanagerReceiver, key: Key, message: Message, *, timeout: timedelta, fresh: bool
    ) -> Receipt:
        """Raises DeliveryFailed when no replica accepts the message."""
        tls = await self.credentials.tls(trust(spec.tls, key.namespace), fresh=fresh)
        headers = [JSON, *await self.poster.access(spec, key.namespace, timeout=timeout, fresh=fresh)]
        alerts = alertmanager_body.api_alerts(message, self.origin, now=self.now(), expires=EXPIRES)
        peers = await self._peers(spec, key, timeout)
        name = _server_name(spec, key)
        proxy = spec.proxy if spec.service is None else ProxyUse.NEVER
        answers = await asyncio.gather(
            *(self._post(url, alerts, headers, timeout, tls, name, proxy) for url in peers), return_exceptions=True
        )
        if all(isinstance(answer, BaseException) for answer in answers):
            raise next(answer for answer in answers if isinstance(answer, BaseException))
        return Receipt()

    async def _post(
        self,
        url: str,
        alerts: Sequence[object],
        headers: Sequence[tuple[str, str]],
        timeout: timedelta,
        tls: ssl.SSLContext | None,
        server_name: str,
        proxy: ProxyUse | None,
    ) -> None:
        """Posts all batches to one replica, which has the whole time-out: a replica that hangs delays no other."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                for start in range(0, len(alerts), BATCH):
                    body = json.dumps(alerts[start : start + BATCH]).encode()
                    await self.poster.post(
                        url, body, timeout=timeout, headers=headers, tls=tls, server_name=server_name, proxy=proxy
                    )
        except TimeoutError as error:
            raise DeliveryFailed(DeliveryFailure(str(no_answer(timeout)), unsure=True)) from error

    async def _peers(self, spec: AlertmanagerReceiver, key: Key, timeout: timedelta) -> list[str]:
        """URLs of the API of every replica."""
        if spec.service is None:
            return [f"{url.rstrip('/')}/api/v2/alerts" for url in spec.urls or ()]
        namespace = spec.service.namespace or key.namespace
        host = f"{spec.service.name}.{namespace}.svc"
        try:
            addresses = await self.poster.client.guard.addresses(host, spec.service.port, timeout=timeout / 2)
        except NetworkFailure as failure:
            raise DeliveryFailed(DeliveryFailure(str(failure))) from failure
        except Refused as refusal:
            raise DeliveryFailed(DeliveryFailure(str(refusal), permanent=True)) from refusal
        scheme = "https" if spec.tls is not None else "http"
        return [f"{scheme}://{address}/api/v2/alerts" for address in addresses[:_PEERS]]


def _server_name(spec: AlertmanagerReceiver, key: Key) -> str:
    """Name that a replica's certificate must contain: the replicas of a Service are reached by address."""
    if spec.tls is None:
        return ""
    if spec.tls.server_name or spec.service is None:
        return spec.tls.server_name or ""
    return f"{spec.service.name}.{spec.service.namespace or key.namespace}.svc"
