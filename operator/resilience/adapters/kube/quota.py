"""Checks a namespace's quotas for a second set of pods. It decides nothing: it reports the resource that is short."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from kubernetes.utils.quantity import parse_quantity

from resilience.adapters.kube.parse import native_sidecars

Json = Mapping[str, Any]
# Name in a quota → path of the amount in a container's resources.
_RESOURCES: Final = {
    "requests.cpu": ("requests", "cpu"),
    "cpu": ("requests", "cpu"),
    "requests.memory": ("requests", "memory"),
    "memory": ("requests", "memory"),
    "limits.cpu": ("limits", "cpu"),
    "limits.memory": ("limits", "memory"),
}


def short(quotas: Iterable[Json], pod_spec: Json, *, pods: int) -> str:
    """Sentence on the resource that is short for `pods` more pods; empty when the quotas have room."""
    for quota in quotas:
        status, name = quota.get("status") or {}, quota["metadata"]["name"]
        if (quota.get("spec") or {}).get("scopes") or (quota.get("spec") or {}).get("scopeSelector"):
            # Only the API server knows if a scoped quota applies to these pods.
            continue
        for resource, hard in (status.get("hard") or {}).items():
            needed = _needed(resource, pod_spec) * pods
            used = parse_quantity((status.get("used") or {}).get(resource, "0"))
            if needed and used + needed > parse_quantity(hard):
                return (
                    f"quota {name} leaves too little {resource} for {pods} more pods: {used.normalize():f} of {hard} "
                    f"are used and {needed.normalize():f} more are needed; raise it, or lower what the pods request"
                )
    return ""


def _needed(resource: str, pod_spec: Json) -> Decimal:
    """Amount of the resource that one pod uses."""
    if resource in ("pods", "count/pods"):
        return Decimal(1)
    if resource not in _RESOURCES:
        return Decimal(0)
    kind, name = _RESOURCES[resource]
    containers = [*(pod_spec.get("containers") or []), *native_sidecars(pod_spec)]
    amounts = [((container.get("resources") or {}).get(kind) or {}).get(name) for container in containers]
    return sum((parse_quantity(amount) for amount in amounts if amount is not None), Decimal(0))
