"""AlertReceivers: reads them as views, and writes their status with a precondition on what was read."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from resilience.adapters.kube import readable
from resilience.adapters.kube.parse import specification
from resilience.adapters.kube.paths import collection, named
from resilience.adapters.kube.transport import NotFound, Transport
from resilience.adapters.kube.writer import event_body, merged
from resilience.api.names import FIELD_MANAGER, RECEIVER_KIND, RECEIVER_PLURAL
from resilience.api.receivers import AlertReceiverSpec
from resilience.api.status_receiver import ReceiverStatus
from resilience.core.alerting.receiver import Receiver
from resilience.core.model.decision import Event
from resilience.core.model.observation import Key
from resilience.ports import Refused

log = structlog.get_logger(__name__)


class KubeReceivers:
    """Implements `ports.cluster.ReceiverCluster`. Empty `namespaces` means all; `instance` names us in Events."""

    def __init__(self, *, transport: Transport, namespaces: Sequence[str], instance: str) -> None:
        self._transport = transport
        self._namespaces: tuple[str | None, ...] = tuple(dict.fromkeys(namespaces)) or (None,)
        self._instance = instance

    async def receiver(self, key: Key) -> Receiver | None:
        """The AlertReceiver, or None when it does not exist."""
        raw = await self._transport.find(named(RECEIVER_PLURAL, key.namespace, key.name))
        return None if raw is None else parse(raw)

    async def receivers(self) -> Mapping[Key, Receiver]:
        """All AlertReceivers in the namespaces that we manage."""
        lists = await asyncio.gather(*(self._listed(namespace) for namespace in self._namespaces))
        return {receiver.key: receiver for receivers in lists for receiver in receivers}

    async def write_receiver(self, receiver: Receiver, status: ReceiverStatus) -> Receiver:
        """Merge-patch the whole status, with null for removed fields, on the version that was read."""
        body = {
            "metadata": {"resourceVersion": receiver.resource_version},
            "status": merged(dict(receiver.raw_status), status.to_api()),
        }
        path = named(RECEIVER_PLURAL, receiver.key.namespace, receiver.key.name)
        return parse(await self._transport.patch(f"{path}/status", body, fieldManager=FIELD_MANAGER))

    async def emit_of_receiver(self, receiver: Receiver, event: Event) -> None:
        """Write an Event on the receiver."""
        now, instance = self._transport.now(), self._instance
        body = event_body(event, kind=RECEIVER_KIND, key=receiver.key, uid=receiver.uid, instance=instance, now=now)
        await self._transport.post(collection("events", receiver.key.namespace), body)

    async def _listed(self, namespace: str | None) -> Sequence[Receiver]:
        """AlertReceivers of one namespace; empty when it is gone or closed to us: it must not hide the others."""
        try:
            return await self._transport.views(collection(RECEIVER_PLURAL, namespace), parse)
        except NotFound:
            # Somebody else may install the definitions, and they may be older than the operator.
            log.warning("the definition of AlertReceiver is not installed: nobody is notified of alerts; apply crds/")
            return []
        except Refused as error:
            if namespace is None:
                raise
            log.warning("namespace left out", namespace=namespace, why=str(error))
            return []


def parse(raw: Mapping[str, Any]) -> Receiver:
    """An AlertReceiver; when its spec is invalid, `spec` is None and `problem` is the reason."""
    meta = raw["metadata"]
    spec, problem = specification(AlertReceiverSpec, raw)
    raw_status = raw.get("status") or {}
    return Receiver(
        key=Key(meta["namespace"], meta["name"]),
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        generation=meta.get("generation", 0),
        annotations=meta.get("annotations") or {},
        spec=spec,
        problem=problem,
        # Fields that a newer operator, or a person, wrote and that cannot be read start anew.
        status=readable.read(ReceiverStatus, raw_status)[0],
        raw_status=raw_status,
    )
