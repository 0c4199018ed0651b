"""Notifications that are due to a receiver: the difference between what fires and what it was notified of.

That difference is the whole queue. While a receiver cannot be reached, the queue does not grow beyond the current
problems, and alerts that came and went meanwhile leave it. A new leader restores it unchanged, because the notified
alerts are kept in status.

The rules: the first message of a group waits for more alerts (groupWait); many alerts that start at once are one
message. An alert that gets worse or is over is notified at once, one that gets milder after suppressFor. An alert that
comes back within suppressFor is counted, not notified; one that keeps coming back is over only after suppressFor of
quiet.
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
from resilience.core.alerting.notification_update import ConversationUpdate
from resilience.core.alerting.routing import Aim, Pace
from resilience.core.alerting.send_intents import is_open, labels_of

# Limit of alerts that one conversation keeps, with those that are over: a status has to have room for them.
_ENTRIES: Final = 400
# Windows of routes open and close by the minute.
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class NotificationPlan:
    """`conversations` is the record without the messages, which count only when they are delivered."""

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

    `looked_at`: true if the alert's service has been observed since this operator started; an alert of any other
    service is not over. `fires`: true if an alert fires at all, whoever is notified. Both take the alert's identity.
    """
    firing = {aim.alert.identity: aim for aim in aimed}
    kept = [_refreshed(conversation, firing, looked_at, now) for conversation in known]
    kept = [conversation for conversation in kept if conversation.told]
    notified = {entry.alert for conversation in kept for entry in conversation.told}
    fresh = [aim for identity, aim in firing.items() if identity not in notified and not aim.held(now)]
    fresh.sort(key=lambda aim: by_weight(aim.alert))
    joining = _joining(kept, fresh, now)
    room, talks = CAPACITY - len(notified), []
    for conversation in kept:
        talks.append(ConversationUpdate(conversation, firing, joining.get(conversation.id, ()), fires, now, room))
        room -= len(talks[-1].joining)
    joined = {aim.alert.identity for members in joining.values() for aim in members}
    started = openings([aim for aim in fresh if aim.alert.identity not in joined], kept, now, room=room)
    due = [talk for talk in talks if (at := talk.due(manner)) is not None and at <= now]
    silent = {talk.conversation.id for talk in due if talk.over and not manner.send_resolved}
    messages = [*started.messages, *(talk.message() for talk in due if talk.conversation.id not in silent)]
    kept = [_ended_silently(conversation, now) if conversation.id in silent else conversation for conversation in kept]
    waits = [at for talk in talks if (at := talk.due(manner)) is not None and at > now]
    waits.extend(windows_move(aimed, now))
    return NotificationPlan(
        tuple(kept),
        tuple(sorted(messages, key=_urgency)),
        min((at - now for at in (*waits, *started.later, *_removal_times(kept, now))), default=None),
    )


def windows_move(aimed: Iterable[Aim], now: datetime) -> list[datetime]:
    """The time to check again alerts that only a route's windows withhold; empty when there is none."""
    return [now + _MINUTE for aim in aimed if not aim.alert.held and aim.held(now)][:1]


def delivered(
    conversations: Sequence[Conversation], message: Message, *, handle: str, pace: Pace, now: datetime
) -> tuple[Conversation, ...]:
    """The record after a message has arrived. `handle`: the receiver's own name of the message, if it has one."""
    before = next((conversation for conversation in conversations if conversation.id == message.conversation), None)
    entries = {entry.alert: entry for entry in (before.told if before is not None else ())}
    over = {ended.identity for ended in message.ended}
    end = {"end_told": True, "end_unsure": False}
    notified = [entry.model_copy(update=end) if entry.alert in over else entry for entry in entries.values()]
    firing = {alert.identity: alert for alert in message.firing}
    notified = [entry for entry in notified if entry.alert not in firing]
    for identity, alert in firing.items():
        old = entries.get(identity)
        notified.append(entry_of(alert, now, returns=old.returns if old is not None else 0))
    after = Conversation(
        id=message.conversation,
        title=message.title,
        group=labels_of(message),
        began_at=message.began_at,
        opened_at=before.opened_at if before is not None and message.sequence else now,
        sent_at=now,
        messages=message.sequence + 1,
        # A conversation that is over has no message to keep up to date any more.
        handle=handle if not message.over else "",
        suppress_for=before.suppress_for if before is not None else pace.suppress_for,
        told=_bounded(notified),
    )
    return (*(conversation for conversation in conversations if conversation.id != after.id), after)


