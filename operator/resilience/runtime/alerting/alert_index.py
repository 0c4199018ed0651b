"""Where alerts of services and their receivers meet: what every service's last pass found, by who is to be told.

Holds no more than what fires now. It decides nothing: what is due is decided from it by `core.alerting`.
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
    """Somebody who is told again and again that the operator lives, and wakes people when that ends."""

    receiver: Key
    interval: timedelta


@dataclass(slots=True)
class AlertHub:
    """`namespace` is the operator's own; `default` its receiver for what has no other.

    `wake_service` has a service looked at, `wake_receiver` a receiver.
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
    # Services that are gone, for as long as a receiver was told of them.
    _gone: set[Key] = field(default_factory=set)
    _receivers: dict[Key, Receiver] | None = None
    # What was said of each receiver's trouble: time alone can make one out of a failure.
    _said: dict[Key, Reason | None] = field(default_factory=dict)

    def put(self, resource: Resource, status: Status) -> None:
        """A pass over a service found this."""
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
            # Those that wait for the first look at the service have to know even that there is nothing.
            self._wake(named | self._told_of(key))
        elif _unsaid(before) != _unsaid(after):
            self._wake({each.receiver for each in (*before, *after)})

    def drop(self, key: Key) -> None:
        """The service is gone."""
        before, named = self._aims.pop(key, ()), self._named.pop(key, frozenset())
        self._existing = self._existing - {key} if self._existing is not None else None
        self._gone.add(key)
        self._wake({each.receiver for each in before} | named | self._told_of(key))

    def listed(self, keys: Iterable[Key]) -> frozenset[Key]:
        """These services exist. Returns those that somebody was told of and that are not among them.

        They have to be looked at: a list may lack what is closed to us for the moment.
        """
        first, self._existing = self._existing is None, frozenset(keys)
        told = self._told_services()
        self._gone &= told
        if first:
            self._wake(self._receivers or ())
        return told - self._existing - self._gone

    def receivers(self, found: Mapping[Key, Receiver]) -> None:
        """These receivers exist. One that is missing may only be younger than the list."""
        first = self._receivers is None
        self._receivers = self._receivers or {}
        for receiver in found.values():
            self.seen(receiver)
        if first:
            for key in self._named:
                self.wake_service(key)

    def seen(self, receiver: Receiver) -> None:
        """A receiver as it is now."""
        if self._receivers is None:
            return
        before, trouble = self._receivers.get(receiver.key), _trouble(receiver, self.now())
        self._receivers[receiver.key] = receiver
        reason = trouble[0] if trouble is not None else None
        if before is None or self._said.get(receiver.key) is not reason or _fallback(before) != _fallback(receiver):
            self._said[receiver.key] = reason
            self._changed(receiver, before)

    def forget(self, key: Key) -> None:
        """A receiver is gone."""
        self._said.pop(key, None)
        gone = (self._receivers or {}).pop(key, None)
        if gone is not None:
            self._changed(gone)

    @property
    def settled(self) -> bool:
        """Whether every service that there is has been looked at."""
        return self._existing is not None and self._existing <= self._named.keys()

    def looked_at(self, identity: str) -> bool:
        """Whether the silence about this alert means that it is over."""
        key = service_of(identity)
        if key == self._own_key:
            return self._receivers is not None
        return key in self._named or key in self._gone

    def fires(self, identity: str) -> bool:
        """Whether an alert fires, whoever is told."""
        return any(each.alert.identity == identity for each in self._aims.get(service_of(identity), ()))

    def aims(self, receiver: Key) -> tuple[Aim, ...]:
        """What this receiver is to be told of, itself and for those that cannot be reached."""
        found: dict[str, Aim] = {}
        for meant, instead in self._stands_in(receiver):
            for aim in self._aimed_at(meant):
                found.setdefault(aim.alert.identity, replace(aim, receiver=receiver, instead_of=instead))
        return tuple(found.values())

    def alerting(self, resource: Resource) -> Alerting:
        """What a service's pass has to know of its receivers."""
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
        found = [each for aims in self._aims.values() for each in aims if each.receiver == receiver]
        return [*found, *self._own(receiver)]

    def _own(self, receiver: Key) -> list[Aim]:
        """Alerts of the operator itself."""
        found = []
        if self.heartbeat is not None and self.heartbeat.receiver == receiver:
            self._began = self._began or self.now()
            pace = Pace(_NOW, _NOW, _NOW, self.heartbeat.interval)
            found.append(self._aim(AlertName.HEARTBEAT, receiver, "the operator is alive", self._began, pace=pace))
        if self.default != receiver:
            return found
        for each in (self._receivers or {}).values():
            failure = each.status.failure
            if failure is not None and each.key != receiver and delivery.out_of_reach(each.status, self.now()):
                words = f"{each.key}: {failure.message}"
                found.append(
                    self._aim(AlertName.ALERTS_UNDELIVERED, receiver, words, failure.since, subject=str(each.key))
                )
        return found

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

    def _stands_in(self, receiver: Key) -> list[tuple[Key, Key | None]]:
        """The receiver itself, and those whose alerts it is told while they cannot be reached, themselves in turn."""
        found: dict[Key, Key | None] = {receiver: None}
        waiting = [receiver]
        while waiting:
            at = waiting.pop()
            for each in (self._receivers or {}).values():
                if _fallback(each) == at and each.key not in found and delivery.out_of_reach(each.status, self.now()):
                    found[each.key] = each.key
                    waiting.append(each.key)
        return list(found.items())

    def _names(self, resource: Resource) -> frozenset[Key]:
        alerts, namespace = resource.spec.alerts if resource.spec is not None else Alerts(), resource.key.namespace
        named = {Key(namespace, each.receiver) for each in alerts.routes}
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
            return (Reason.RECEIVER_NOT_FOUND, f"there is no AlertReceiver {key}: make it, or mend the name")
        return _trouble(receiver, self.now())

    def _suppressed(self, receiver: Key, key: Key) -> int:
        known = (self._receivers or {}).get(receiver)
        if known is None:
            return 0
        prefix = f"{key}/"
        return sum(
            each.suppressed
            for each in known.status.conversations
            if any(entry.alert.startswith(prefix) for entry in each.told)
        )

    def _told_services(self) -> frozenset[Key]:
        """Services that some receiver was told of, as far as it is noted."""
        told = [
            alert
            for receiver in (self._receivers or {}).values()
            for alert in (
                *(entry.alert for each in receiver.status.conversations for entry in each.told),
                *(alert for each in receiver.status.announced for alert in each.alerts),
                *(each.alert for each in receiver.status.dead_letters),
            )
            if is_identity(alert)
        ]
        return frozenset(service_of(alert) for alert in told) - {self._own_key}

    def _told_of(self, key: Key) -> frozenset[Key]:
        """Receivers that were told of this service, whether or not it names them still."""
        prefix = f"{key}/"
        return frozenset(
            receiver.key
            for receiver in (self._receivers or {}).values()
            if any(entry.alert.startswith(prefix) for each in receiver.status.conversations for entry in each.told)
            or any(alert.startswith(prefix) for each in receiver.status.announced for alert in each.alerts)
        )

    def _changed(self, receiver: Receiver, before: Receiver | None = None) -> None:
        """Services that name it say so; whoever stands in for it is told, and so is the operator's own receiver."""
        for key, named in self._named.items():
            if receiver.key in named:
                self.wake_service(key)
        instead = [found for each in (receiver, before) if each is not None and (found := _fallback(each)) is not None]
        self._wake({receiver.key, *instead, *([self.default] if self.default is not None else [])})

    def _wake(self, receivers: Iterable[Key]) -> None:
        """These, and whoever may stand in for one of them, and for that one in turn."""
        woken, waiting = set[Key](), list(receivers)
        while waiting:
            key = waiting.pop()
            if key in woken:
                continue
            woken.add(key)
            self.wake_receiver(key)
            receiver = (self._receivers or {}).get(key)
            instead = _fallback(receiver) if receiver is not None else None
            waiting.extend([instead] if instead is not None else [])


def _unsaid(aimed: Sequence[Aim]) -> list[Aim]:
    """What is aimed at whom, without the words: they change with every look."""
    return [replace(each, alert=replace(each.alert, message="")) for each in aimed]


def _fallback(receiver: Receiver) -> Key | None:
    """Who is told instead while it cannot be reached."""
    name = receiver.spec.fallback if receiver.spec is not None else None
    return Key(receiver.key.namespace, name) if name else None


def _trouble(receiver: Receiver, now: datetime) -> tuple[Reason, str] | None:
    """Why people are not told by this receiver; None when they are, or it is only a moment's failure."""
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
