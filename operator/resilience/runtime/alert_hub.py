"""Where alerts of services and their receivers meet: what every service's last pass found, by who is to be told.

Holds no more than what fires now. It decides nothing: what is due is decided from it by `core.alerting`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from resilience.api.alerts import Alerts
from resilience.api.reasons import AlertName, Reason
from resilience.api.status import Status
from resilience.core.alerting import delivery, service
from resilience.core.alerting.alert import Alert
from resilience.core.alerting.catalogue import CATALOGUE
from resilience.core.alerting.receiver import Receiver
from resilience.core.alerting.routing import Aim, Pace
from resilience.core.observation import Alerting, Key, Resource

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
    _receivers: dict[Key, Receiver] | None = None
    # What was said of each receiver's trouble: time alone can make one out of a failure.
    _said: dict[Key, tuple[Reason, str] | None] = field(default_factory=dict)

    def put(self, resource: Resource, status: Status) -> None:
        """A pass over a service found this."""
        key = resource.key
        spec = resource.spec.alerts if resource.spec is not None else Alerts()
        before, known = self._aims.get(key, ()), key in self._named
        after = service.aims(key, spec, status, otherwise=self.default)
        named = self._named[key] = self._names(resource)
        if after:
            self._aims[key] = after
        else:
            self._aims.pop(key, None)
        if before != after or not known:
            # Those that wait for the first look at the service have to know that there is nothing.
            self._wake({each.receiver for each in (*before, *after)} if known else named)

    def drop(self, key: Key) -> None:
        """The service is gone."""
        before, named = self._aims.pop(key, ()), self._named.pop(key, frozenset())
        self._existing = self._existing - {key} if self._existing is not None else None
        self._wake({each.receiver for each in before} | named)

    def listed(self, keys: Iterable[Key]) -> None:
        """These services exist; of any other that somebody was told of, everything is over."""
        first, self._existing = self._existing is None, frozenset(keys)
        if first:
            self._wake(self._receivers or ())

    def receivers(self, found: Mapping[Key, Receiver]) -> None:
        """These receivers exist."""
        for key in set(self._receivers or ()) - set(found):
            self.forget(key)
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
        known, trouble = receiver.key in self._receivers, _trouble(receiver, self.now())
        self._receivers[receiver.key] = receiver
        if not known or self._said.get(receiver.key) != trouble:
            self._said[receiver.key] = trouble
            self._changed(receiver)

    def forget(self, key: Key) -> None:
        """A receiver is gone."""
        self._said.pop(key, None)
        gone = (self._receivers or {}).pop(key, None)
        if gone is not None:
            self._changed(gone)

    def looked_at(self, identity: str) -> bool:
        """Whether the silence about this alert means that it is over."""
        namespace, name, *_ = identity.split("/", 2)
        key = Key(namespace, name)
        if key == self._own_key:
            return self._receivers is not None
        return key in self._named or (self._existing is not None and key not in self._existing)

    def fires(self, identity: str) -> bool:
        """Whether an alert fires, whoever is told."""
        namespace, name, *_ = identity.split("/", 2)
        return any(each.alert.identity == identity for each in self._aims.get(Key(namespace, name), ()))

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
                falls_back = (
                    each.spec is not None and each.spec.fallback == at.name and each.key.namespace == at.namespace
                )
                if falls_back and each.key not in found and delivery.out_of_reach(each.status, self.now()):
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

    def _changed(self, receiver: Receiver) -> None:
        """Services that name it say so; whoever stands in for it is told, and so is the operator's own receiver."""
        for key, named in self._named.items():
            if receiver.key in named:
                self.wake_service(key)
        fallback = receiver.spec.fallback if receiver.spec is not None else None
        others = {Key(receiver.key.namespace, fallback)} if fallback else set()
        self._wake({receiver.key, *others, *([self.default] if self.default is not None else [])})

    def _wake(self, receivers: Iterable[Key]) -> None:
        for key in set(receivers):
            self.wake_receiver(key)


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
