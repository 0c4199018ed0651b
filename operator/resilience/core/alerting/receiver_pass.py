"""A look at one receiver: what it has to be told now, by what fires, what it was told, and what people ask for."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from resilience.api.reasons import AlertName, ReceiverRequest, Severity
from resilience.api.receivers import AlertReceiverSpec
from resilience.api.status_receiver import ReceiverStatus
from resilience.core.alerting import alertmanager_feed, delivery, notifications, send_intents
from resilience.core.alerting.alert import Alert, is_identity, worst
from resilience.core.alerting.message import Ended, Kind, Manner, Message
from resilience.core.alerting.notifications import NotificationPlan
from resilience.core.alerting.receiver import Receiver
from resilience.core.alerting.routing import Aim, Pace
from resilience.core.model import requests
from resilience.core.model.observation import Key

# A request, its value, and what has to be told for it.
Asked = tuple[ReceiverRequest, str, tuple[Message, ...]]


@dataclass(frozen=True, slots=True)
class Round:
    """`messages` in the order in which they are told."""

    status: ReceiverStatus
    messages: tuple[Message, ...]
    wait: timedelta | None
    asked: tuple[Asked, ...] = ()


def look(
    receiver: Receiver,
    spec: AlertReceiverSpec,
    aimed: Sequence[Aim],
    *,
    looked_at: Callable[[str], bool],
    fires: Callable[[str], bool],
    settled: bool,
    now: datetime,
) -> Round:
    """What is due. Nothing in it was told yet. `settled`: every service has been looked at, so silence means none."""
    status, firing = _known(receiver.status), {each.alert.identity for each in aimed}
    talks = [
        send_intents.taken_in(each, status.announced, firing, looked_at=looked_at, now=now)
        for each in status.conversations
    ]
    found = _plan(spec, status.model_copy(update={"conversations": talks}), aimed, looked_at, fires, now)
    ends = send_intents.ends(status.announced, found.conversations, firing, looked_at=looked_at, now=now)
    messages = (*ends, *found.messages)
    letters = delivery.letters(status, firing, looked_at, now)
    status = status.model_copy(update={"conversations": list(found.conversations), "dead_letters": letters})
    if settled and not messages:
        status = delivery.nothing_due(status)
    waits = [each for each in (found.wait, delivery.reach_ends(status, now)) if each is not None]
    return Round(status, messages, min(waits, default=None), _asked(receiver, spec, status, now, idle=not messages))


def begun(spec: AlertReceiverSpec, status: ReceiverStatus, message: Message) -> ReceiverStatus:
    """The status before a message is sent: it differs when the message has to be noted first."""
    if spec.alertmanager is not None or message.kind in (Kind.TEST, Kind.MISSED):
        # An Alertmanager is told everything again every minute.
        return status
    announced = status.announced
    if send_intents.keeps_open(spec):
        announced = send_intents.announce(announced, message, status.conversations)
    talks = notifications.ending(status.conversations, message)
    return status.model_copy(update={"announced": announced, "conversations": talks})


def told(
    spec: AlertReceiverSpec, status: ReceiverStatus, message: Message, handle: str, aimed: Sequence[Aim], now: datetime
) -> ReceiverStatus:
    """The status after a message arrived."""
    status = delivery.succeeded(status, message, now=now)
    if message.kind is Kind.TEST:
        return status
    if message.kind is Kind.MISSED:
        kept = [each for each in status.dead_letters if each.ended_at is None]
        return status.model_copy(update={"dead_letters": kept})
    known, announced = status.conversations, send_intents.withdraw(status.announced, message)
    if spec.alertmanager is not None:
        after = alertmanager_feed.delivered(known, message, now=now)
    else:
        mine = {each.identity for each in message.firing}
        pace = next((each.pace for each in aimed if each.alert.identity in mine), Pace())
        after = notifications.delivered(known, message, handle=handle, pace=pace, now=now)
    return status.model_copy(update={"conversations": list(after), "announced": announced})


def _known(status: ReceiverStatus) -> ReceiverStatus:
    """The status without alerts that cannot be: a hand has written them, or an operator of another version."""
    talks = [
        each.model_copy(update={"told": [entry for entry in each.told if is_identity(entry.alert)]})
        for each in status.conversations
    ]
    announced = [each for each in status.announced if all(map(is_identity, each.alerts))]
    letters = [each for each in status.dead_letters if is_identity(each.alert)]
    return status.model_copy(update={"conversations": talks, "announced": announced, "dead_letters": letters})


def _plan(
    spec: AlertReceiverSpec,
    status: ReceiverStatus,
    aimed: Sequence[Aim],
    looked_at: Callable[[str], bool],
    fires: Callable[[str], bool],
    now: datetime,
) -> NotificationPlan:
    if spec.alertmanager is not None:
        return alertmanager_feed.plan(status.conversations, aimed, looked_at=looked_at, fires=fires, now=now)
    # A bot changes what it wrote, PagerDuty an incident's details, and a webhook's program is not woken by them.
    bot = spec.slack is not None and spec.slack.token_from is not None
    live = bot or spec.pagerduty is not None or spec.webhook is not None
    manner = Manner(live=live, send_resolved=spec.send_resolved)
    return notifications.plan(status.conversations, aimed, looked_at=looked_at, fires=fires, manner=manner, now=now)


def _asked(
    receiver: Receiver, spec: AlertReceiverSpec, status: ReceiverStatus, now: datetime, *, idle: bool
) -> tuple[Asked, ...]:
    found: list[Asked] = []
    for request in ReceiverRequest:
        value = requests.unhandled(receiver.annotations, status.handled, request)
        if value is None:
            continue
        match request:
            case ReceiverRequest.TEST:
                found.append((request, value, _test(receiver.key, spec, value, now)))
            case ReceiverRequest.REPLAY:
                missed = _missed(spec, status)
                # With nothing else to tell, whether a receiver was mended shows only when something is told.
                trial = not missed and idle and status.failure is not None
                found.append((request, value, _test(receiver.key, spec, value, now) if trial else missed))
    return tuple(found)


def _test(key: Key, spec: AlertReceiverSpec, value: str, now: datetime) -> tuple[Message, ...]:
    """A test; where it would stay open, its end too."""
    name = f"test-{hashlib.sha256(value.encode()).hexdigest()[:12]}"
    words = f"somebody asked for this test of AlertReceiver {key}"
    alert = Alert(key, AlertName.TEST, Severity.INFO, now, words)
    group = (("namespace", key.namespace), ("receiver", key.name))
    first = Message(name, now, 0, Kind.TEST, f"test of {key}", group, Severity.INFO, (alert,))
    if not _by_incident(spec):
        return (first,)
    end = Ended(alert.identity, Severity.INFO, now, now)
    return first, Message(name, now, 1, Kind.TEST, f"test of {key}", group, Severity.INFO, (), (end,))


def _by_incident(spec: AlertReceiverSpec) -> bool:
    """Whether it knows nothing but incidents, which have to be ended, and are not opened for what is over."""
    return spec.pagerduty is not None or spec.alertmanager is not None


def _missed(spec: AlertReceiverSpec, status: ReceiverStatus) -> tuple[Message, ...]:
    """What came and went while nobody could be told."""
    over = [each for each in status.dead_letters if each.ended_at is not None]
    if not over or _by_incident(spec):
        return ()
    ended = tuple(
        Ended(each.alert, each.severity, each.since, each.ended_at) for each in over if each.ended_at is not None
    )
    began = min(each.since for each in over)
    title = f"{len(over)} alerts came and went while this receiver could not be reached"
    severity = worst([each.severity for each in over])
    return (Message("missed", began, len(over), Kind.MISSED, title, (), severity, (), ended),)
