"""One receiver's courier: sees what is due, tells it, and notes that it was told, before anything else is told.

What was told is noted in the receiver's status at once; should the process die between the two, the next one tells it
again, under the same name.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

import structlog

from resilience.api.reasons import Reason, ReceiverRequest
from resilience.api.receivers import AlertReceiverSpec
from resilience.api.status_receiver import ReceiverStatus
from resilience.core.alerting import delivery, receiver_pass
from resilience.core.alerting.delivery import DeliveryFailure
from resilience.core.alerting.message import Message
from resilience.core.alerting.receiver import Receiver
from resilience.core.alerting.receiver_pass import Round
from resilience.core.alerting.routing import Aim
from resilience.core.model import requests
from resilience.core.model.decision import Event
from resilience.core.model.observation import Key
from resilience.ports import Clock, Conflict, DeliveryFailed, Leadership, Messenger, Metrics, PortError, Receipt
from resilience.ports.cluster import ReceiverCluster
from resilience.runtime.alerting.alert_index import AlertHub
from resilience.runtime.alerting.receiver_status import Notes

log = structlog.get_logger(__name__)

_RETRY: Final = timedelta(seconds=2)
# Between two looks, however often the courier is woken.
_BREATH: Final = timedelta(seconds=0.5)


class Courier:
    """Tells one receiver."""

    def __init__(
        self,
        *,
        key: Key,
        cluster: ReceiverCluster,
        hub: AlertHub,
        messenger: Messenger,
        leadership: Leadership,
        metrics: Metrics,
        clock: Clock,
        chance: random.Random,
        on_gone: Callable[[Key], None],
    ) -> None:
        self.task: asyncio.Task[None] | None = None
        self._key = key
        self._hub = hub
        self._messenger = messenger
        self._leadership = leadership
        self._metrics = metrics
        self._clock = clock
        self._chance = chance
        self._on_gone = on_gone
        self._news = asyncio.Event()
        self._notes = Notes(key=key, cluster=cluster, hub=hub, leadership=leadership, metrics=metrics, clock=clock)
        # When a receiver that failed is tried again, and the generation that failed: a corrected one need not wait.
        self._next_try, self._failed_generation = 0.0, 0
        # Messages that are not taken for what is in them, until they are tried again.
        self._refused: set[str] = set()

    def wake(self) -> None:
        """Look soon."""
        self._news.set()

    def stop(self) -> None:
        """End, unless it is itself that found out that the receiver is gone."""
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()

    async def run(self) -> None:
        """Works until its receiver is gone."""
        while True:
            self._news.clear()
            pause, wait = _BREATH, None
            try:
                gone, wait = await self._turn()
                # It may have come back while it was looked for.
                if gone and not self._news.is_set():
                    break
            except PortError as error:
                log.warning("inconclusive", receiver=str(self._key), why=str(error))
                pause = wait = _RETRY
            except Exception:
                log.exception("alerts failed", receiver=str(self._key))
                pause = wait = 30 * _RETRY
            await asyncio.sleep(pause.total_seconds())
            await self._sleep(None if wait is None else wait - pause)
        self._on_gone(self._key)

    async def _sleep(self, wait: timedelta | None) -> None:
        try:
            async with asyncio.timeout(None if wait is None else max(wait.total_seconds(), 0.01)):
                await self._news.wait()
        except TimeoutError:
            return

    async def _turn(self) -> tuple[bool, timedelta | None]:
        """One look. Returns whether the receiver is gone, and when to look again without being woken."""
        receiver = await self._notes.read()
        if receiver is None:
            return True, None
        spec = receiver.spec
        if spec is None or spec.suspend:
            await self._notes.keep(receiver, receiver.status)
            return False, None
        aimed = self._hub.aims(self._key)
        found = self._look(receiver, spec, aimed)
        status = found.status
        for request, value, messages in found.asked:
            receiver, status = await self._answer(receiver, spec, status, request, value, messages, aimed)
        waiting = timedelta(seconds=self._next_try - self._clock.monotonic())
        if found.asked or receiver.generation != self._failed_generation:
            waiting = timedelta()
        waits = [found.wait] if found.wait is not None else []
        due: Sequence[Message] = found.messages
        if due and waiting > timedelta():
            waits.append(waiting)
            due = [each for each in due if self._refused and each.delivery not in self._refused]
        else:
            self._refused.clear()
        if due:
            receiver, status, again = await self._tell(receiver, spec, status, due, aimed)
            waits.append(again)
        await self._notes.keep(receiver, status)
        return False, min(waits, default=None)

    def _look(self, receiver: Receiver, spec: AlertReceiverSpec, aimed: Sequence[Aim]) -> Round:
        hub = self._hub
        return receiver_pass.look(
            receiver,
            spec,
            aimed,
            looked_at=hub.looked_at,
            fires=hub.fires,
            settled=hub.settled,
            now=self._clock.now(),
        )

    async def _tell(
        self,
        receiver: Receiver,
        spec: AlertReceiverSpec,
        status: ReceiverStatus,
        messages: Sequence[Message],
        aimed: Sequence[Aim],
    ) -> tuple[Receiver, ReceiverStatus, timedelta]:
        """Tells what is due until the receiver fails; each message is noted before the next one is sent.

        One that is refused for what is in it keeps no other waiting.
        """
        refused: list[Message] = []
        trouble, known = DeliveryFailure(""), status.failure
        for number, message in enumerate(messages):
            before, status = status, receiver_pass.begun(spec, status, message)
            if status != before:
                receiver = await self._notes.save(receiver, status)
            try:
                receipt = await self._deliver(receiver, message)
            except DeliveryFailed as error:
                trouble = error.trouble
                status = status if trouble.unsure else before
                refused.append(message)
                if trouble.of_message:
                    self._refused.add(message.delivery)
                    continue
                return receiver, *self._failed(receiver, status, trouble, [*refused, *messages[number + 1 :]])
            self._heard(status, message)
            status = receiver_pass.told(spec, status, message, receipt.handle, aimed, self._clock.now())
            if self._refused:
                status = status.model_copy(update={"failure": known})
            receiver = await self._notes.save(receiver, status)
        if refused:
            return receiver, *self._failed(receiver, status, trouble, refused)
        self._next_try = self._next_try if self._refused else 0.0
        # What became due meanwhile.
        return receiver, status, _BREATH

    def _heard(self, before: ReceiverStatus, message: Message) -> None:
        """Counts how long it took until the receiver knew what is new to it."""
        known = {entry.alert for each in before.conversations for entry in each.told}
        for alert in message.firing:
            if alert.identity not in known:
                seconds = (self._clock.now() - alert.since).total_seconds()
                self._metrics.heard(receiver=self._key, seconds=seconds)

    def _failed(
        self, receiver: Receiver, status: ReceiverStatus, trouble: DeliveryFailure, undelivered: Sequence[Message]
    ) -> tuple[ReceiverStatus, timedelta]:
        """The status after a failure, and when to try again."""
        status, wait = delivery.failed(
            status, trouble, undelivered=undelivered, jitter=self._chance.random(), now=self._clock.now()
        )
        self._next_try = self._clock.monotonic() + wait.total_seconds()
        self._failed_generation = receiver.generation
        return status, wait

    async def _answer(
        self,
        receiver: Receiver,
        spec: AlertReceiverSpec,
        status: ReceiverStatus,
        request: ReceiverRequest,
        value: str,
        messages: Sequence[Message],
        aimed: Sequence[Aim],
    ) -> tuple[Receiver, ReceiverStatus]:
        """Does what a person asked for, once, and says how it went."""
        try:
            for message in messages:
                receipt = await self._deliver(receiver, message)
                status = receiver_pass.told(spec, status, message, receipt.handle, aimed, self._clock.now())
            note = "delivered" if messages else "nothing came and went unseen; what still fires is tried again now"
        except DeliveryFailed as error:
            note = f"not delivered: {error.trouble.message}"
        handled = requests.noted(status.handled, request, value, now=self._clock.now(), note=note)
        status = status.model_copy(update={"handled": handled})
        receiver = await self._notes.save(receiver, status)
        await self._notes.emit(receiver, Event(Reason.TEST_DELIVERED, f"{request}: {note}", warning="not" in note[:4]))
        return receiver, status

    async def _deliver(self, receiver: Receiver, message: Message) -> Receipt:
        if not self._leadership.held():
            raise Conflict("not leading any more; nothing is told")
        began = self._clock.monotonic()
        try:
            receipt = await self._messenger.deliver(receiver, message)
        except DeliveryFailed as error:
            self._metrics.delivered(receiver=self._key, result="failed", seconds=self._clock.monotonic() - began)
            log.warning("not told", receiver=str(self._key), what=message.title, why=str(error))
            raise
        except Exception as error:
            log.exception("not told", receiver=str(self._key), what=message.title)
            words = f"the operator could not tell it ({type(error).__name__}); its log says more"
            raise DeliveryFailed(DeliveryFailure(words, unsure=True)) from error
        self._metrics.delivered(receiver=self._key, result="delivered", seconds=self._clock.monotonic() - began)
        traces = sorted({each.trace for each in message.firing if each.trace})[:5]
        what = {"what": message.title, "kind": message.kind, "delivery": message.delivery, "traces": traces}
        log.info("told", receiver=str(self._key), **what)
        if receipt.note:
            await self._notes.emit(receiver, Event(Reason.PARTLY_DELIVERED, receipt.note, warning=True))
        return receipt
