"""How conversations begin: by group, after the group's wait, and as one when too many would begin at a time."""

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

# Conversations that begin within a short time, beyond which they are one.
FLOOD: Final = 5
_SHORT: Final = timedelta(minutes=1)
# What begins while such a one is young is told there.
STORM: Final = "storm-"
STORM_LASTS: Final = timedelta(minutes=10)
# What a status has room for. The last place is for one that takes in whatever else there is.
CONVERSATIONS: Final = 100
# Alerts of one conversation, and of all together, beyond which they are only counted.
MEMBERS: Final = 100
CAPACITY: Final = 500


def identifier(group: Group) -> str:
    """The same for the same group at every receiver, so that one who is told by two of them sees one incident."""
    return hashlib.sha256("\n".join(f"{name}={value}" for name, value in group).encode()).hexdigest()[:20]


def fitting(members: Sequence[Aim], *, taken: int, room: int, believed: Severity | None) -> Sequence[Aim]:
    """Those that are told, of members with the worst first. Something is told of every conversation (`believed` None),
    and of whatever is worse than what the receiver believes, however many there are."""
    count = max(min(MEMBERS - taken, room), 0)
    if count == 0 and members and (believed is None or worse(members[0].alert.severity, believed)):
        count = 1
    return members[:count]


@dataclass(frozen=True, slots=True)
class Openings:
    """First messages that are due, and when those that are not will be."""

    messages: tuple[Message, ...]
    later: tuple[datetime, ...]


def openings(fresh: Sequence[Aim], kept: Sequence[Conversation], now: datetime, *, room: int) -> Openings:
    """Conversations that begin, of alerts with the worst first. Too many in a short time are one."""
    groups: dict[Group, list[Aim]] = {}
    for each in fresh:
        groups.setdefault(each.group, []).append(each)
    due, later = [], []
    for group, members in groups.items():
        at = min(each.alert.since + each.pace.group_wait for each in members)
        if at <= now:
            due.append((group, members))
        else:
            later.append(at)
    recent = [each for each in kept if each.opened_at > now - _SHORT]
    if due and (len(recent) + len(due) > FLOOD or len(kept) + len(due) >= CONVERSATIONS):
        everything = sorted((each for _, members in due for each in members), key=lambda each: by_weight(each.alert))
        return Openings((_storm(everything, room),), tuple(later))
    messages = []
    for group, members in due:
        messages.append(_opened(group, members, room))
        room -= len(messages[-1].firing)
    return Openings(tuple(messages), tuple(later))


def _opened(group: Group, members: Sequence[Aim], room: int) -> Message:
    told = fitting(members, taken=0, room=room, believed=None)
    alerts = [each.alert for each in told]
    return Message(
        conversation=identifier(group),
        began_at=min(each.since for each in alerts),
        sequence=0,
        kind=Kind.OPENED,
        title=_title(group, members),
        group=group,
        severity=alerts[0].severity,
        firing=tuple(alerts),
        more=len(members) - len(told),
        note=_note(told),
    )


def _storm(members: Sequence[Aim], room: int) -> Message:
    """Many at once are one conversation for as long as they last: nobody reads thirty."""
    services = len({each.alert.key for each in members})
    title = f"{len(members)} alerts of {services} services"
    opened = _opened((), members, room)
    oldest = min(members, key=lambda each: (each.alert.since, each.alert.identity)).alert
    name = identifier((("oldest", f"{oldest.since.isoformat()} {oldest.identity}"),))
    return replace(opened, conversation=f"{STORM}{name}", title=title)


def _title(group: Group, members: Sequence[Aim]) -> str:
    named = [value for name, value in group if name not in ("alertname", "severity") and value]
    words = "/".join(named) or "all services"
    names = sorted({str(each.alert.name) for each in members if ("alertname", str(each.alert.name)) in group})
    return f"{' '.join(names)} {words}".strip()[:200]


def _note(members: Sequence[Aim]) -> str:
    missing = sorted({str(each.instead_of) for each in members if each.instead_of is not None})
    return f"told here because {', '.join(missing)} cannot be reached" if missing else ""
