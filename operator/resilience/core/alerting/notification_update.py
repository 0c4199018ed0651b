"""One conversation as it goes on: what of it has to be told, and when."""

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


class Talk:
    """What has changed in a conversation, and when it has to be told."""

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
        self._aims = {each.alert: aim for each in conversation.told if (aim := firing.get(each.alert)) is not None}
        entries = conversation.told
        # What the receiver believes to fire, and fires; what it believes to fire, and is over; what is back untold.
        self.on = [each for each in entries if each.alert in self._aims and not _end_heard(each)]
        self.ended = [each for each in entries if each.ended_at is not None and not each.end_told]
        self.back = [each for each in entries if each.alert in self._aims and _end_heard(each)]
        # Those of services that nobody has looked at yet are still believed to fire.
        self.unsure = [
            each for each in entries if each.alert not in self._aims and each.ended_at is None and not each.end_told
        ]
        self._believed = worst([each.severity for each in (*self.on, *self.unsure, *self.ended)])
        lasting = [*self.on, *self.unsure]
        self.joining = fitting(joining, taken=len(lasting), room=room, believed=self._believed if lasting else None)
        self._more = len(joining) - len(self.joining)
        aims = [*self._aims.values(), *self.joining]
        self._pace = aims[0].pace if aims else _PACE

    @property
    def over(self) -> bool:
        """Whether nothing of it fires any more."""
        return not (self.on or self.unsure or self._returning() or self.joining)

    def due(self, manner: Manner) -> datetime | None:
        """When something of it has to be told; None when nothing has to be."""
        return min([*self._good_news(manner), *self._milder(), *self._bad_news(), *self._again()], default=None)

    def _good_news(self, manner: Manner) -> list[datetime]:
        times = [self._end_due(each) for each in self.ended]
        if not times:
            return []
        if not (self.on or self.unsure):
            # All of it is over, as soon as the last one is.
            return [max(times)]
        # With nothing but what is unsure besides, it would look as if all of it was over.
        return [max(*times, self._next)] if manner.live and self.on else []

    def _end_due(self, entry: ToldAlert) -> datetime:
        """At once, unless it has come back before: then when it has been quiet for long enough."""
        assert entry.ended_at is not None
        return entry.ended_at + (self.conversation.suppress_for if entry.returns else timedelta())

    def _milder(self) -> list[datetime]:
        """What is less bad than the receiver believes; it wakes nobody more often than what comes back does."""
        milder = [each for each in self.on if worse(each.severity, self._aims[each.alert].alert.severity)]
        return [self.conversation.sent_at + self.conversation.suppress_for] if milder else []

    def _bad_news(self) -> list[datetime]:
        times = []
        for entry in self.on:
            aim = self._aims[entry.alert]
            if worse(aim.alert.severity, entry.severity) and not aim.held(self.now):
                times.append(self.now)
        for aim in self.joining:
            lead = aim.alert.since + aim.pace.group_wait
            urgent = is_open(self.conversation) and worse(aim.alert.severity, self._believed)
            times.append(lead if urgent or not is_open(self.conversation) else max(lead, self._next))
        for entry in self.back:
            aim = self._aims[entry.alert]
            if not aim.held(self.now):
                escalates = worse(aim.alert.severity, entry.severity)
                # Its end was the last thing that was told of it, unless something else was told since.
                times.append(self.now if escalates else self.conversation.sent_at + self.conversation.suppress_for)
        return times

    def _again(self) -> list[datetime]:
        return [
            entry.told_at + self._aims[entry.alert].pace.repeat_after
            for entry in self.on
            if not self._aims[entry.alert].held(self.now)
        ]

    @property
    def _next(self) -> datetime:
        return self.conversation.sent_at + self._pace.group_interval

    def _returning(self) -> list[ToldAlert]:
        """What came back and is told of again, now that something is told at all."""
        return [each for each in self.back if not self._aims[each.alert].held(self.now)]

    def message(self) -> Message:
        """What is told now."""
        conversation = self.conversation
        again = not is_open(conversation)
        believed = [self._aims[each.alert].alert for each in (*self.on, *self._returning())]
        firing = sorted([*believed, *(each.alert for each in self.joining)], key=by_weight)
        ended = tuple(
            Ended(each.alert, each.severity, each.since, each.ended_at, self._fires(each.alert), each.cause)
            for each in self.ended
            if each.ended_at is not None
        )
        severities = [each.severity for each in firing] or [each.severity for each in conversation.told]
        return Message(
            conversation=conversation.id,
            began_at=min((each.since for each in firing), default=self.now) if again else conversation.began_at,
            sequence=0 if again else conversation.messages,
            kind=self._kind(firing_any=bool(firing or self.unsure), again=again, severity=worst(severities)),
            title=conversation.title,
            group=tuple((each.name, each.value) for each in conversation.group),
            severity=worst(severities),
            firing=tuple(firing),
            ended=ended,
            follows=conversation.sent_at,
            more=self._more,
            suppressed=conversation.suppressed,
            handle="" if again else conversation.handle,
        )

    def _kind(self, *, firing_any: bool, again: bool, severity: Severity) -> Kind:
        if not firing_any:
            return Kind.ENDED
        if again:
            return Kind.OPENED
        if worse(severity, self._believed):
            return Kind.ESCALATED
        return Kind.UPDATED if self.joining or self.ended or self.back or self._milder() else Kind.REPEATED


def _end_heard(entry: ToldAlert) -> bool:
    """Whether the receiver may believe that it is over."""
    return entry.end_told or entry.end_unsure
