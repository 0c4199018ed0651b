"""Reads the autoscaler of a workload: a HorizontalPodAutoscaler, or the KEDA ScaledObject behind it.

KEDA scales to zero by itself: the HorizontalPodAutoscaler that it makes never has fewer than one replica.
"""

from typing import Final

from resilience.adapters.kube.paths import collection
from resilience.adapters.kube.transport import Json, NotFound, Transport
from resilience.core.model.observation import Autoscaler
from resilience.core.model.workload import Workload
from resilience.ports import Refused

_PAUSED_AT: Final = "autoscaling.keda.sh/paused-replicas"
# KEDA never takes a workload to zero by these alone: a pod that is not there uses nothing.
_NEVER_IDLE: Final = ("cpu", "memory")


async def read(transport: Transport, workload: Workload) -> Autoscaler | None:
    """The autoscaler of the workload; None when there is none.

    Without KEDA, or without the right to read its objects, only HorizontalPodAutoscalers are known.
    """
    namespace = workload.namespace
    scaler = None
    for raw in await transport.list(collection("horizontalpodautoscalers", namespace)):
        if _is_target(raw, workload):
            scaler = _horizontal(raw)
            break
    try:
        scaled = await transport.list(collection("scaledobjects", namespace))
    except (NotFound, Refused):
        return scaler
    return next((_scaled(raw) for raw in scaled if _is_target(raw, workload) and _least(raw) == 0), scaler)


def _is_target(raw: Json, workload: Workload) -> bool:
    ref = (raw.get("spec") or {}).get("scaleTargetRef") or {}
    return ref.get("kind", "Deployment") == workload.kind.value and ref.get("name") == workload.name


def _horizontal(raw: Json) -> Autoscaler:
    min_replicas = raw["spec"].get("minReplicas")
    return Autoscaler(raw["metadata"]["name"], 1 if min_replicas is None else int(min_replicas))


def _scaled(raw: Json) -> Autoscaler:
    return Autoscaler(raw["metadata"]["name"], _least(raw), is_scaled_object=True)


def _least(raw: Json) -> int:
    """Fewest replicas that KEDA scales to: zero unless the object says otherwise."""
    spec, annotations = raw["spec"], raw["metadata"].get("annotations") or {}
    paused_at = annotations.get(_PAUSED_AT, "")
    counts = [int(paused_at)] if paused_at.isdecimal() else []
    triggers = [trigger.get("type") for trigger in spec.get("triggers") or []]
    if triggers and all(kind in _NEVER_IDLE for kind in triggers):
        return min([max(int(spec.get("minReplicaCount") or 1), 1), *counts])
    idle = spec.get("idleReplicaCount")
    counts += [int(spec.get("minReplicaCount") or 0), *([] if idle is None else [int(idle)])]
    return min(counts)
