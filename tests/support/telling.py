"""Receivers without a cluster: alerts are set by hand, and messages are recorded. For tests in virtual time."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast

from resilience.adapters.kube.receivers import parse
from resilience.api.reasons import AlertName, Severity
from resilience.api.status import Status
from resilience.api.status_alerts import AlertsStatus, FiringAlert
from resilience.api.status_receiver import ReceiverStatus
from resilience.core.alerting.delivery import DeliveryFailure
from resilience.core.alerting.message import Message
from resilience.core.alerting.receiver import Receiver
from resilience.core.model.decision import Event
from resilience.core.model.observation import Key
from resilience.core.model.profiles import resolve
from resilience.ports import Conflict, DeliveryFailed, Metrics, Receipt, Unavailable
from resilience.runtime.alerting.alert_index import AlertIndex, Heartbeat
from resilience.runtime.alerting.dispatcher import Dispatcher
from tests.support.factories import NOW, make_resource, make_spec
from tests.support.protocols import checked
from tests.support.virtual_time import VirtualClock

TEAM = Key("shop", "team")
WEBHOOK: dict[str, Any] = {"webhook": {"urlFrom": {"secretKeyRef": {"name": "hook", "key": "url"}}}}


def make_hub(**fields: Any) -> AlertIndex:
    """An alert index that wakes nobody."""
    defaults: dict[str, Any] = {
        "namespace": "resilience-system",
        "default": None,
        "heartbeat": None,
        "now": VirtualClock().now,
        "wake_service": lambda _: None,
    }
    return AlertIndex(**(defaults | fields))


def make_receiver(
    key: Key = TEAM, *, status: ReceiverStatus | None = None, annotations: Mapping[str, str] | None = None, **spec: Any
) -> Receiver:
    """A receiver as the API server returns it: a webhook, unless the specification has another kind."""
    kinds = ("alertmanager", "webhook", "pagerduty", "slack", "msteams", "email", "apprise")
    whole = spec if any(kind in spec for kind in kinds) else {**WEBHOOK, **spec}
    meta = {"namespace": key.namespace, "name": key.name, "uid": f"uid-{key.name}", "resourceVersion": "1"}
    raw = {"metadata": {**meta, "generation": 1, "annotations": dict(annotations or {})}, "spec": whole}
    return parse({**raw, "status": status.to_api() if status is not None else {}})


def firing(
    name: AlertName = AlertName.SERVICE_UNHEALTHY,
    *,
    severity: Severity = Severity.CRITICAL,
    since: datetime = NOW,
    **fields: Any,
) -> FiringAlert:
    return FiringAlert(name=name, severity=severity, since=since, **{"message": "it does not answer", **fields})


@dataclass(slots=True)
class Told:
    """A message that arrived."""

    at: datetime
    receiver: Key
    message: Message


@dataclass(slots=True)
class FakeReceivers:
    """AlertReceivers as the API server stores them; `before_write` may raise."""

    found: dict[Key, Receiver] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    writes: int = 0
    reads: int = 0
    away: bool = False
    # Receivers that are newer than a list.
    unlisted: set[Key] = field(default_factory=set)
    before_write: Callable[[], None] = lambda: None

    async def receiver(self, key: Key) -> Receiver | None:
        self._reached()
        self.reads += 1
        return self.found.get(key)

    async def receivers(self) -> Mapping[Key, Receiver]:
        self._reached()
        return {key: receiver for key, receiver in self.found.items() if key not in self.unlisted}

    async def write_receiver(self, receiver: Receiver, status: ReceiverStatus) -> Receiver:
        self._reached()
        self.before_write()
        now = self.found[receiver.key]
        if now.resource_version != receiver.resource_version:
            raise Conflict("it has changed")
        version = str(int(now.resource_version) + 1)
        # As the API server stores it: fields that it cannot store are lost here, too.
        stored = ReceiverStatus.model_validate(status.to_api())
        self.found[receiver.key] = replace(now, status=stored, resource_version=version)
        self.writes += 1
        return self.found[receiver.key]

    async def emit_of_receiver(self, receiver: Receiver, event: Event) -> None:
        self.events.append(event)

    def annotate(self, key: Key, **annotations: str) -> None:
        """Adds the annotations of a person's requests."""
        now = self.found[key]
        version = str(int(now.resource_version) + 1)
        named = {f"resilience.dev/{name}-requested-at": value for name, value in annotations.items()}
        self.found[key] = replace(now, annotations={**now.annotations, **named}, resource_version=version)

    def _reached(self) -> None:
        if self.away:
            raise Unavailable("the API server is away")


