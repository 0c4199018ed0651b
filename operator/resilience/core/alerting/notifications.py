"""What a receiver has to be told: the difference between what fires and what it was told of.

That difference is the whole queue: while a receiver cannot be reached it does not grow beyond what is wrong, what
came and went meanwhile is in it no more, and a new leader finds it as it was, for what was told is kept in status.

The rules: the first message of a group waits for others (groupWait); many that begin at once are one message;
what gets worse and what is over is told at once, what gets milder after suppressFor; an alert that comes back within
suppressFor is counted, not told, and one that keeps coming back is over only when it has been quiet for as long.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from resilience.api.reasons import Severity
from resilience.api.status_receiver import Conversation, ToldAlert
from resilience.core.alerting.alert import Alert, by_weight
from resilience.core.alerting.grouping import CAPACITY, CONVERSATIONS, STORM, STORM_LASTS, identifier, openings
from resilience.core.alerting.message import Manner, Message
from resilience.core.alerting.notification_update import Talk
from resilience.core.alerting.routing import Aim, Pace
from resilience.core.alerting.send_intents import is_open, labels_of

# Alerts of one conversation that are kept, with those that are over: a status has to hold them.
_ENTRIES: Final = 400
# Windows of routes open and close by the minute.
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class NotificationPlan:
    """`conversations` is the book-keeping without the messages, which count only when they are delivered."""

    conversations: tuple[Conversation, ...]
    messages: tuple[Message, ...]
    wait: timedelta | None


def plan(
    known: Sequence[Conversation],
    aimed: Sequence[Aim],
    *,
    looked_at: Callable[[str], bool],
    fires: Callable[[str], bool],
    manner: Manner,
    now: datetime,
) -> NotificationPlan:
    """The messages that are due, the worst first.

    `looked_at` tells by an alert's identity whether its service has been looked at since this operator began: of one
    that has not, nothing is over. `fires`: whether an alert fires at all, wherever it is told.
    """
    firing = {each.alert.identity: each for each in aimed}
    kept = [_refreshed(each, firing, looked_at, now) for each in known]
    kept = [each for each in kept if each.told]
    told = {entry.alert for each in kept for entry in each.told}
    fresh = [each for identity, each in firing.items() if identity not in told and not each.held(now)]
    fresh.sort(key=lambda each: by_weight(each.alert))
    joining = _joining(kept, fresh, now)
    room, talks = CAPACITY - len(told), []
    for each in kept:
        talks.append(Talk(each, firing, joining.get(each.id, ()), fires, now, room))
        room -= len(talks[-1].joining)
    joined = {each.alert.identity for members in joining.values() for each in members}
    begun = openings([each for each in fresh if each.alert.identity not in joined], kept, now, room=room)
    due = [talk for talk in talks if (at := talk.due(manner)) is not None and at <= now]
    silent = {talk.conversation.id for talk in due if talk.over and not manner.send_resolved}
    messages = [*begun.messages, *(talk.message() for talk in due if talk.conversation.id not in silent)]
    kept = [_told_silently(each, now) if each.id in silent else each for each in kept]
    waits = [at for talk in talks if (at := talk.due(manner)) is not None and at > now]
    waits.extend(windows_move(aimed, now))
    return NotificationPlan(
        tuple(kept),
        tuple(sorted(messages, key=_urgency)),
        min((at - now for at in (*waits, *begun.later, *_forgotten(kept, now))), default=None),
    )


def windows_move(aimed: Iterable[Aim], now: datetime) -> list[datetime]:
    """When to look again at what only a route's windows hold back."""
    return [now + _MINUTE for each in aimed if not each.alert.held and each.held(now)][:1]


def delivered(
    conversations: Sequence[Conversation], message: Message, *, handle: str, pace: Pace, now: datetime
) -> tuple[Conversation, ...]:
    """The book-keeping after a message has arrived. `handle`: the receiver's own name of it, if it has one."""
    before = next((each for each in conversations if each.id == message.conversation), None)
    entries = {each.alert: each for each in (before.told if before is not None else ())}
    over = {each.identity for each in message.ended}
    end = {"end_told": True, "end_unsure": False}
    told = [entry.model_copy(update=end) if entry.alert in over else entry for entry in entries.values()]
    firing = {each.identity: each for each in message.firing}
    told = [each for each in told if each.alert not in firing]
    for identity, alert in firing.items():
        old = entries.get(identity)
        told.append(entry_of(alert, now, returns=old.returns if old is not None else 0))
    after = Conversation(
        id=message.conversation,
        title=message.title,
        group=labels_of(message),
        began_at=message.began_at,
        opened_at=before.opened_at if before is not None and message.sequence else now,
        sent_at=now,
        messages=message.sequence + 1,
        # What ended needs no message to keep up to date any more.
        handle=handle if not message.over else "",
        suppress_for=before.suppress_for if before is not None else pace.suppress_for,
        told=_bounded(told),
    )
    return (*(each for each in conversations if each.id != after.id), after)


