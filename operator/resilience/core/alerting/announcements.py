"""First messages whose arrival is not certain, so that no incident stays open that was over before anybody knew.

A receiver that keeps incidents open until it hears of their end is told of it even when the answer to the first message
was lost, or the operator died before it could note it: the message is noted before it is sent. While something of it
fires it is simply sent again; under the same name it is the same incident.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final

from resilience.api.receivers import AlertReceiverSpec
from resilience.api.status_receiver import Announced, Conversation, GroupLabel
from resilience.core.alerting.message import Ended, Kind, Message

MOST: Final = 20


def keeps_open(spec: AlertReceiverSpec) -> bool:
    """Whether the receiver believes that something fires until it is told otherwise. People read, and ask."""
    return spec.send_resolved and (spec.pagerduty is not None or spec.webhook is not None)


def announce(known: Sequence[Announced], message: Message) -> list[Announced]:
    """What is noted before a conversation's first message is sent."""
    new = Announced(
        id=message.conversation,
        title=message.title,
        group=labels_of(message),
        began_at=message.began_at,
        severity=message.severity,
        alerts=[each.identity for each in message.firing],
    )
    return [*withdraw(known, message), new][-MOST:]


def withdraw(known: Sequence[Announced], message: Message) -> list[Announced]:
    """What is left when it is known whether a message of this conversation arrived."""
    return [each for each in known if each.id != message.conversation]


def ends(
    known: Sequence[Announced],
    conversations: Sequence[Conversation],
    firing: Collection[str],
    *,
    looked_at: Callable[[str], bool],
    now: datetime,
) -> tuple[Message, ...]:
    """Ends of conversations of which nothing fires any more, and that may have begun."""
    sent = {each.id: each.sent_at for each in conversations}
    return tuple(
        _end(each, sent.get(each.id), now)
        for each in known
        if not any(alert in firing or not looked_at(alert) for alert in each.alerts)
    )


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