def ending(conversations: Sequence[Conversation], message: Message) -> list[Conversation]:
    """The record before a message with ends is sent: an ended alert that comes back has to be notified again."""
    over = {ended.identity for ended in message.ended}
    updated = []
    for conversation in conversations:
        if conversation.id == message.conversation and over:
            entries = [
                entry.model_copy(update={"end_unsure": True}) if entry.alert in over else entry
                for entry in conversation.told
            ]
            conversation = conversation.model_copy(update={"told": entries})
        updated.append(conversation)
    return updated


def _bounded(entries: list[ToldAlert]) -> list[ToldAlert]:
    """Entries that a conversation has room for. Those that ended first are dropped first and not notified any more."""
    over = sorted((entry.ended_at, entry.alert) for entry in entries if entry.ended_at is not None)
    dropped = {alert for _, alert in over[: max(len(entries) - _ENTRIES, 0)]}
    return [entry for entry in entries if entry.alert not in dropped]


def entry_of(alert: Alert, now: datetime, *, returns: int = 0) -> ToldAlert:
    """The entry for an alert that is notified now."""
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
    """The conversation as of now: ends are recorded, returns are counted, old entries are removed."""
    entries, suppressed = [], conversation.suppressed
    for entry in conversation.told:
        fires = entry.alert in firing
        if fires and entry.ended_at is not None:
            entry = entry.model_copy(update={"ended_at": None, "returns": entry.returns + 1})
            suppressed += 1
        elif not fires and entry.ended_at is None and looked_at(entry.alert):
            entry = entry.model_copy(update={"ended_at": now})
        if not (entry.end_told and entry.ended_at is not None and _quiet_at(entry, conversation) <= now):
            entries.append(entry)
    return conversation.model_copy(update={"told": entries, "suppressed": suppressed})


def _quiet_at(entry: ToldAlert, conversation: Conversation) -> datetime:
    """Time at which an alert that is over has been quiet for long enough to be removed; it is a new one afterwards."""
    assert entry.ended_at is not None
    return max(entry.ended_at, entry.told_at) + conversation.suppress_for


def _ended_silently(conversation: Conversation, now: datetime) -> Conversation:
    """The conversation with its ends recorded but not sent, for a receiver that gets no ends."""
    entries = [
        entry.model_copy(update={"end_told": True}) if entry.ended_at is not None else entry
        for entry in conversation.told
    ]
    return conversation.model_copy(update={"told": entries, "sent_at": now})


def _removal_times(conversations: Iterable[Conversation], now: datetime) -> list[datetime]:
    times = [
        _quiet_at(entry, conversation)
        for conversation in conversations
        for entry in conversation.told
        if entry.end_told and entry.ended_at is not None
    ]
    return [at for at in times if at > now]


def _joining(kept: Sequence[Conversation], fresh: Sequence[Aim], now: datetime) -> dict[str, list[Aim]]:
    """New alerts by the id of the existing conversation that they join.

    That is the one of their group, or else a storm that is young and open, or any storm when all places are taken.
    """
    ids, is_full = {conversation.id for conversation in kept}, len(kept) >= CONVERSATIONS
    storms = [
        conversation.id
        for conversation in kept
        if conversation.id.startswith(STORM)
        and (is_full or (is_open(conversation) and conversation.opened_at > now - STORM_LASTS))
    ]
    joining: dict[str, list[Aim]] = {}
    for aim in fresh:
        id_ = identifier(aim.group)
        if id_ in ids:
            joining.setdefault(id_, []).append(aim)
        elif storms:
            joining.setdefault(storms[-1], []).append(aim)
    return joining


def _urgency(message: Message) -> tuple[bool, int, datetime]:
    """Sort key: ends before starts, for people who are awake already; then the worst message first."""
    rank = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}[message.severity]
    return (not message.over, rank, message.began_at)
