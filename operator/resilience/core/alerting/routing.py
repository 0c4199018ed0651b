"""Receivers of an alert: by the service's routes from the top, then its default receiver, then the operator's own.

The semantics are Alertmanager's for a flat list below a root route, and are tested against its own tool:
https://prometheus.io/docs/alerting/latest/configuration/#route.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from resilience.api import matchers
from resilience.api.alerts import GROUP_BY, Alerts, Route
from resilience.api.schedule import Window, opening
from resilience.core.alerting.alert import Alert
from resilience.core.model.observation import Key

Group = tuple[tuple[str, str], ...]
_BY_DEFAULT: Final = "no route matches: the default receiver"
_BY_OPERATOR: Final = "no route matches and there is no default receiver: the operator's own"


@dataclass(frozen=True, slots=True)
class Pace:
    """Frequency of notifications; see spec.alerts."""

    group_wait: timedelta = timedelta(seconds=10)
    group_interval: timedelta = timedelta(minutes=1)
    suppress_for: timedelta = timedelta(minutes=5)
    repeat_after: timedelta = timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class Aim:
    """An alert on its way to one receiver. `why`: the part of the routes that decided it."""

    alert: Alert
    receiver: Key
    group: Group
    pace: Pace
    why: str
    active: tuple[Window, ...] = ()
    mute: tuple[Window, ...] = ()
    # The intended receiver, when that one cannot be reached.
    instead_of: Key | None = None

    def held(self, now: datetime) -> str:
        """Reason for which nobody is notified at this moment; empty when somebody is."""
        if self.alert.held:
            return self.alert.held
        if self.active and not opening(list(self.active), now).is_open:
            return "outside the route's activeTimes"
        if self.mute and opening(list(self.mute), now).is_open:
            return "inside the route's muteTimes"
        return ""


def aims(alert: Alert, alerts: Alerts, *, pace: Pace, otherwise: Key | None) -> tuple[Aim, ...]:
    """Every receiver that an alert goes to, once each, in the order of the routes.

    `otherwise`: the operator's own default receiver. Empty when there is no receiver.
    """
    labels, namespace = alert.all_labels(), alert.key.namespace
    aims_by_receiver: dict[Key, Aim] = {}
    for number, route in enumerate(alerts.routes, start=1):
        if not matchers.all_match(route.matchers, labels):
            continue
        receiver = Key(namespace, route.receiver)
        aims_by_receiver.setdefault(receiver, _by_route(alert, labels, route, number, receiver, pace))
        if not route.continue_:
            return tuple(aims_by_receiver.values())
    if aims_by_receiver:
        return tuple(aims_by_receiver.values())
    default = Key(namespace, alerts.default_receiver) if alerts.default_receiver is not None else otherwise
    if default is None:
        return ()
    why = _BY_DEFAULT if alerts.default_receiver is not None else _BY_OPERATOR
    return (Aim(alert, default, _group(alert, labels, GROUP_BY), pace, why),)


def _by_route(alert: Alert, labels: Mapping[str, str], route: Route, number: int, receiver: Key, pace: Pace) -> Aim:
    matched = ", ".join(route.matchers) or "everything"
    return Aim(
        alert,
        receiver,
        _group(alert, labels, route.group_by),
        pace,
        why=f"route {number} matches ({matched})",
        active=tuple(route.active_times),
        mute=tuple(route.mute_times),
    )


def _group(alert: Alert, labels: Mapping[str, str], by: Sequence[str]) -> Group:
    """The group of a conversation. A cause that services share is one incident, whatever labels they group by."""
    if alert.cause:
        return (("cause", alert.cause),)
    return tuple((name, labels.get(name, "")) for name in by)


def explain(aimed: Sequence[Aim], now: datetime) -> str:
    """The receivers of an alert and the reasons, in one sentence."""
    if not aimed:
        return "nobody is notified: no route matches, and there is no default receiver"
    parts = [
        f"{aim.receiver.name}: {aim.why}" + (f", but {reason}" if (reason := aim.held(now)) else "") for aim in aimed
    ]
    return "; ".join(parts)
