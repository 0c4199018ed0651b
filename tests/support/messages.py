"""Messages as receivers get them, and a notifier that connects to the test's own servers."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any

from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.http import HttpClient
from resilience.adapters.net.proxy import Proxies
from resilience.adapters.net.resolver import SystemResolver
from resilience.adapters.receivers.notifier import Notifiers
from resilience.adapters.receivers.wording import Origin
from resilience.api.reasons import AlertName, Severity
from resilience.api.receivers import Region
from resilience.core.alerting.alert import Alert
from resilience.core.alerting.delivery import DeliveryFailure
from resilience.core.alerting.message import Ended, Kind, Message
from resilience.core.model.observation import Key
from resilience.core.model.probes import SecretRef
from resilience.ports import DeliveryFailed, Receipt
from tests.support.factories import NOW
from tests.support.secrets import FakeSecrets
from tests.support.telling import make_receiver

ORIGIN = Origin(
    runbooks="https://runbooks.example/pages", dashboard="https://grafana.example/d/x?ns={namespace}&svc={service}"
)
# A secret that no message and no error may ever show.
TOKEN = "s3cret-token-9f8e7d"


def make_alert(name: AlertName = AlertName.SERVICE_UNHEALTHY, **fields: Any) -> Alert:
    defaults: dict[str, Any] = {
        "key": Key("shop", "checkout"),
        "severity": Severity.CRITICAL,
        "since": NOW - timedelta(minutes=3),
        "message": "it answered 500",
    }
    return Alert(name=name, **(defaults | fields))


def make_message(*alerts: Alert, ended: tuple[Alert, ...] = (), **fields: Any) -> Message:
    """A message; without alerts that fire it is the end of a conversation."""
    over = tuple(Ended(alert.identity, alert.severity, alert.since, NOW, cause=alert.cause) for alert in ended)
    defaults: dict[str, Any] = {
        "conversation": "0123456789abcdef0123",
        "began_at": NOW - timedelta(minutes=3),
        "sequence": 0 if alerts else 1,
        "kind": Kind.OPENED if alerts else Kind.ENDED,
        "title": "shop/checkout",
        "group": (("namespace", "shop"), ("service", "checkout")),
        "severity": max((alert.severity for alert in (*alerts, *ended)), key=list(Severity).index),
        "firing": alerts,
        "ended": over,
    }
    return Message(**(defaults | fields))


def from_secret(key: str) -> dict[str, Any]:
    return {"secretKeyRef": {"name": "alerts", "key": key}}


@dataclass(slots=True)
class Post:
    """A notifier that may connect to loopback, with one Secret of many keys."""

    now: datetime = NOW
    secrets: FakeSecrets = field(default_factory=FakeSecrets)
    slack: str = "http://127.0.0.1:9"
    pagerduty: str = "http://127.0.0.1:9"
    allowed: tuple[str, ...] = ("127.0.0.0/8",)
    cluster: str = ""
    names: dict[str, list[str]] = field(default_factory=dict)
    proxies: Proxies | None = None

    def __post_init__(self) -> None:
        self.secrets.values.setdefault(SecretRef("shop", "alerts", "token"), TOKEN)

    def put(self, **values: str) -> None:
        self.secrets.values.update({SecretRef("shop", "alerts", key): value for key, value in values.items()})

    async def send(self, message: Message, **spec: Any) -> str:
        """Delivers once; returns the receiver's own name of the message."""
        return (await self.receipt(message, **spec)).handle

    async def receipt(self, message: Message, **spec: Any) -> Receipt:
        """Delivers once to a receiver of this kind; an error must not reveal a secret."""
        try:
            return await self.notifiers().deliver(make_receiver(**{"timeout": "1s", **spec}), message)
        except DeliveryFailed as failure:
            assert TOKEN not in str(failure)
            raise

    def notifiers(self) -> Notifiers:
        guard = AddressGuard(allowed=[ip_network(network) for network in self.allowed], resolve=self._resolve)
        return Notifiers(
            client=HttpClient(guard=guard, version="0", proxies=self.proxies),
            credentials=Credentials(secrets=self.secrets, monotonic=lambda: 0.0),
            origin=replace(ORIGIN, cluster=self.cluster),
            now=lambda: self.now,
            pagerduty=dict.fromkeys(Region, self.pagerduty),
            slack=self.slack,
        )

    async def _resolve(self, host: str) -> Sequence[str]:
        return self.names[host] if host in self.names else await SystemResolver()(host)

    async def fails(self, message: Message, **spec: Any) -> DeliveryFailure:
        """The failure that the receiver's worker gets."""
        try:
            await self.send(message, **spec)
        except DeliveryFailed as failure:
            return failure.trouble
        raise AssertionError("it was delivered")
