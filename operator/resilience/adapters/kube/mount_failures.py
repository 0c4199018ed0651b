"""Why a pod has no volumes: only Events say so, for a pod whose containers are being created has no word for it.

Asked for few pods, and only for those that have been at it for a while. Without an answer nothing is known, as before.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from resilience.adapters.kube.paths import CORE, collection
from resilience.adapters.kube.transport import Json, Transport
from resilience.core.model.observation import Pod
from resilience.ports import PortError

FAULT: Final = "FailedMount"
# Volumes of a pod that is well are there by then.
PATIENCE: Final = timedelta(seconds=3)
_MOST: Final = 3
_LENGTH: Final = 600


async def told(transport: Transport, pods: Sequence[Pod], *, namespace: str) -> tuple[Pod, ...]:
    """The pods, with what is wrong with their volumes where something is."""
    now = datetime.now(UTC)
    waiting = [pod for pod in pods if _waits(pod, now)][:_MOST]
    words = await asyncio.gather(*(_words(transport, pod, namespace) for pod in waiting))
    known = {pod.uid: said for pod, said in zip(waiting, words, strict=True) if said}
    return tuple(
        replace(pod, fault=FAULT, trouble=f"{FAULT}: {known[pod.uid]}") if pod.uid in known else pod for pod in pods
    )


def _waits(pod: Pod, now: datetime) -> bool:
    """On a node, not ready, and nobody says why."""
    return bool(pod.node) and not (pod.ready or pod.fault or pod.deleting) and now > pod.created + PATIENCE


async def _words(transport: Transport, pod: Pod, namespace: str) -> str:
    fields = f"involvedObject.uid={pod.uid},reason={FAULT}"
    try:
        found = await transport.list(collection(f"{CORE}events", namespace), fields=fields)
    except PortError:
        return ""
    newest = max(found, key=_when, default=None)
    return " ".join(str((newest or {}).get("message") or "").split())[:_LENGTH]


def _when(event: Json) -> str:
    """RFC 3339 in UTC, so that text compares as time does."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")
