"""Mount failures of pods, read from Events: the status of a pod whose containers are being created has no field for it.

Events are read for few pods, and only for those that have waited for a while. Without an answer no cause is known.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from resilience.adapters.kube.listed import Json
from resilience.adapters.kube.paths import CORE, collection
from resilience.adapters.kube.transport import Transport
from resilience.core.model.observation import Pod
from resilience.ports import PortError

FAULT: Final = "FailedMount"
# By then the volumes of a healthy pod are mounted.
PATIENCE: Final = timedelta(seconds=3)
_MOST: Final = 3
_LENGTH: Final = 600


async def with_mount_failures(transport: Transport, pods: Sequence[Pod], *, namespace: str) -> tuple[Pod, ...]:
    """The pods, with fault and trouble set where their volumes fail to mount."""
    now = transport.now()
    waiting = [pod for pod in pods if _waits(pod, now)][:_MOST]
    messages = await asyncio.gather(*(_message(transport, pod, namespace) for pod in waiting))
    known = {pod.uid: message for pod, message in zip(waiting, messages, strict=True) if message}
    return tuple(
        replace(pod, fault=FAULT, trouble=f"{FAULT}: {known[pod.uid]}") if pod.uid in known else pod for pod in pods
    )


def _waits(pod: Pod, now: datetime) -> bool:
    """The pod has been on a node for longer than `PATIENCE`, not ready, without a known fault, and is not deleted."""
    return bool(pod.node) and not (pod.ready or pod.fault or pod.deleting) and now > pod.created + PATIENCE


async def _message(transport: Transport, pod: Pod, namespace: str) -> str:
    fields = f"involvedObject.uid={pod.uid},reason={FAULT}"
    try:
        events = await transport.list(collection(f"{CORE}events", namespace), fields=fields)
    except PortError:
        return ""
    newest = max(events, key=_timestamp, default=None)
    return " ".join(str((newest or {}).get("message") or "").split())[:_LENGTH]


def _timestamp(event: Json) -> str:
    """Time of an Event in RFC 3339 and UTC, so that texts compare as times do."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")
