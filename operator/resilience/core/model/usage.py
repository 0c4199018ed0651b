"""What pods use of processor and memory, as metrics.k8s.io says."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerUsage:
    """One container: processor in cores, as a mean over the pod's window, and the working set of its memory."""

    cpu_cores: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PodUsage:
    """One pod: measured at `timestamp` (aware), over the `window` before it; containers by name."""

    timestamp: datetime
    window: timedelta
    containers: Mapping[str, ContainerUsage]
