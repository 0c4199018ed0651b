"""What an Alertmanager is told: every alert by itself, again and again while it fires, and its end.

It groups, mutes and repeats by itself, so nothing of `conversations` applies. An alert that is not sent again ends
there by itself after `EXPIRES`: should the operator be gone for good, nothing stays open.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from resilience.api.status_receiver import Conversation, ToldAlert
from resilience.core.alerting.alert import Alert, by_weight, worst
from resilience.core.alerting.grouping import CAPACITY
from resilience.core.alerting.message import Ended, Kind, Message
from resilience.core.alerting.notifications import NotificationPlan, entry_of, windows_move
from resilience.core.alerting.routing import Aim

FEED: Final = "feed"
# As Prometheus does it: https://prometheus.io/docs/alerting/latest/clients/.
RESEND: Final = timedelta(minutes=1)
EXPIRES: Final = timedelta(minutes=4)


def plan(
    known: Sequence[Conversation],
    aimed: Sequence[Aim],
    *,
    looked_at: Callable[[str], bool],
    fires: Callable[[str], bool],
    now: datetime,
) -> NotificationPlan:
    """One message with all that fires and all that is over, when that changed or has to be sent again."""
    before = next((each for each in known if each.id == FEED), None)
    alerts = sorted((each.alert for each in aimed if not each.held(now)), key=by_weight)[:CAPACITY]
    firing = {each.identity: each for each in alerts}
    told = {each.alert: each for each in (before.told if before is not None else ()) if not each.end_told}
    known_here = {each.alert.identity for each in aimed}
    ended = tuple(
        Ended(each.alert, each.severity, each.since, now, fires(each.alert), each.cause)
        for each in told.values()
        if _is_over(each, firing, known_here, looked_at)
    )
    changed = any((entry := told.get(each.identity)) is None or entry.severity is not each.severity for each in alerts)
    again = before.sent_at + RESEND if before is not None and alerts else None
    if not (ended or changed or (again is not None and again <= now)):
        times = [*windows_move(aimed, now), *([again] if again is not None else [])]
        return NotificationPlan(tuple(known), (), min((at - now for at in times), default=None))
    message = Message(
        conversation=FEED,
        began_at=before.began_at if before is not None else now,
        sequence=before.messages if before is not None else 0,
        kind=Kind.UPDATED if alerts else Kind.ENDED,
        title="alerts",
        group=(),
        severity=worst([each.severity for each in alerts]),
        firing=tuple(alerts),
        ended=ended,
        follows=before.sent_at if before is not None else None,
    )
    return NotificationPlan(tuple(known), (message,), RESEND)


def delivered(known: Sequence[Conversation], message: Message, *, now: datetime) -> tuple[Conversation, ...]:
    """What it believes now. What is over is forgotten: Alertmanager remembers it by itself."""
    before = next((each for each in known if each.id == FEED), None)
    over = {each.identity for each in message.ended} | {each.identity for each in message.firing}
    kept = [each for each in (before.told if before is not None else ()) if each.alert not in over]
    told = [*(entry_of(each, now) for each in message.firing), *kept][:CAPACITY]
    after = Conversation(
        id=FEED,
        title=message.title,
        began_at=message.began_at,
        opened_at=before.opened_at if before is not None else now,
        sent_at=now,
        messages=message.sequence + 1,
        told=told,
    )
    return (after,) if told else ()


def _is_over(
    entry: ToldAlert, firing: Mapping[str, Alert], known: Collection[str], looked_at: Callable[[str], bool]
) -> bool:
    """Whether what was told has to be ended: to Alertmanager an alert with another severity is another one."""
    now = firing.get(entry.alert)
    if now is not None:
        return now.severity is not entry.severity or now.cause != entry.cause
    return entry.alert not in known and looked_at(entry.alert)
