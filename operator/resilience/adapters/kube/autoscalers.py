"""Reads the autoscaler of a workload: a HorizontalPodAutoscaler, or the KEDA ScaledObject behind it.

KEDA scales to zero by itself: the HorizontalPodAutoscaler that it makes never has fewer than one replica.
"""

import asyncio
from typing import Final

from resilience.adapters.kube.listed import Json, Listed
from resilience.adapters.kube.paths import collection
from resilience.adapters.kube.shared_lists import SharedLists
from resilience.adapters.kube.transport import NotFound
from resilience.api.names import ANNOTATION_SCALE_UP
from resilience.core.model.autoscaler import SCALING_UP_OFF, Autoscaler
from resilience.core.model.workload import Workload
from resilience.ports import Refused

# Seconds.
_KEDA_AWAY: Final = 60.0
_PAUSED_AT: Final = "autoscaling.keda.sh/paused-replicas"
# KEDA never takes a workload to zero by these alone: a pod that is not there uses nothing.
_NEVER_IDLE: Final = ("cpu", "memory")


class Autoscalers:
    """Reads them. A cluster without KEDA is asked for its objects once in a while."""

    def __init__(self, *, lists: SharedLists) -> None:
        self._lists = lists
        self._without_keda_until = 0.0

    async def of(self, workload: Workload) -> Autoscaler | None:
        """The autoscaler of the workload; None when there is none.

        Without KEDA, or without the right to read its objects, only HorizontalPodAutoscalers are known.
        """

        def concerns(raw: Json) -> bool:
            return _is_target(raw, workload)

        path = collection("horizontalpodautoscalers", workload.namespace)
        horizontal, scaled = await asyncio.gather(self._lists.list(path), self._scaled(workload.namespace))
        scaler = next((_horizontal(raw) for raw in horizontal.about(concerns) if concerns(raw)), None)
        own = [raw for raw in scaled.about(concerns) if concerns(raw)]
        return next((_scaled(raw) for raw in own if _least(raw) == 0), scaler)

    async def _scaled(self, namespace: str) -> Listed[Json]:
        now = asyncio.get_running_loop().time()
        if now < self._without_keda_until:
            return Listed(())
        try:
            return await self._lists.list(collection("scaledobjects", namespace))
        except NotFound:
            self._without_keda_until = now + _KEDA_AWAY
        except Refused:
            pass
        return Listed(())


def _is_target(raw: Json, workload: Workload) -> bool:
    ref = (raw.get("spec") or {}).get("scaleTargetRef") or {}
    return ref.get("kind", "Deployment") == workload.kind.value and ref.get("name") == workload.name


def _horizontal(raw: Json) -> Autoscaler:
    meta, spec = raw["metadata"], raw["spec"]
    min_replicas = spec.get("minReplicas")
    is_free = not any(owner.get("controller") for owner in meta.get("ownerReferences") or [])
    return Autoscaler(
        meta["name"],
        1 if min_replicas is None else int(min_replicas),
        resource_version=meta.get("resourceVersion", ""),
        # The owner of one that is made from another object would write over any change.
        runs_up=is_free and any(_runs_up(metric) for metric in spec.get("metrics") or []),
        scale_up=_scale_up(spec),
        scale_up_before=(meta.get("annotations") or {}).get(ANNOTATION_SCALE_UP),
    )


def _scale_up(spec: Json) -> str:
    behaviour = spec.get("behavior") or {}
    return str((behaviour.get("scaleUp") or {}).get("selectPolicy") or ("Max" if behaviour else ""))


def _runs_up(metric: Json) -> bool:
    """The metric is not divided among the pods that serve: an idle pod has its memory, and a total is no mean.

    CPU and figures per pod are left alone: what the idle colour does not use balances the pods that it adds.
    """
    kind = metric.get("type", "")
    detail = metric.get(f"{kind[:1].lower()}{kind[1:]}") or {}
    if kind in ("Resource", "ContainerResource"):
        return bool(detail.get("name") == "memory")
    return kind in ("Object", "External") and (detail.get("target") or {}).get("type") == "Value"


def limit_patch(autoscaler: Autoscaler, *, limited: bool) -> Json:
    """Merge patch that switches scaling up off, or back; a policy that somebody else set meanwhile stays."""
    before = autoscaler.scale_up_before
    meta = {
        "resourceVersion": autoscaler.resource_version,
        "annotations": {ANNOTATION_SCALE_UP: autoscaler.scale_up if limited else None},
    }
    if limited:
        return {"metadata": meta, "spec": {"behavior": {"scaleUp": {"selectPolicy": SCALING_UP_OFF}}}}
    if autoscaler.scale_up != SCALING_UP_OFF:
        return {"metadata": meta}
    return {"metadata": meta, "spec": {"behavior": {"scaleUp": {"selectPolicy": before}} if before else None}}


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
