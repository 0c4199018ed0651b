"""One courier for each receiver. One that hangs keeps its own courier waiting and nobody else's."""

import asyncio
import random

from resilience.core.model.observation import Key
from resilience.ports import Clock, Leadership, Messenger, Metrics
from resilience.ports.cluster import ReceiverCluster
from resilience.runtime.alerting.alert_index import AlertHub
from resilience.runtime.alerting.receiver_worker import Courier


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
        self._couriers: dict[Key, Courier] = {}
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
        """What exists: also tells the hub. What a list lacks may be younger than it: its courier sees for itself.

        Raises PortError.
        """
        found = await self._cluster.receivers()
        self._hub.receivers(found)
        for key in [*found, *self._couriers]:
            self.wake(key)

    def wake(self, key: Key) -> None:
        """Something may have to be told to this receiver."""
        courier = self._couriers.get(key)
        if courier is None:
            courier = self._couriers[key] = Courier(
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
