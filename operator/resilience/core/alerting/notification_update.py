"""Updates of an ongoing conversation: their content, and the times at which they are due."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from resilience.api.reasons import Severity
from resilience.api.status_receiver import Conversation, ToldAlert
from resilience.core.alerting.alert import by_weight, worse, worst
from resilience.core.alerting.grouping import fitting
from resilience.core.alerting.message import Ended, Kind, Manner, Message
from resilience.core.alerting.routing import Aim, Pace
from resilience.core.alerting.send_intents import is_open

_PACE: Final = Pace()


class ConversationUpdate:
    """Changes of a conversation since its last message, and the times at which they are due."""

    def __init__(
        self,
        conversation: Conversation,
        firing: Mapping[str, Aim],
        joining: Sequence[Aim],
        fires: Callable[[str], bool],
        now: datetime,
        room: int,
    ) -> None:
        self.conversation, self.now, self._fires = conversation, now, fires
        self._aims = {entry.alert: aim for entry in conversation.told if (aim := firing.get(entry.alert)) is not None}
        entries = conversation.told
        # on: believed to fire, and fires. ended: believed to fire, and is over. back: fires again, not yet notified.
        self.on = [entry for entry in entries if entry.alert in self._aims and not _end_may_be_known(entry)]
        self.ended = [entry for entry in entries if entry.ended_at is not None and not entry.end_told]
        self.back = [entry for entry in entries if entry.alert in self._aims and _end_may_be_known(entry)]
        # Alerts of services that have not been observed yet are still believed to fire.
        self.unsure = [
            entry
            for entry in entries
            if entry.alert not in self._aims and entry.ended_at is None and not entry.end_told
        ]
        self._believed = worst([entry.severity for entry in (*self.on, *self.unsure, *self.ended)])
        lasting = [*self.on, *self.unsure]
        self.joining = fitting(joining, taken=len(lasting), room=room, believed=self._believed if lasting else None)
        self._more = len(joining) - len(self.joining)
        aims = [*self._aims.values(), *self.joining]
        self._pace = aims[0].pace if aims else _PACE

    @property
    def over(self) -> bool:
        """No alert of the conversation fires any more."""
        return not (self.on or self.unsure or self._returning() or self.joining)

    def due(self, manner: Manner) -> datetime | None:
        """Time at which the next update is due; None when there is no update."""
        return min(
            [*self._end_times(manner), *self._milder_times(), *self._firing_times(), *self._repeat_times()],
            default=None,
        )

    def _end_times(self, manner: Manner) -> list[datetime]:
        times = [self._end_due(entry) for entry in self.ended]
        if not times:
            return []
        if not (self.on or self.unsure):
            # The whole conversation is over as soon as its last alert is.
            return [max(times)]
        # If only unsure alerts remained, an update would look as if all alerts were over.
        return [max(*times, self._next_interval)] if manner.live and self.on else []

    def _end_due(self, entry: ToldAlert) -> datetime:
        """Time at which an end is due: at once, or after suppressFor of quiet if the alert has come back before."""
        assert entry.ended_at is not None
        return entry.ended_at + (self.conversation.suppress_for if entry.returns else timedelta())

    def _milder_times(self) -> list[datetime]:
        """Time to notify that alerts are milder than believed; it wakes nobody more often than returning alerts do."""
        milder = [entry for entry in self.on if worse(entry.severity, self._aims[entry.alert].alert.severity)]
        return [self.conversation.sent_at + self.conversation.suppress_for] if milder else []

    def _firing_times(self) -> list[datetime]:
        times = []
        for entry in self.on:
            aim = self._aims[entry.alert]
            if worse(aim.alert.severity, entry.severity) and not aim.held(self.now):
                times.append(self.now)
        for aim in self.joining:
            earliest = aim.alert.since + aim.pace.group_wait
            is_urgent = is_open(self.conversation) and worse(aim.alert.severity, self._believed)
            times.append(
                earliest if is_urgent or not is_open(self.conversation) else max(earliest, self._next_interval)
            )
        for entry in self.back:
            aim = self._aims[entry.alert]
            if not aim.held(self.now):
                escalates = worse(aim.alert.severity, entry.severity)
                # The last message was the one with its end, unless another message was sent since.
                times.append(self.now if escalates else self.conversation.sent_at + self.conversation.suppress_for)
        return times

    def _repeat_times(self) -> list[datetime]:
        return [
            entry.told_at + self._aims[entry.alert].pace.repeat_after
            for entry in self.on
            if not self._aims[entry.alert].held(self.now)
        ]

    @property
    def _next_interval(self) -> datetime:
        return self.conversation.sent_at + self._pace.group_interval

    def _returning(self) -> list[ToldAlert]:
        """Alerts that came back; the next message has them too, whatever its reason."""
        return [entry for entry in self.back if not self._aims[entry.alert].held(self.now)]

    def message(self) -> Message:
        """The message that is due now."""
        conversation = self.conversation
        reopens = not is_open(conversation)
        believed = [self._aims[entry.alert].alert for entry in (*self.on, *self._returning())]
        firing = sorted([*believed, *(aim.alert for aim in self.joining)], key=by_weight)
        ended = tuple(
            Ended(entry.alert, entry.severity, entry.since, entry.ended_at, self._fires(entry.alert), entry.cause)
            for entry in self.ended
            if entry.ended_at is not None
        )
        severities = [alert.severity for alert in firing] or [entry.severity for entry in conversation.told]
        return Message(
            conversation=conversation.id,
            began_at=min((alert.since for alert in firing), default=self.now) if reopens else conversation.began_at,
            sequence=0 if reopens else conversation.messages,
            kind=self._kind(any_fires=bool(firing or self.unsure), reopens=reopens, severity=worst(severities)),
            title=conversation.title,
            group=tuple((label.name, label.value) for label in conversation.group),
            severity=worst(severities),
            firing=tuple(firing),
            ended=ended,
            follows=conversation.sent_at,
            more=self._more,
            suppressed=conversation.suppressed,
            handle="" if reopens else conversation.handle,
        )

    def _kind(self, *, any_fires: bool, reopens: bool, severity: Severity) -> Kind:
        if not any_fires:
            return Kind.ENDED
        if reopens:
            return Kind.OPENED
        if worse(severity, self._believed):
            return Kind.ESCALATED
        return Kind.UPDATED if self.joining or self.ended or self.back or self._milder_times() else Kind.REPEATED


def _end_may_be_known(entry: ToldAlert) -> bool:
    """The receiver may believe that the alert is over."""
    return entry.end_told or entry.end_unsure