@dataclass(slots=True)
class FakeNotifier:
    """Records the messages that arrive. `down`: receivers that fail, and their failures."""

    clock: VirtualClock
    arrived: list[Told] = field(default_factory=list)
    down: dict[Key, DeliveryFailure] = field(default_factory=dict)
    tries: Counter[Key] = field(default_factory=Counter)
    hang: set[Key] = field(default_factory=set)
    # Receivers that get messages, but whose answers are lost.
    lost: set[Key] = field(default_factory=set)
    after: Callable[[], None] = lambda: None
    # Messages that are refused for their content.
    refused: Callable[[Message], bool] = lambda _: False
    note: str = ""

    async def deliver(self, receiver: Receiver, message: Message) -> Receipt:
        self.tries[receiver.key] += 1
        if receiver.key in self.hang:
            await asyncio.sleep(10)
            raise DeliveryFailed(DeliveryFailure("no answer within 10s"))
        if receiver.key in self.down:
            raise DeliveryFailed(self.down[receiver.key])
        if self.refused(message):
            raise DeliveryFailed(DeliveryFailure("it answered 400", permanent=True, of_message=True))
        self.arrived.append(Told(self.clock.now(), receiver.key, message))
        self.after()
        if receiver.key in self.lost:
            raise DeliveryFailed(DeliveryFailure("it answered 502", unsure=True))
        return Receipt(f"handle-{message.conversation}", self.note)

    def mend(self) -> None:
        """Makes every receiver reachable again."""
        self.down.clear()
        self.lost.clear()

    def at(self, receiver: Key = TEAM) -> list[Message]:
        return [delivery.message for delivery in self.arrived if delivery.receiver == receiver]


class Silent:
    """Metrics that nobody reads."""

    def __getattr__(self, name: str) -> Any:
        return checked(Metrics, name)


class Leading:
    def __init__(self) -> None:
        self.is_held = True

    def held(self) -> bool:
        return self.is_held


class Office:
    """A dispatcher over fakes: one process. Another one over the same FakeReceivers is the next leader."""

    def __init__(
        self,
        *receivers: Receiver,
        cluster: FakeReceivers | None = None,
        messenger: FakeNotifier | None = None,
        default: Key | None = None,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self.clock = VirtualClock()
        self.cluster = cluster or FakeReceivers()
        self.cluster.found.update({receiver.key: receiver for receiver in receivers})
        self.messenger = messenger or FakeNotifier(self.clock)
        self.woken: list[Key] = []
        self.hub = make_hub(default=default, heartbeat=heartbeat, wake_service=self.woken.append)
        self.leading = Leading()
        self.couriers = Dispatcher(
            cluster=self.cluster,
            hub=self.hub,
            messenger=self.messenger,
            leadership=self.leading,
            metrics=cast(Metrics, Silent()),
            clock=self.clock,
            chance=random.Random(1),
        )
        self.hub.wake_receiver = self.couriers.wake
        self._services: dict[Key, tuple[FiringAlert, ...]] = {}

    def now(self) -> datetime:
        return self.clock.now()

    def service(self, *alerts: FiringAlert, name: str = "checkout", **alerting: Any) -> None:
        """Publishes these alerts as the result of a pass over this service."""
        key = Key("shop", name)
        self._services[key] = alerts
        spec = make_spec(profile="Production", alerts={"defaultReceiver": "team", **alerting})
        resource = make_resource(spec, key=key)
        self.hub.put(resource, Status(effective=resolve(spec), alerts=AlertsStatus(firing=list(alerts))))

    def all_looked_at(self) -> None:
        """Publishes the first list after the start."""
        for key in self.hub.listed(self._services):
            self.hub.forget(key)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Office"]:
        """Runs the process while the context is open."""
        working = asyncio.create_task(self.couriers.run())
        await self.couriers.resync()
        self.all_looked_at()
        try:
            yield self
        finally:
            working.cancel()
            await asyncio.wait([working])


async def minutes(count: float) -> None:
    await asyncio.sleep(count * 60)


def kinds(messages: list[Message]) -> list[str]:
    return [str(message.kind) for message in messages]


def ago(office: Office, seconds: float) -> datetime:
    return office.now() - timedelta(seconds=seconds)
