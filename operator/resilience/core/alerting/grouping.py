"""Start of conversations: by group, after the group's wait, and as one when too many would start at a time.

A conversation is an incident as one receiver sees it: one thread of notifications.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from resilience.api.reasons import Severity
from resilience.api.status_receiver import Conversation
from resilience.core.alerting.alert import by_weight, worse
from resilience.core.alerting.message import Kind, Message
from resilience.core.alerting.routing import Aim, Group

# Limit of conversations that start within a short time; above it they become one, a storm.
FLOOD: Final = 5
_SHORT: Final = timedelta(minutes=1)
# New alerts join a storm while it is young.
STORM: Final = "storm-"
STORM_LASTS: Final = timedelta(minutes=10)
# Conversations that a status has room for. The last place is for one that takes all further alerts.
CONVERSATIONS: Final = 100
# Limits of alerts in one conversation, and in all together; further alerts are only counted.
MEMBERS: Final = 100
CAPACITY: Final = 500


def identifier(group: Group) -> str:
    """Identifier of a group, the same at every receiver: a person whom two receivers notify sees one incident."""
    return hashlib.sha256("\n".join(f"{name}={value}" for name, value in group).encode()).hexdigest()[:20]


def fitting(members: Sequence[Aim], *, taken: int, room: int, believed: Severity | None) -> Sequence[Aim]:
    """The members that are notified; `members` has the worst alert first.

    However many alerts there are, at least one is notified of a new conversation (`believed` None), and when the worst
    one is worse than the severity that the receiver believes.
    """
    count = max(min(MEMBERS - taken, room), 0)
    if count == 0 and members and (believed is None or worse(members[0].alert.severity, believed)):
        count = 1
    return members[:count]


@dataclass(frozen=True, slots=True)
class Openings:
    """First messages that are due, and the times at which the others become due."""

    messages: tuple[Message, ...]
    later: tuple[datetime, ...]


def openings(fresh: Sequence[Aim], kept: Sequence[Conversation], now: datetime, *, room: int) -> Openings:
    """Conversations that start; `fresh` has the worst alert first. Too many in a short time become one."""
    groups: dict[Group, list[Aim]] = {}
    for aim in fresh:
        groups.setdefault(aim.group, []).append(aim)
    due, later = [], []
    for group, members in groups.items():
        at = min(aim.alert.since + aim.pace.group_wait for aim in members)
        if at <= now:
            due.append((group, members))
        else:
            later.append(at)
    recent = [conversation for conversation in kept if conversation.opened_at > now - _SHORT]
    if due and (len(recent) + len(due) > FLOOD or len(kept) + len(due) >= CONVERSATIONS):
        everything = sorted((aim for _, members in due for aim in members), key=lambda aim: by_weight(aim.alert))
        return Openings((_storm(everything, room),), tuple(later))
    messages = []
    for group, members in due:
        messages.append(_opened(group, members, room))
        room -= len(messages[-1].firing)
    return Openings(tuple(messages), tuple(later))


def _opened(group: Group, members: Sequence[Aim], room: int) -> Message:
    notified = fitting(members, taken=0, room=room, believed=None)
    alerts = [aim.alert for aim in notified]
    return Message(
        conversation=identifier(group),
        began_at=min(alert.since for alert in alerts),
        sequence=0,
        kind=Kind.OPENED,
        title=_title(group, members),
        group=group,
        severity=alerts[0].severity,
        firing=tuple(alerts),
        more=len(members) - len(notified),
        note=_note(notified),
    )


def _storm(members: Sequence[Aim], room: int) -> Message:
    """One conversation for many alerts at once, for as long as they last: nobody reads thirty messages."""
    services = len({aim.alert.key for aim in members})
    title = f"{len(members)} alerts of {services} services"
    opened = _opened((), members, room)
    oldest = min(members, key=lambda aim: (aim.alert.since, aim.alert.identity)).alert
    name = identifier((("oldest", f"{oldest.since.isoformat()} {oldest.identity}"),))
    return replace(opened, conversation=f"{STORM}{name}", title=title)


def _title(group: Group, members: Sequence[Aim]) -> str:
    named = [value for name, value in group if name not in ("alertname", "severity") and value]
    words = "/".join(named) or "all services"
    names = sorted({str(aim.alert.name) for aim in members if ("alertname", str(aim.alert.name)) in group})
    return f"{' '.join(names)} {words}".strip()[:200]


def _note(members: Sequence[Aim]) -> str:
    missing = sorted({str(aim.instead_of) for aim in members if aim.instead_of is not None})
    return f"sent here because {', '.join(missing)} cannot be reached" if missing else ""
