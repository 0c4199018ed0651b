"""Messages to an Alertmanager: every alert by itself, again and again while it fires, and its end.

Alertmanager groups, mutes and repeats by itself, so no rule of `notifications` applies. It ends an alert by itself that
is not sent again within `EXPIRES`: should the operator be gone for good, no alert stays open.
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
# The same as Prometheus: https://prometheus.io/docs/alerting/latest/clients/.
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
    """One message with all alerts that fire and all that are over, when they changed or have to be sent again."""
    before = next((conversation for conversation in known if conversation.id == FEED), None)
    alerts = sorted((aim.alert for aim in aimed if not aim.held(now)), key=by_weight)[:CAPACITY]
    firing = {alert.identity: alert for alert in alerts}
    notified = {entry.alert: entry for entry in (before.told if before is not None else ()) if not entry.end_told}
    known_here = {aim.alert.identity for aim in aimed}
    ended = tuple(
        Ended(entry.alert, entry.severity, entry.since, now, fires(entry.alert), entry.cause)
        for entry in notified.values()
        if _is_over(entry, firing, known_here, looked_at)
    )
    changed = any(
        (entry := notified.get(alert.identity)) is None or entry.severity is not alert.severity for alert in alerts
    )
    resend_at = before.sent_at + RESEND if before is not None and alerts else None
    if not (ended or changed or (resend_at is not None and resend_at <= now)):
        times = [*windows_move(aimed, now), *([resend_at] if resend_at is not None else [])]
        return NotificationPlan(tuple(known), (), min((at - now for at in times), default=None))
    message = Message(
        conversation=FEED,
        began_at=before.began_at if before is not None else now,
        sequence=before.messages if before is not None else 0,
        kind=Kind.UPDATED if alerts else Kind.ENDED,
        title="alerts",
        group=(),
        severity=worst([alert.severity for alert in alerts]),
        firing=tuple(alerts),
        ended=ended,
        follows=before.sent_at if before is not None else None,
    )
    return NotificationPlan(tuple(known), (message,), RESEND)


def delivered(known: Sequence[Conversation], message: Message, *, now: datetime) -> tuple[Conversation, ...]:
    """The alerts that it believes to fire now. Those that are over are dropped: Alertmanager remembers them itself."""
    before = next((conversation for conversation in known if conversation.id == FEED), None)
    sent = {ended.identity for ended in message.ended} | {alert.identity for alert in message.firing}
    kept = [entry for entry in (before.told if before is not None else ()) if entry.alert not in sent]
    entries = [*(entry_of(alert, now) for alert in message.firing), *kept][:CAPACITY]
    after = Conversation(
        id=FEED,
        title=message.title,
        began_at=message.began_at,
        opened_at=before.opened_at if before is not None else now,
        sent_at=now,
        messages=message.sequence + 1,
        told=entries,
    )
    return (after,) if entries else ()


def _is_over(
    entry: ToldAlert, firing: Mapping[str, Alert], known: Collection[str], looked_at: Callable[[str], bool]
) -> bool:
    """The alert as sent has to be ended: to Alertmanager an alert with another severity or cause is another one."""
    alert = firing.get(entry.alert)
    if alert is not None:
        return alert.severity is not entry.severity or alert.cause != entry.cause
    return entry.alert not in known and looked_at(entry.alert)
