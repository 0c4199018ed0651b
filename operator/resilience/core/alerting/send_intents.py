"""What was about to be told when nobody could note whether it arrived: no incident stays open that was over before.

A receiver that believes that something fires until it hears of its end is told of that end even when the answer to the
message was lost, or the operator died before it could note it: what is new in a message is noted before it is sent.
While it fires it is simply sent again; under the same name it is the same incident.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final

from resilience.api.receivers import AlertReceiverSpec
from resilience.api.status_receiver import Announced, Conversation, GroupLabel, ToldAlert
from resilience.core.alerting.message import Ended, Kind, Message

MOST: Final = 20


def keeps_open(spec: AlertReceiverSpec) -> bool:
    """Whether the receiver believes that something fires until it is told otherwise. People read, and ask."""
    return spec.send_resolved and (spec.pagerduty is not None or spec.webhook is not None)


def announce(known: Sequence[Announced], message: Message, conversations: Sequence[Conversation]) -> list[Announced]:
    """What is noted before a message is sent; nothing when it says nothing new."""
    told = {entry.alert for each in conversations for entry in each.told if not entry.end_told}
    new = [each.identity for each in message.firing if each.identity not in told]
    if not new:
        return list(known)
    before = next((each.alerts for each in known if each.id == message.conversation), [])
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
    """What is left when a message of this conversation arrived."""
    return [each for each in known if each.id != message.conversation]


def taken_in(
    conversation: Conversation,
    known: Sequence[Announced],
    firing: Collection[str],
    *,
    looked_at: Callable[[str], bool],
    now: datetime,
) -> Conversation:
    """A conversation that goes on, with what may have been told in it and is over: its end is told with the others."""
    announced = next((each for each in known if each.id == conversation.id), None)
    if announced is None or not is_open(conversation):
        return conversation
    told = {each.alert for each in conversation.told}
    over = [each for each in announced.alerts if each not in told and each not in firing and looked_at(each)]
    entries = [
        ToldAlert(alert=each, severity=announced.severity, since=announced.began_at, told_at=now, ended_at=now)
        for each in over
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
    """Ends of conversations that may have begun, and of which nothing fires any more."""
    sent = {each.id: each.sent_at for each in conversations}
    open_ = {each.id for each in conversations if is_open(each)}
    return tuple(
        _end(each, sent.get(each.id), now)
        for each in known
        if each.id not in open_ and not any(alert in firing or not looked_at(alert) for alert in each.alerts)
    )


def is_open(conversation: Conversation) -> bool:
    """Whether the receiver believes that something of it fires."""
    return any(not each.end_told for each in conversation.told)


def labels_of(message: Message) -> list[GroupLabel]:
    """The group of a message, as it is kept."""
    return [GroupLabel(name=name, value=value[:1024]) for name, value in message.group]


def _end(announced: Announced, follows: datetime | None, now: datetime) -> Message:
    return Message(
        conversation=announced.id,
        began_at=announced.began_at,
        sequence=1,
        kind=Kind.ENDED,
        title=announced.title,
        group=tuple((each.name, each.value) for each in announced.group),
        severity=announced.severity,
        firing=(),
        ended=tuple(Ended(each, announced.severity, announced.began_at, now) for each in announced.alerts),
        follows=follows,
    )
