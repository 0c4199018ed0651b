"""Record of a worker in its receiver's status: what was notified, which is all that the next leader has to know.

It is written at once, on top of what was read; if the write fails, nothing else is delivered until it succeeds.
"""

from dataclasses import replace
from typing import Final

import structlog

from resilience.api.reasons import Reason
from resilience.api.status_receiver import ReceiverStatus
from resilience.core.alerting import receiver as receivers
from resilience.core.alerting.receiver import Receiver
from resilience.core.alerting.send_intents import is_open
from resilience.core.model.decision import Event
from resilience.core.model.observation import Key
from resilience.core.report.diff import is_worth_writing
from resilience.ports import Clock, Conflict, Leadership, Metrics, PortError
from resilience.ports.cluster import ReceiverCluster
from resilience.runtime.alerting.alert_index import AlertIndex

log = structlog.get_logger(__name__)

_TRIES: Final = 5


class ReceiverStatusStore:
    """The status of one AlertReceiver, as this process knows it and as it is stored."""

    def __init__(
        self,
        *,
        key: Key,
        cluster: ReceiverCluster,
        hub: AlertIndex,
        leadership: Leadership,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._key = key
        self._cluster = cluster
        self._hub = hub
        self._leadership = leadership
        self._metrics = metrics
        self._clock = clock
        # Newer than the stored status by changes that were not worth a write, or could not be written.
        self._known: ReceiverStatus | None = None
        self._unsaved = False
        self._stored = ReceiverStatus()
        self._uid = ""

    async def read(self) -> Receiver | None:
        """The receiver with everything that is known of it; None when it is gone. Raises PortError."""
        receiver = await self._cluster.receiver(self._key)
        if receiver is None:
            return None
        if receiver.uid != self._uid:
            # A new receiver of the same name has got none of the old one's notifications.
            self._uid, self._known, self._unsaved = receiver.uid, None, False
        self._stored = receiver.status
        status = self._known if self._known is not None else receiver.status
        if self._unsaved:
            receiver = await self.save(receiver, status)
        receiver = replace(receiver, status=status)
        self._publish(receiver)
        return receiver

    async def keep(self, receiver: Receiver, status: ReceiverStatus) -> None:
        """Writes the status if a person or the next leader needs the change."""
        self._known = status
        if is_worth_writing(self._stored, receivers.report(receiver, status, self._clock.now())):
            await self.save(receiver, status)

    async def save(self, receiver: Receiver, status: ReceiverStatus) -> Receiver:
        """Writes the status. Nobody else does, so a conflict is about another field: read and write again."""
        self._known, self._unsaved = status, True
        for _ in range(_TRIES):
            if not self._leadership.held():
                raise Conflict("not leading any more; nothing is written")
            try:
                written = await self._cluster.write_receiver(
                    receiver, receivers.report(receiver, status, self._clock.now())
                )
            except Conflict:
                fresh = await self._cluster.receiver(self._key)
                if fresh is None:
                    break
                receiver = fresh
                continue
            before, self._stored, self._unsaved = self._stored, written.status, False
            self._publish(written)
            await self._emit_change(before, written)
            return written
        raise Conflict(f"the status of AlertReceiver {self._key} could not be written; it is retried")

    async def _emit_change(self, before: ReceiverStatus, after: Receiver) -> None:
        """Emits an Event when the receiver goes out of reach, or comes back."""
        status = after.status
        was_out, is_out = receivers.out_of_reach(before), receivers.out_of_reach(status)
        if is_out and not was_out and status.failure is not None:
            waiting = f"; {len(status.dead_letters)} alerts wait" if status.dead_letters else ""
            await self.emit(after, Event(Reason.NOT_DELIVERED, f"{status.failure.message}{waiting}", warning=True))
        elif was_out and not is_out:
            has_delivered = status.last_success != before.last_success
            words = "it can be reached again" if has_delivered else "no alert is left to deliver"
            await self.emit(after, Event(Reason.DELIVERED, words))

    async def emit(self, receiver: Receiver, event: Event) -> None:
        """Emits an Event. One that cannot be written is no reason to stop: status has the same information."""
        try:
            await self._cluster.emit_of_receiver(receiver, event)
        except PortError as error:
            log.warning("event lost", receiver=str(self._key), reason=event.reason, why=str(error))

    def _publish(self, receiver: Receiver) -> None:
        status = receiver.status
        self._metrics.receiver(
            receiver=self._key,
            open_=sum(is_open(conversation) for conversation in status.conversations),
            dead=len(status.dead_letters),
            suppressed=sum(conversation.suppressed for conversation in status.conversations),
        )
        self._hub.seen(receiver)
