"""A look at one receiver: what it has to be told now, by what fires, what it was told, and what people ask for."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from resilience.api.reasons import AlertName, ReceiverRequest, Severity
from resilience.api.receivers import AlertReceiverSpec
from resilience.api.status_receiver import ReceiverStatus
from resilience.core import requests
from resilience.core.alerting import conversations, delivery, feed
from resilience.core.alerting.alert import Alert, worst
from resilience.core.alerting.conversations import Plan
from resilience.core.alerting.message import Ended, Kind, Manner, Message
from resilience.core.alerting.receiver import Receiver
from resilience.core.alerting.routing import Aim, Pace
from resilience.core.observation import Key

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
    now: datetime,
) -> Round:
    """What is due. Nothing in it was told yet."""
    status = receiver.status
    found = _plan(spec, status, aimed, looked_at, fires, now)
    letters = delivery.letters(status, (each.alert.identity for each in aimed), now)
    status = status.model_copy(update={"conversations": list(found.conversations), "dead_letters": letters})
    waits = [each for each in (found.wait, delivery.reach_ends(status, now)) if each is not None]
    return Round(status, found.messages, min(waits, default=None), _asked(receiver, spec, status, now))


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
    known = status.conversations
    if spec.alertmanager is not None:
        after = feed.delivered(known, message, now=now)
    else:
        mine = {each.identity for each in message.firing}
        pace = next((each.pace for each in aimed if each.alert.identity in mine), Pace())
        after = conversations.delivered(known, message, handle=handle, pace=pace, now=now)
    return status.model_copy(update={"conversations": list(after)})


def _plan(
    spec: AlertReceiverSpec,
    status: ReceiverStatus,
    aimed: Sequence[Aim],
    looked_at: Callable[[str], bool],
    fires: Callable[[str], bool],
    now: datetime,
) -> Plan:
    if spec.alertmanager is not None:
        return feed.plan(status.conversations, aimed, looked_at=looked_at, fires=fires, now=now)
    # Only a bot can change what it wrote.
    live = spec.slack is not None and spec.slack.token_from is not None
    manner = Manner(live=live, send_resolved=spec.send_resolved)
    return conversations.plan(status.conversations, aimed, looked_at=looked_at, fires=fires, manner=manner, now=now)


def _asked(receiver: Receiver, spec: AlertReceiverSpec, status: ReceiverStatus, now: datetime) -> tuple[Asked, ...]:
    found: list[Asked] = []
    for request in ReceiverRequest:
        value = requests.unhandled(receiver.annotations, status.handled, request)
        if value is None:
            continue
        match request:
            case ReceiverRequest.TEST:
                found.append((request, value, _test(receiver.key, spec, value, now)))
            case ReceiverRequest.REPLAY:
                found.append((request, value, _missed(status)))
    return tuple(found)


def _test(key: Key, spec: AlertReceiverSpec, value: str, now: datetime) -> tuple[Message, ...]:
    """A test; where it would stay open, its end too."""
    name = f"test-{hashlib.sha256(value.encode()).hexdigest()[:12]}"
    words = f"somebody asked for this test of AlertReceiver {key}"
    alert = Alert(key, AlertName.TEST, Severity.INFO, now, words)
    group = (("namespace", key.namespace), ("receiver", key.name))
    first = Message(name, now, 0, Kind.TEST, f"test of {key}", group, Severity.INFO, (alert,))
    if spec.pagerduty is None and spec.alertmanager is None:
        return (first,)
    end = Ended(alert.identity, Severity.INFO, now, now)
    return first, Message(name, now, 1, Kind.TEST, f"test of {key}", group, Severity.INFO, (), (end,))


def _missed(status: ReceiverStatus) -> tuple[Message, ...]:
    """What came and went while nobody could be told."""
    over = [each for each in status.dead_letters if each.ended_at is not None]
    if not over:
        return ()
    ended = tuple(
        Ended(each.alert, each.severity, each.since, each.ended_at) for each in over if each.ended_at is not None
    )
    began = min(each.since for each in over)
    title = f"{len(over)} alerts came and went while this receiver could not be reached"
    severity = worst([each.severity for each in over])
    return (Message("missed", began, len(over), Kind.MISSED, title, (), severity, (), ended),)
