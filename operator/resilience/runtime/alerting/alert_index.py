"""Index of alerts by receiver, from the last pass of every service.

It has only alerts that fire now. It decides nothing: `core.alerting` decides from it which messages are due.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from resilience.api.alerts import Alerts
from resilience.api.reasons import AlertName, Reason
from resilience.api.status import Status
from resilience.core.alerting import delivery, service_status
from resilience.core.alerting.alert import Alert, is_identity, service_of
from resilience.core.alerting.catalogue import CATALOGUE
from resilience.core.alerting.receiver import Receiver
from resilience.core.alerting.routing import Aim, Pace
from resilience.core.model.observation import Alerting, Key, Resource

OPERATOR: Final = "resilience-operator"
_NOW: Final = timedelta()


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A receiver that is notified at every interval that the operator lives, and wakes people when that ends."""

    receiver: Key
    interval: timedelta


@dataclass(slots=True)
class AlertIndex:
    """`namespace` is the operator's own; `default` is its receiver for alerts that have no other.

    `wake_service` requeues a service, `wake_receiver` a receiver.
    """

    namespace: str
    default: Key | None
    heartbeat: Heartbeat | None
    now: Callable[[], datetime]
    wake_service: Callable[[Key], None]
    wake_receiver: Callable[[Key], None] = lambda _: None
    _began: datetime | None = None
    _aims: dict[Key, tuple[Aim, ...]] = field(default_factory=dict)
    _named: dict[Key, frozenset[Key]] = field(default_factory=dict)
    # Services that exist, once they have been listed.
    _existing: frozenset[Key] | None = None
    # Services that are gone, for as long as a receiver was notified of them.
    _gone: set[Key] = field(default_factory=set)
    _receivers: dict[Key, Receiver] | None = None
    # The last published trouble of every receiver: time alone can turn a failure into one.
    _published: dict[Key, Reason | None] = field(default_factory=dict)

    def put(self, resource: Resource, status: Status) -> None:
        """Records the result of a pass over a service."""
        key = resource.key
        spec = resource.spec.alerts if resource.spec is not None else Alerts()
        before, known = self._aims.get(key, ()), key in self._named
        after = service_status.aims(key, spec, status, otherwise=self.default)
        named = self._named[key] = self._names(resource)
        self._gone.discard(key)
        if after:
            self._aims[key] = after
        else:
            self._aims.pop(key, None)
        if not known:
            # Receivers that wait for the first pass of the service have to know even that nothing fires.
            self._wake(named | self._notified_receivers(key))
        elif _without_messages(before) != _without_messages(after):
            self._wake({aim.receiver for aim in (*before, *after)})

    def forget(self, key: Key) -> None:
        """Removes a service that is gone."""
        before, named = self._aims.pop(key, ()), self._named.pop(key, frozenset())
        self._existing = self._existing - {key} if self._existing is not None else None
        self._gone.add(key)
        self._wake({aim.receiver for aim in before} | named | self._notified_receivers(key))

    def listed(self, keys: Iterable[Key]) -> frozenset[Key]:
        """Records the services that exist. Returns those of which a receiver was notified and that are not among them.

        Those have to be observed: a list may lack services that the operator cannot read for the moment.
        """
        first, self._existing = self._existing is None, frozenset(keys)
        notified = self._notified_services()
        self._gone &= notified
        if first:
            self._wake(self._receivers or ())
        return notified - self._existing - self._gone

    def receivers(self, found: Mapping[Key, Receiver]) -> None:
        """Records the receivers that exist. One that is missing may only be younger than the list."""
        first = self._receivers is None
        self._receivers = self._receivers or {}
        for receiver in found.values():
            self.seen(receiver)
        if first:
            for key in self._named:
                self.wake_service(key)

    def seen(self, receiver: Receiver) -> None:
        """Records a receiver as it is now."""
        if self._receivers is None:
            return
        before, trouble = self._receivers.get(receiver.key), _trouble(receiver, self.now())
        self._receivers[receiver.key] = receiver
        reason = trouble[0] if trouble is not None else None
        if (
            before is None
            or self._published.get(receiver.key) is not reason
            or _fallback(before) != _fallback(receiver)
        ):
            self._published[receiver.key] = reason
            self._changed(receiver, before)

    def forget_receiver(self, key: Key) -> None:
        """Removes a receiver that is gone."""
        self._published.pop(key, None)
        gone = (self._receivers or {}).pop(key, None)
        if gone is not None:
            self._changed(gone)

    @property
    def settled(self) -> bool:
        """Every service that exists has been observed."""
        return self._existing is not None and self._existing <= self._named.keys()

    def looked_at(self, identity: str) -> bool:
        """Silence about this alert means that it is over."""
        key = service_of(identity)
        if key == self._own_key:
            return self._receivers is not None
        return key in self._named or key in self._gone

    def fires(self, identity: str) -> bool:
        """The alert fires, whoever is notified."""
        return any(aim.alert.identity == identity for aim in self._aims.get(service_of(identity), ()))

    def aims(self, receiver: Key) -> tuple[Aim, ...]:
        """Alerts for this receiver: its own, and those of receivers out of reach for which it stands in."""
        aims: dict[str, Aim] = {}
        for intended, instead_of in self._served_receivers(receiver):
            for aim in self._aimed_at(intended):
                aims.setdefault(aim.alert.identity, replace(aim, receiver=receiver, instead_of=instead_of))
        return tuple(aims.values())

    def alerting(self, resource: Resource) -> Alerting:
        """The state of a service's receivers, for a pass over the service."""
        named = self._names(resource)
        return Alerting(
            default=self.default,
            troubles={key: trouble for key in named if (trouble := self._trouble_of(key)) is not None},
            suppressed=sum(self._suppressed(key, resource.key) for key in named),
            known=self._receivers is not None,
        )

    @property
    def _own_key(self) -> Key:
        return Key(self.namespace, OPERATOR)

    def _aimed_at(self, receiver: Key) -> list[Aim]:
        of_services = [aim for aims in self._aims.values() for aim in aims if aim.receiver == receiver]
        return [*of_services, *self._own(receiver)]

    def _own(self, receiver: Key) -> list[Aim]:
        """Alerts about the operator itself."""
        aims = []
        if self.heartbeat is not None and self.heartbeat.receiver == receiver:
            self._began = self._began or self.now()
            pace = Pace(_NOW, _NOW, _NOW, self.heartbeat.interval)
            aims.append(self._aim(AlertName.HEARTBEAT, receiver, "the operator is alive", self._began, pace=pace))
        if self.default != receiver:
            return aims
        for other in (self._receivers or {}).values():
            failure = other.status.failure
            if failure is not None and other.key != receiver and delivery.out_of_reach(other.status, self.now()):
                words = f"{other.key}: {failure.message}"
                aims.append(
                    self._aim(AlertName.ALERTS_UNDELIVERED, receiver, words, failure.since, subject=str(other.key))
                )
        return aims

    def _aim(
        self,
        name: AlertName,
        receiver: Key,
        words: str,
        since: datetime,
        *,
        subject: str = "",
        pace: Pace | None = None,
    ) -> Aim:
        alert = Alert(self._own_key, name, CATALOGUE[name].severity, since, words, subject)
        group = (("alertname", str(name)), ("namespace", self.namespace), ("service", OPERATOR))
        return Aim(alert, receiver, group, pace or Pace(), "it is about the operator")

    def _served_receivers(self, receiver: Key) -> list[tuple[Key, Key | None]]:
        """The receiver itself, and in turn the receivers whose fallback it is, while they cannot be reached."""
        served: dict[Key, Key | None] = {receiver: None}
        waiting = [receiver]
        while waiting:
            fallback = waiting.pop()
            for other in (self._receivers or {}).values():
                if (
                    _fallback(other) == fallback
                    and other.key not in served
                    and delivery.out_of_reach(other.status, self.now())
                ):
                    served[other.key] = other.key
                    waiting.append(other.key)
        return list(served.items())

    def _names(self, resource: Resource) -> frozenset[Key]:
        alerts, namespace = resource.spec.alerts if resource.spec is not None else Alerts(), resource.key.namespace
        named = {Key(namespace, route.receiver) for route in alerts.routes}
        if alerts.default_receiver is not None:
            named.add(Key(namespace, alerts.default_receiver))
        elif self.default is not None:
            named.add(self.default)
        return frozenset(named)

    def _trouble_of(self, key: Key) -> tuple[Reason, str] | None:
        if self._receivers is None:
            return None
        receiver = self._receivers.get(key)
        if receiver is None:
            return (Reason.RECEIVER_NOT_FOUND, f"there is no AlertReceiver {key}: create it, or correct the name")
        return _trouble(receiver, self.now())

    def _suppressed(self, receiver: Key, key: Key) -> int:
        known = (self._receivers or {}).get(receiver)
        if known is None:
            return 0
        prefix = f"{key}/"
        return sum(
            conversation.suppressed
            for conversation in known.status.conversations
            if any(entry.alert.startswith(prefix) for entry in conversation.told)
        )

    def _notified_services(self) -> frozenset[Key]:
        """Services of which a receiver was notified, as far as the status of receivers records it."""
        identities = [
            alert
            for receiver in (self._receivers or {}).values()
            for alert in (
                *(entry.alert for conversation in receiver.status.conversations for entry in conversation.told),
                *(alert for intent in receiver.status.announced for alert in intent.alerts),
                *(letter.alert for letter in receiver.status.dead_letters),
            )
            if is_identity(alert)
        ]
        return frozenset(service_of(identity) for identity in identities) - {self._own_key}

    def _notified_receivers(self, key: Key) -> frozenset[Key]:
        """Receivers that were notified of this service, even if it does not name them any more."""
        prefix = f"{key}/"
        return frozenset(
            receiver.key
            for receiver in (self._receivers or {}).values()
            if any(
                entry.alert.startswith(prefix)
                for conversation in receiver.status.conversations
                for entry in conversation.told
            )
            or any(alert.startswith(prefix) for intent in receiver.status.announced for alert in intent.alerts)
        )

    def _changed(self, receiver: Receiver, before: Receiver | None = None) -> None:
        """Requeues the services that name the receiver; wakes it, its fallbacks and the operator's own receiver."""
        for key, named in self._named.items():
            if receiver.key in named:
                self.wake_service(key)
        fallbacks = [
            fallback
            for version in (receiver, before)
            if version is not None and (fallback := _fallback(version)) is not None
        ]
        self._wake({receiver.key, *fallbacks, *([self.default] if self.default is not None else [])})

    def _wake(self, receivers: Iterable[Key]) -> None:
        """Wakes these receivers, their fallbacks, and the fallbacks of those in turn."""
        woken, waiting = set[Key](), list(receivers)
        while waiting:
            key = waiting.pop()
            if key in woken:
                continue
            woken.add(key)
            self.wake_receiver(key)
            receiver = (self._receivers or {}).get(key)
            fallback = _fallback(receiver) if receiver is not None else None
            waiting.extend([fallback] if fallback is not None else [])


def _without_messages(aimed: Sequence[Aim]) -> list[Aim]:
    """Alerts and their receivers without the messages, which change with every pass."""
    return [replace(aim, alert=replace(aim.alert, message="")) for aim in aimed]


def _fallback(receiver: Receiver) -> Key | None:
    """The receiver that is notified instead while this one cannot be reached."""
    name = receiver.spec.fallback if receiver.spec is not None else None
    return Key(receiver.key.namespace, name) if name else None


def _trouble(receiver: Receiver, now: datetime) -> tuple[Reason, str] | None:
    """Reason and text for which this receiver notifies nobody; None when it does, or fails only for a moment."""
    failure = receiver.status.failure
    if receiver.spec is None:
        return (Reason.RECEIVER_REFUSES, f"its specification cannot be read: {receiver.problem}")
    if receiver.spec.suspend:
        return (Reason.RECEIVER_SUSPENDED, "it is suspended")
    if failure is not None and failure.permanent:
        return (Reason.RECEIVER_REFUSES, failure.message)
    if failure is not None and delivery.out_of_reach(receiver.status, now):
        return (Reason.NOT_DELIVERED, failure.message)
    return None
