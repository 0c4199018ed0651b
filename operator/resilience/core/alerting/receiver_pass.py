"""One pass over a receiver: messages that are due by what fires, what it was notified of, and what people request."""

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

# A request, its value, and the messages that answer it.
Asked = tuple[ReceiverRequest, str, tuple[Message, ...]]


@dataclass(frozen=True, slots=True)
class PassResult:
    """Result of a pass. `messages` are in the order of delivery."""

    status: ReceiverStatus
    messages: tuple[Message, ...]
    wait: timedelta | None
    asked: tuple[Asked, ...] = ()


def decide(
    receiver: Receiver,
    spec: AlertReceiverSpec,
    aimed: Sequence[Aim],
    *,
    looked_at: Callable[[str], bool],
    fires: Callable[[str], bool],
    settled: bool,
    now: datetime,
) -> PassResult:
    """Messages that are due, not sent yet. `settled`: all services have been observed, so silence means no alert."""
    status, firing = _known(receiver.status), {aim.alert.identity for aim in aimed}
    conversations = [
        send_intents.taken_in(conversation, status.announced, firing, looked_at=looked_at, now=now)
        for conversation in status.conversations
    ]
    due = _plan(spec, status.model_copy(update={"conversations": conversations}), aimed, looked_at, fires, now)
    ends = send_intents.ends(status.announced, due.conversations, firing, looked_at=looked_at, now=now)
    messages = (*ends, *due.messages)
    letters = delivery.letters(status, firing, looked_at, now)
    status = status.model_copy(update={"conversations": list(due.conversations), "dead_letters": letters})
    if settled and not messages:
        status = delivery.nothing_due(status)
    waits = [wait for wait in (due.wait, delivery.reach_ends(status, now)) if wait is not None]
    return PassResult(
        status, messages, min(waits, default=None), _requested(receiver, spec, status, now, is_idle=not messages)
    )


def begun(spec: AlertReceiverSpec, status: ReceiverStatus, message: Message) -> ReceiverStatus:
    """The status before a message is sent: it differs when the message has to be recorded first."""
    if spec.alertmanager is not None or message.kind in (Kind.TEST, Kind.MISSED):
        # An Alertmanager gets everything again every minute.
        return status
    announced = status.announced
    if send_intents.keeps_open(spec):
        announced = send_intents.announce(announced, message, status.conversations)
    conversations = notifications.ending(status.conversations, message)
    return status.model_copy(update={"announced": announced, "conversations": conversations})


def told(
    spec: AlertReceiverSpec, status: ReceiverStatus, message: Message, handle: str, aimed: Sequence[Aim], now: datetime
) -> ReceiverStatus:
    """The status after a message arrived."""
    status = delivery.succeeded(status, message, now=now)
    if message.kind is Kind.TEST:
        return status
    if message.kind is Kind.MISSED:
        kept = [letter for letter in status.dead_letters if letter.ended_at is None]
        return status.model_copy(update={"dead_letters": kept})
    known, announced = status.conversations, send_intents.withdraw(status.announced, message)
    if spec.alertmanager is not None:
        after = alertmanager_feed.delivered(known, message, now=now)
    else:
        firing = {alert.identity for alert in message.firing}
        pace = next((aim.pace for aim in aimed if aim.alert.identity in firing), Pace())
        after = notifications.delivered(known, message, handle=handle, pace=pace, now=now)
    return status.model_copy(update={"conversations": list(after), "announced": announced})


def _known(status: ReceiverStatus) -> ReceiverStatus:
    """The status without unknown alerts, which a person or an operator of another version has written."""
    conversations = [
        conversation.model_copy(update={"told": [entry for entry in conversation.told if is_identity(entry.alert)]})
        for conversation in status.conversations
    ]
    announced = [intent for intent in status.announced if all(map(is_identity, intent.alerts))]
    letters = [letter for letter in status.dead_letters if is_identity(letter.alert)]
    return status.model_copy(update={"conversations": conversations, "announced": announced, "dead_letters": letters})


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
    # A bot edits its message, PagerDuty the details of an incident, and small changes do not wake a webhook's program.
    bot = spec.slack is not None and spec.slack.token_from is not None
    live = bot or spec.pagerduty is not None or spec.webhook is not None
    manner = Manner(live=live, send_resolved=spec.send_resolved)
    return notifications.plan(status.conversations, aimed, looked_at=looked_at, fires=fires, manner=manner, now=now)


def _requested(
    receiver: Receiver, spec: AlertReceiverSpec, status: ReceiverStatus, now: datetime, *, is_idle: bool
) -> tuple[Asked, ...]:
    requested: list[Asked] = []
    for request in ReceiverRequest:
        value = requests.unhandled(receiver.annotations, status.handled, request)
        if value is None:
            continue
        match request:
            case ReceiverRequest.TEST:
                requested.append((request, value, _test(receiver.key, spec, value, now)))
            case ReceiverRequest.REPLAY:
                missed = _missed(spec, status)
                # When nothing else is due, only a test message can show that the receiver works again.
                needs_test = not missed and is_idle and status.failure is not None
                requested.append((request, value, _test(receiver.key, spec, value, now) if needs_test else missed))
    return tuple(requested)


def _test(key: Key, spec: AlertReceiverSpec, value: str, now: datetime) -> tuple[Message, ...]:
    """A test message, and its end for a receiver where the test would stay open."""
    name = f"test-{hashlib.sha256(value.encode()).hexdigest()[:12]}"
    words = f"somebody requested this test of AlertReceiver {key}"
    alert = Alert(key, AlertName.TEST, Severity.INFO, now, words)
    group = (("namespace", key.namespace), ("receiver", key.name))
    first = Message(name, now, 0, Kind.TEST, f"test of {key}", group, Severity.INFO, (alert,))
    if not _knows_only_incidents(spec):
        return (first,)
    end = Ended(alert.identity, Severity.INFO, now, now)
    return first, Message(name, now, 1, Kind.TEST, f"test of {key}", group, Severity.INFO, (), (end,))


def _knows_only_incidents(spec: AlertReceiverSpec) -> bool:
    """The receiver knows only incidents, which have to be ended, and are not opened for alerts that are over."""
    return spec.pagerduty is not None or spec.alertmanager is not None


def _missed(spec: AlertReceiverSpec, status: ReceiverStatus) -> tuple[Message, ...]:
    """The message about alerts that came and went while nobody could be notified; empty when there is none."""
    over = [letter for letter in status.dead_letters if letter.ended_at is not None]
    if not over or _knows_only_incidents(spec):
        return ()
    ended = tuple(
        Ended(letter.alert, letter.severity, letter.since, letter.ended_at)
        for letter in over
        if letter.ended_at is not None
    )
    began = min(letter.since for letter in over)
    title = f"{len(over)} alerts came and went while this receiver could not be reached"
    severity = worst([letter.severity for letter in over])
    return (Message("missed", began, len(over), Kind.MISSED, title, (), severity, (), ended),)
