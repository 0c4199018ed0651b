"""Worker of one receiver: it decides what is due, delivers a message, and records the delivery before the next one.

A delivery is recorded in the receiver's status at once; should the process die between the two, the next process
delivers the message again, under the same name.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from resilience.core.alerting.receiver_pass import PassResult
from resilience.core.alerting.routing import Aim
from resilience.core.model import requests
from resilience.core.model.decision import Event
from resilience.core.model.observation import Key
from resilience.ports import Clock, Conflict, DeliveryFailed, Leadership, Metrics, Notifier, PortError, Receipt
from resilience.ports.cluster import ReceiverCluster
from resilience.runtime.alerting.alert_index import AlertIndex
from resilience.runtime.alerting.receiver_status import ReceiverStatusStore
from resilience.runtime.namespace_slots import NamespaceTurns

log = structlog.get_logger(__name__)

_RETRY: Final = timedelta(seconds=2)
# Least pause between two passes, however often the worker is woken.
_PAUSE: Final = timedelta(seconds=0.5)


@dataclass(frozen=True, slots=True)
class Turns:
    """Places for deliveries, which namespaces get in turn: by a connection of ours, or by a process for Apprise."""

    connections: NamespaceTurns
    processes: NamespaceTurns


class ReceiverWorker:
    """Delivers messages to one receiver."""

    def __init__(
        self,
        *,
        key: Key,
        cluster: ReceiverCluster,
        hub: AlertIndex,
        messenger: Notifier,
        turns: Turns,
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
        self._turns = turns
        self._leadership = leadership
        self._metrics = metrics
        self._clock = clock
        self._chance = chance
        self._on_gone = on_gone
        self._wakeup = asyncio.Event()
        self._notes = ReceiverStatusStore(
            key=key, cluster=cluster, hub=hub, leadership=leadership, metrics=metrics, clock=clock
        )
        # Time of the next try after a failure, and the generation that failed: a corrected receiver need not wait.
        self._next_try, self._failed_generation = 0.0, 0
        # Deliveries that the receiver refused for their content, until they are tried again.
        self._refused: set[str] = set()

    def wake(self) -> None:
        """Requests a pass soon."""
        self._wakeup.set()

    def stop(self) -> None:
        """Cancels the task, unless the task itself has observed that the receiver is gone and calls this."""
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()

    async def run(self) -> None:
        """Runs until the receiver is gone."""
        while True:
            self._wakeup.clear()
            pause, wait = _PAUSE, None
            try:
                is_gone, wait = await self._run_pass()
                # The receiver may have come back during the read.
                if is_gone and not self._wakeup.is_set():
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
                await self._wakeup.wait()
        except TimeoutError:
            return

    async def _run_pass(self) -> tuple[bool, timedelta | None]:
        """One pass. Returns True if the receiver is gone, and the wait until the next pass without a wake-up."""
        receiver = await self._notes.read()
        if receiver is None:
            return True, None
        spec = receiver.spec
        if spec is None or spec.suspend:
            await self._notes.keep(receiver, receiver.status)
            return False, None
        aimed = self._hub.aims(self._key)
        result = self._decide(receiver, spec, aimed)
        status = result.status
        for request, value, messages in result.asked:
            receiver, status = await self._answer(receiver, spec, status, request, value, messages, aimed)
        waiting = timedelta(seconds=self._next_try - self._clock.monotonic())
        if result.asked or receiver.generation != self._failed_generation:
            waiting = timedelta()
        waits = [result.wait] if result.wait is not None else []
        due: Sequence[Message] = result.messages
        if due and waiting > timedelta():
            waits.append(waiting)
            due = [message for message in due if self._refused and message.delivery not in self._refused]
        else:
            self._refused.clear()
        if due:
            receiver, status, wait = await self._deliver_all(receiver, spec, status, due, aimed)
            waits.append(wait)
        await self._notes.keep(receiver, status)
        return False, min(waits, default=None)

    def _decide(self, receiver: Receiver, spec: AlertReceiverSpec, aimed: Sequence[Aim]) -> PassResult:
        hub = self._hub
        return receiver_pass.decide(
            receiver,
            spec,
            aimed,
            looked_at=hub.looked_at,
            fires=hub.fires,
            settled=hub.settled,
            now=self._clock.now(),
        )

    async def _deliver_all(
        self,
        receiver: Receiver,
        spec: AlertReceiverSpec,
        status: ReceiverStatus,
        messages: Sequence[Message],
        aimed: Sequence[Aim],
    ) -> tuple[Receiver, ReceiverStatus, timedelta]:
        """Delivers what is due until the receiver fails; each delivery is recorded before the next message is sent.

        A message that is refused for its content delays no other.
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
            self._measure_delay(status, message)
            status = receiver_pass.told(spec, status, message, receipt.handle, aimed, self._clock.now())
            if self._refused:
                status = status.model_copy(update={"failure": known})
            receiver = await self._notes.save(receiver, status)
        if refused:
            return receiver, *self._failed(receiver, status, trouble, refused)
        self._next_try = self._next_try if self._refused else 0.0
        # More messages may have become due meanwhile.
        return receiver, status, _PAUSE

    def _measure_delay(self, before: ReceiverStatus, message: Message) -> None:
        """Measures the time until the receiver was notified of alerts that are new to it."""
        known = {entry.alert for conversation in before.conversations for entry in conversation.told}
        for alert in message.firing:
            if alert.identity not in known:
                seconds = (self._clock.now() - alert.since).total_seconds()
                self._metrics.notified(receiver=self._key, seconds=seconds)

    def _failed(
        self, receiver: Receiver, status: ReceiverStatus, trouble: DeliveryFailure, undelivered: Sequence[Message]
    ) -> tuple[ReceiverStatus, timedelta]:
        """The status after a failure, and the wait until the next try."""
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
        """Handles a person's request once, and records the result."""
        try:
            for message in messages:
                receipt = await self._deliver(receiver, message)
                status = receiver_pass.told(spec, status, message, receipt.handle, aimed, self._clock.now())
            note = "delivered" if messages else "nothing was missed; alerts that still fire are retried now"
        except DeliveryFailed as error:
            note = f"not delivered: {error.trouble.message}"
        handled = requests.noted(status.handled, request, value, now=self._clock.now(), note=note)
        status = status.model_copy(update={"handled": handled})
        receiver = await self._notes.save(receiver, status)
        await self._notes.emit(receiver, Event(Reason.TEST_DELIVERED, f"{request}: {note}", warning="not" in note[:4]))
        return receiver, status

    async def _deliver(self, receiver: Receiver, message: Message) -> Receipt:
        spec = receiver.spec
        turns = self._turns.processes if spec is not None and spec.apprise is not None else self._turns.connections
        async with turns.taken(self._key.namespace):
            return await self._deliver_now(receiver, message)

    async def _deliver_now(self, receiver: Receiver, message: Message) -> Receipt:
        if not self._leadership.held():
            raise Conflict("not leading any more; nothing is sent")
        began = self._clock.monotonic()
        try:
            receipt = await self._messenger.deliver(receiver, message)
        except DeliveryFailed as error:
            self._metrics.delivered(receiver=self._key, result="failed", seconds=self._clock.monotonic() - began)
            log.warning("not told", receiver=str(self._key), what=message.title, why=str(error))
            raise
        except Exception as error:
            log.exception("not told", receiver=str(self._key), what=message.title)
            words = f"the operator could not send the message ({type(error).__name__}); see its log"
            raise DeliveryFailed(DeliveryFailure(words, unsure=True)) from error
        self._metrics.delivered(receiver=self._key, result="delivered", seconds=self._clock.monotonic() - began)
        traces = sorted({alert.trace for alert in message.firing if alert.trace})[:5]
        fields = {"what": message.title, "kind": message.kind, "delivery": message.delivery, "traces": traces}
        log.info("told", receiver=str(self._key), **fields)
        if receipt.note:
            await self._notes.emit(receiver, Event(Reason.PARTLY_DELIVERED, receipt.note, warning=True))
        return receipt
