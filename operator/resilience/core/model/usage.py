"""Usage of CPU and memory by pods, from metrics.k8s.io."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerUsage:
    """Usage of one container: CPU in cores, as a mean over the pod's window, and the working set of its memory."""

    cpu_cores: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PodUsage:
    """Usage of one pod, measured at `timestamp` (aware) over the `window` before it; containers by name."""

    timestamp: datetime
    window: timedelta
    containers: Mapping[str, ContainerUsage]
