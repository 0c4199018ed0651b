"""Usage of pods from metrics.k8s.io, served by metrics-server or an equivalent. One request per namespace."""

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from kubernetes.utils.quantity import parse_quantity

from resilience.adapters.kube.parse import time
from resilience.adapters.kube.paths import METRICS, collection
from resilience.adapters.kube.transport import NotFound, Transport
from resilience.core.model.usage import ContainerUsage, PodUsage
from resilience.ports import Invalid, Refused, Unavailable

Json = Mapping[str, Any]
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|µs|ns)")


class KubeUsage:
    """Implements `ports.Usage` over metrics.k8s.io."""

    def __init__(self, *, transport: Transport) -> None:
        self._transport = transport

    async def pods(self, namespace: str) -> Mapping[str, PodUsage]:
        """Latest measured usage by pod name; see `ports.Usage`."""
        try:
            answer = await self._transport.get(collection(f"{METRICS}pods", namespace))
        except NotFound as error:
            raise Unavailable(
                "metrics-server is not installed: the API server knows no metrics.k8s.io; "
                "install it: https://github.com/kubernetes-sigs/metrics-server#installation"
            ) from error
        except Refused as error:
            raise Unavailable(
                f"usage of pods in {namespace} cannot be read: the operator needs the right to "
                f"get, list pods.metrics.k8s.io there ({error})"
            ) from error
        except (Unavailable, Invalid) as error:
            # The API server's 503 for a group without a server is plain text, and the same for every cause.
            raise Unavailable(
                f"metrics.k8s.io does not answer ({error}); unless that passes, metrics-server is not installed "
                "or does not run: see `kubectl get apiservice v1beta1.metrics.k8s.io`"
            ) from error
        return dict(pod for item in answer.get("items") or [] if (pod := _named_pod(item)) is not None)


def _named_pod(raw: Json) -> tuple[str, PodUsage] | None:
    """Name and usage of a pod; None when any part is unreadable: a partial sum would pass for a low usage."""
    try:
        measured, containers = time(raw["timestamp"]), raw["containers"]
        if measured is None or not containers:
            return None
        usage = PodUsage(
            timestamp=measured,
            window=_duration(raw["window"]),
            containers={container["name"]: _container(container["usage"]) for container in containers},
        )
        return str(raw["metadata"]["name"]), usage
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _container(raw: Json) -> ContainerUsage:
    return ContainerUsage(cpu_cores=float(_amount(raw["cpu"])), memory_bytes=int(_amount(raw["memory"])))


def _amount(quantity: str) -> Decimal:
    """A quantity in base units. Raises ValueError when it is negative or not a finite number."""
    amount = Decimal(parse_quantity(quantity))
    if not math.isfinite(amount) or amount < 0:
        raise ValueError(f"{quantity!r} is not an amount")
    return amount


def _duration(text: str) -> timedelta:
    """A duration as Go writes it: `10.062s`, `1m0s`. Raises ValueError."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
