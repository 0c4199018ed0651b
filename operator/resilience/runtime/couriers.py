"""One courier a receiver: sees what is due, tells it, and notes that it was told, before anything else is told.

A receiver that hangs keeps its own courier waiting and nobody else's. What was told is noted in the receiver's status
at once; should the process die between the two, the next one tells it again, under the same name.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from resilience.api.reasons import Reason, ReceiverRequest
from resilience.api.receivers import AlertReceiverSpec
from resilience.api.status_receiver import ReceiverStatus
from resilience.core import report, requests
from resilience.core.alerting import delivery, rounds
from resilience.core.alerting import receiver as receivers
from resilience.core.alerting.message import Message
from resilience.core.alerting.receiver import Receiver
from resilience.core.alerting.routing import Aim
from resilience.core.decision import Event
from resilience.core.observation import Key
from resilience.ports import Clock, Conflict, DeliveryFailed, Leadership, Messenger, Metrics, PortError
from resilience.ports.cluster import ReceiverCluster
from resilience.runtime.alert_hub import AlertHub

log = structlog.get_logger(__name__)

_RETRY: Final = timedelta(seconds=2)
_SOON: Final = timedelta(milliseconds=200)
_TRIES: Final = 5


class Couriers:
    """A courier for every receiver that exists, for as long as it does."""

    def __init__(
        self,
        *,
        cluster: ReceiverCluster,
        hub: AlertHub,
        messenger: Messenger,
        leadership: Leadership,
        metrics: Metrics,
        clock: Clock,
        chance: random.Random | None = None,
    ) -> None:
        self._cluster = cluster
        self._hub = hub
        self._messenger = messenger
        self._leadership = leadership
        self._metrics = metrics
        self._clock = clock
        self._chance = chance or random.Random()
        self._couriers: dict[Key, _Courier] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for courier in self._couriers.values():
                courier.task = group.create_task(courier.run())
            # A group ends with its last task, and there may be no receiver for days.
            await asyncio.Event().wait()

    async def resync(self) -> None:
        """What exists: also tells the hub. Raises PortError."""
        found = await self._cluster.receivers()
        self._hub.receivers(found)
        for key in found:
            self.wake(key)
        for key in set(self._couriers) - set(found):
            self.drop(key)

    def wake(self, key: Key) -> None:
        """Something may have to be told to this receiver."""
        courier = self._couriers.get(key)
        if courier is None:
            courier = self._couriers[key] = _Courier(
                key=key,
                cluster=self._cluster,
                hub=self._hub,
                messenger=self._messenger,
                leadership=self._leadership,
                metrics=self._metrics,
                clock=self._clock,
                chance=self._chance,
                on_gone=self.drop,
            )
            if self._group is not None:
                courier.task = self._group.create_task(courier.run())
        courier.wake()

    def drop(self, key: Key) -> None:
        """The receiver is gone."""
        self._hub.forget(key)
        self._metrics.forget_receiver(key)
        courier = self._couriers.pop(key, None)
        if courier is not None:
            courier.stop()


class _Courier:
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
        self._cluster = cluster
        self._hub = hub
        self._messenger = messenger
        self._leadership = leadership
        self._metrics = metrics
        self._clock = clock
        self._chance = chance
        self._on_gone = on_gone
        self._news = asyncio.Event()
        # The status as it is known here: ahead of what is stored by what was not worth a write, or could not be
        # written. Nothing else is told until what was told is stored.
        self._known: ReceiverStatus | None = None
        self._unsaved = False
        self._stored = ReceiverStatus()
        # When a receiver that failed is tried again, and the generation that failed: a corrected one need not wait.
        self._next_try, self._failed_generation = 0.0, 0

    def wake(self) -> None:
        """Look soon."""
        self._news.set()

    def stop(self) -> None:
        """End, unless it is itself that found out that the receiver is gone."""
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()

    async def run(self) -> None:
        """Works until its receiver is gone."""
        gone = False
        while not gone:
            self._news.clear()
            try:
                gone, wait = await self._turn()
            except PortError as error:
                log.warning("inconclusive", receiver=str(self._key), why=str(error))
                wait = _RETRY
            except Exception:
                log.exception("alerts failed", receiver=str(self._key))
                wait = 30 * _RETRY
            if not gone:
                await self._sleep(wait)
        self._on_gone(self._key)

    async def _sleep(self, wait: timedelta | None) -> None:
        try:
            async with asyncio.timeout(None if wait is None else max(wait.total_seconds(), 0.01)):
                await self._news.wait()
        except TimeoutError:
            return

    async def _turn(self) -> tuple[bool, timedelta | None]:
        """One look. Returns whether the receiver is gone, and when to look again without being woken."""
        receiver = await self._cluster.receiver(self._key)
        if receiver is None:
            return True, None
        self._stored = receiver.status
        status = self._known if self._known is not None else receiver.status
        if self._unsaved:
            receiver = await self._save(receiver, status)
        receiver = replace(receiver, status=status)
        self._hub.seen(receiver)
        spec, now = receiver.spec, self._clock.now()
        if spec is None or spec.suspend:
            await self._note(receiver, status)
            return False, None
        aimed = self._hub.aims(self._key)
        found = rounds.look(receiver, spec, aimed, looked_at=self._hub.looked_at, fires=self._hub.fires, now=now)
        status = found.status
        for request, value, messages in found.asked:
            receiver, status = await self._answer(receiver, spec, status, request, value, messages, aimed)
        waiting = timedelta(seconds=self._next_try - self._clock.monotonic())
        if found.asked or receiver.generation != self._failed_generation:
            waiting = timedelta()
        waits = [found.wait] if found.wait is not None else []
        if found.messages and waiting > timedelta():
            waits.append(waiting)
        elif found.messages:
            receiver, status, again = await self._tell(receiver, spec, status, found.messages, aimed)
            waits.append(again)
        await self._note(receiver, status)
        return False, min(waits, default=None)

    async def _tell(
        self,
        receiver: Receiver,
        spec: AlertReceiverSpec,
        status: ReceiverStatus,
        messages: Sequence[Message],
        aimed: Sequence[Aim],
    ) -> tuple[Receiver, ReceiverStatus, timedelta]:
        """Tells what is due until something fails; each message is noted before the next one is sent."""
        for number, message in enumerate(messages):
            try:
                handle = await self._deliver(receiver, message)
            except DeliveryFailed as error:
                status, wait = delivery.failed(
                    status,
                    error.trouble,
                    undelivered=messages[number:],
                    jitter=self._chance.random(),
                    now=self._clock.now(),
                )
                self._next_try = self._clock.monotonic() + wait.total_seconds()
                self._failed_generation = receiver.generation
                return receiver, status, wait
            self._next_try = 0.0
            status = rounds.told(spec, status, message, handle, aimed, self._clock.now())
            receiver = await self._save(receiver, status)
        # What became due meanwhile.
        return receiver, status, _SOON

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
                handle = await self._deliver(receiver, message)
                status = rounds.told(spec, status, message, handle, aimed, self._clock.now())
            note = "delivered" if messages else "nothing came and went unseen; what still fires is tried again now"
        except DeliveryFailed as error:
            note = f"not delivered: {error.trouble.message}"
        handled = requests.noted(status.handled, request, value, now=self._clock.now(), note=note)
        status = status.model_copy(update={"handled": handled})
        receiver = await self._save(receiver, status)
        await self._emit(receiver, Event(Reason.TEST_DELIVERED, f"{request}: {note}", warning="not" in note[:4]))
        return receiver, status

    async def _deliver(self, receiver: Receiver, message: Message) -> str:
        if not self._leadership.held():
            raise Conflict("not leading any more; nothing is told")
        began = self._clock.monotonic()
        try:
            handle = await self._messenger.deliver(receiver, message)
        except DeliveryFailed as error:
            self._metrics.delivered(receiver=self._key, result="failed", seconds=self._clock.monotonic() - began)
            log.warning("not told", receiver=str(self._key), what=message.title, why=str(error))
            raise
        self._metrics.delivered(receiver=self._key, result="delivered", seconds=self._clock.monotonic() - began)
        log.info("told", receiver=str(self._key), what=message.title, kind=message.kind, delivery=message.delivery)
        return handle

    async def _note(self, receiver: Receiver, status: ReceiverStatus) -> None:
        """Writes the status if a person or the next leader would want to know."""
        self._known = status
        if report.worth_writing(self._stored, receivers.report(receiver, status, self._clock.now())):
            await self._save(receiver, status)

    async def _save(self, receiver: Receiver, status: ReceiverStatus) -> Receiver:
        """Writes the status. Nobody else does, so a conflict is about something else: read again, write again."""
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
            await self._tell_people(before, written)
            self._hub.seen(written)
            return written
        raise Conflict(f"the status of AlertReceiver {self._key} could not be written; it is tried again")

    async def _tell_people(self, before: ReceiverStatus, after: Receiver) -> None:
        """An Event when the receiver goes out of reach, or comes back."""
        status = after.status
        was, is_ = receivers.out_of_reach(before), receivers.out_of_reach(status)
        self._metrics.receiver(
            receiver=self._key,
            open_=int(status.summary or 0),
            dead=len(status.dead_letters),
            suppressed=sum(each.suppressed for each in status.conversations),
        )
        if is_ and not was and status.failure is not None:
            kept = f"; {len(status.dead_letters)} alerts wait" if status.dead_letters else ""
            await self._emit(after, Event(Reason.NOT_DELIVERED, f"{status.failure.message}{kept}", warning=True))
        elif was and not is_:
            await self._emit(after, Event(Reason.DELIVERED, "it can be reached again"))

    async def _emit(self, receiver: Receiver, event: Event) -> None:
        """An Event that cannot be written is no reason to stop: status says the same."""
        try:
            await self._cluster.emit_of_receiver(receiver, event)
        except PortError as error:
            log.warning("event lost", receiver=str(self._key), reason=event.reason, why=str(error))
