"""One worker for each receiver. One that hangs delays its own worker, and those of no other namespace."""

import asyncio
import random
from typing import Final

from resilience.core.model.observation import Key
from resilience.ports import Clock, Leadership, Metrics, Notifier
from resilience.ports.cluster import ReceiverCluster
from resilience.runtime.alerting.alert_index import AlertIndex
from resilience.runtime.alerting.receiver_worker import ReceiverWorker, Turns
from resilience.runtime.namespace_slots import NamespaceTurns

# Deliveries at once, of the whole operator.
_AT_ONCE: Final = 32
# Processes for Apprise, of some 80 MiB each at most; one of a namespace, for it may hang.
_PROCESSES: Final = 2


class Dispatcher:
    """A worker for every receiver, for as long as the receiver exists."""

    def __init__(
        self,
        *,
        cluster: ReceiverCluster,
        hub: AlertIndex,
        messenger: Notifier,
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
        self._turns = Turns(connections=NamespaceTurns(_AT_ONCE), processes=NamespaceTurns(_PROCESSES))
        self._couriers: dict[Key, ReceiverWorker] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Runs the workers until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for courier in self._couriers.values():
                courier.task = group.create_task(courier.run())
            # A task group ends with its last task, and there may be no receiver for days.
            await asyncio.Event().wait()

    async def resync(self) -> None:
        """Updates the index and wakes all workers. A receiver that is not listed may be newer: its worker checks that.

        Raises PortError.
        """
        receivers = await self._cluster.receivers()
        self._hub.receivers(receivers)
        for key in [*receivers, *self._couriers]:
            self.wake(key)

    def wake(self, key: Key) -> None:
        """Wakes the worker of a receiver to which a message may be due; starts the worker if there is none."""
        courier = self._couriers.get(key)
        if courier is None:
            courier = self._couriers[key] = ReceiverWorker(
                key=key,
                cluster=self._cluster,
                hub=self._hub,
                messenger=self._messenger,
                turns=self._turns,
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
        """Stops the worker of a receiver that is gone, and removes the receiver."""
        self._hub.forget_receiver(key)
        self._metrics.forget_receiver(key)
        courier = self._couriers.pop(key, None)
        if courier is not None:
            courier.stop()