def ending(conversations: Sequence[Conversation], message: Message) -> list[Conversation]:
    """The book-keeping before a message is sent that tells of ends: should one come back, it has to be told again."""
    over = {each.identity for each in message.ended}
    found = []
    for each in conversations:
        if each.id == message.conversation and over:
            told = [
                entry.model_copy(update={"end_unsure": True}) if entry.alert in over else entry for entry in each.told
            ]
            each = each.model_copy(update={"told": told})
        found.append(each)
    return found


def _bounded(told: list[ToldAlert]) -> list[ToldAlert]:
    """What a conversation has room for: what was over first goes first, and is told no more."""
    over = sorted((each.ended_at, each.alert) for each in told if each.ended_at is not None)
    gone = {alert for _, alert in over[: max(len(told) - _ENTRIES, 0)]}
    return [each for each in told if each.alert not in gone]


def entry_of(alert: Alert, now: datetime, *, returns: int = 0) -> ToldAlert:
    """The note that an alert was told now."""
    return ToldAlert(
        alert=alert.identity,
        severity=alert.severity,
        cause=alert.cause,
        since=alert.since,
        told_at=now,
        returns=returns,
    )


def _refreshed(
    conversation: Conversation, firing: Mapping[str, Aim], looked_at: Callable[[str], bool], now: datetime
) -> Conversation:
    """The conversation as it stands now: what is over is noted, what came back is counted, what is old is forgotten."""
    told, suppressed = [], conversation.suppressed
    for entry in conversation.told:
        fires = entry.alert in firing
        if fires and entry.ended_at is not None:
            entry = entry.model_copy(update={"ended_at": None, "returns": entry.returns + 1})
            suppressed += 1
        elif not fires and entry.ended_at is None and looked_at(entry.alert):
            entry = entry.model_copy(update={"ended_at": now})
        if not (entry.end_told and entry.ended_at is not None and _quiet_at(entry, conversation) <= now):
            told.append(entry)
    return conversation.model_copy(update={"told": told, "suppressed": suppressed})


def _quiet_at(entry: ToldAlert, conversation: Conversation) -> datetime:
    """When an alert that is over has been quiet for long enough to be forgotten; another one begins anew then."""
    assert entry.ended_at is not None
    return max(entry.ended_at, entry.told_at) + conversation.suppress_for


def _told_silently(conversation: Conversation, now: datetime) -> Conversation:
    """For a receiver that is not told of ends."""
    told = [
        each.model_copy(update={"end_told": True}) if each.ended_at is not None else each for each in conversation.told
    ]
    return conversation.model_copy(update={"told": told, "sent_at": now})


def _forgotten(conversations: Iterable[Conversation], now: datetime) -> list[datetime]:
    times = [
        _quiet_at(entry, each)
        for each in conversations
        for entry in each.told
        if entry.end_told and entry.ended_at is not None
    ]
    return [at for at in times if at > now]


def _joining(kept: Sequence[Conversation], fresh: Sequence[Aim], now: datetime) -> dict[str, list[Aim]]:
    """What belongs to a conversation that there is: that of its group, or else a storm that is young or the last."""
    ids, full = {each.id for each in kept}, len(kept) >= CONVERSATIONS
    storms = [
        each.id
        for each in kept
        if each.id.startswith(STORM) and (full or (is_open(each) and each.opened_at > now - STORM_LASTS))
    ]
    found: dict[str, list[Aim]] = {}
    for each in fresh:
        id_ = identifier(each.group)
        if id_ in ids:
            found.setdefault(id_, []).append(each)
        elif storms:
            found.setdefault(storms[-1], []).append(each)
    return found


def _urgency(message: Message) -> tuple[bool, int, datetime]:
    """The worst first; ends before what opens, for whoever is awake."""
    rank = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}[message.severity]
    return (not message.over, rank, message.began_at)
