"""Records of messages that may or may not have arrived, so that no incident stays open after its alerts are over.

A receiver that believes that an alert fires until an end message arrives gets that message even when the answer to the
first one was lost, or the operator died before it could record the answer: new alerts of a message are recorded before
it is sent. While an alert fires, it is simply sent again; under the same name it is the same incident.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final

from resilience.api.receivers import AlertReceiverSpec
from resilience.api.status_receiver import Announced, Conversation, GroupLabel, ToldAlert
from resilience.core.alerting.message import Ended, Kind, Message

MOST: Final = 20


def keeps_open(spec: AlertReceiverSpec) -> bool:
    """The receiver believes that an alert fires until an end message arrives. People, by contrast, read and ask."""
    return spec.send_resolved and (spec.pagerduty is not None or spec.webhook is not None)


def announce(known: Sequence[Announced], message: Message, conversations: Sequence[Conversation]) -> list[Announced]:
    """The records before a message is sent; unchanged when it has no new alert."""
    notified = {entry.alert for conversation in conversations for entry in conversation.told if not entry.end_told}
    new = [alert.identity for alert in message.firing if alert.identity not in notified]
    if not new:
        return list(known)
    before = next((intent.alerts for intent in known if intent.id == message.conversation), [])
    announced = Announced(
        id=message.conversation,
        title=message.title,
        group=labels_of(message),
        began_at=message.began_at,
        severity=message.severity,
        alerts=list(dict.fromkeys([*before, *new]))[:100],
    )
    return [*withdraw(known, message), announced][-MOST:]


def withdraw(known: Sequence[Announced], message: Message) -> list[Announced]:
    """The records that are left after a message of this conversation has arrived."""
    return [intent for intent in known if intent.id != message.conversation]


def taken_in(
    conversation: Conversation,
    known: Sequence[Announced],
    firing: Collection[str],
    *,
    looked_at: Callable[[str], bool],
    now: datetime,
) -> Conversation:
    """An ongoing conversation, with alerts that are over and that it may have notified: their ends are sent with it."""
    announced = next((intent for intent in known if intent.id == conversation.id), None)
    if announced is None or not is_open(conversation):
        return conversation
    notified = {entry.alert for entry in conversation.told}
    over = [alert for alert in announced.alerts if alert not in notified and alert not in firing and looked_at(alert)]
    entries = [
        ToldAlert(alert=alert, severity=announced.severity, since=announced.began_at, told_at=now, ended_at=now)
        for alert in over
    ]
    return conversation.model_copy(update={"told": [*conversation.told, *entries]})


def ends(
    known: Sequence[Announced],
    conversations: Sequence[Conversation],
    firing: Collection[str],
    *,
    looked_at: Callable[[str], bool],
    now: datetime,
) -> tuple[Message, ...]:
    """End messages of conversations that may have started, and of which no alert fires any more."""
    sent = {conversation.id: conversation.sent_at for conversation in conversations}
    open_ = {conversation.id for conversation in conversations if is_open(conversation)}
    return tuple(
        _end(intent, sent.get(intent.id), now)
        for intent in known
        if intent.id not in open_ and not any(alert in firing or not looked_at(alert) for alert in intent.alerts)
    )


def is_open(conversation: Conversation) -> bool:
    """The receiver believes that an alert of the conversation fires."""
    return any(not entry.end_told for entry in conversation.told)


def labels_of(message: Message) -> list[GroupLabel]:
    """The group of a message, as status stores it."""
    return [GroupLabel(name=name, value=value[:1024]) for name, value in message.group]


def _end(announced: Announced, follows: datetime | None, now: datetime) -> Message:
    return Message(
        conversation=announced.id,
        began_at=announced.began_at,
        sequence=1,
        kind=Kind.ENDED,
        title=announced.title,
        group=tuple((label.name, label.value) for label in announced.group),
        severity=announced.severity,
        firing=(),
        ended=tuple(Ended(alert, announced.severity, announced.began_at, now) for alert in announced.alerts),
        follows=follows,
    )
