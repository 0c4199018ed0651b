"""The rule of a HorizontalPodAutoscaler, as Kubernetes 1.36 has it in podautoscaler/replica_calculator.go.

It finds pods by the selector of its target alone, so during a release it finds those of both colours.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

TOLERANCE: Final = 0.1


def of_mean(replicas: int, used: Mapping[str, float | None]) -> int:
    """Replicas for a mean over the pods found, each as a share of the target; None for a pod without figures yet."""
    known = {name: share for name, share in used.items() if share is not None}
    if not known:
        return replicas
    ratio = sum(known.values()) / len(known)
    if len(known) == len(used):
        return replicas if _tolerable(ratio) else _up(ratio * len(used))
    # Pods without figures count so that they make any change smaller.
    assumed = sum(known.values()) + (len(used) - len(known)) * (1.0 if ratio < 1 else 0.0)
    cautious = assumed / len(used)
    if _tolerable(cautious) or (ratio < 1) is not (cautious < 1):
        return replicas
    wanted = _up(cautious * len(used))
    return replicas if (cautious < 1) is (wanted > replicas) else wanted


def of_total(replicas: int, ratio: float, ready: int) -> int:
    """Replicas for an amount that is not per pod (Object or External with `Value`), as a share of its target."""
    return replicas if _tolerable(ratio) else _up(ratio * ready)


def _tolerable(ratio: float) -> bool:
    return abs(ratio - 1) <= TOLERANCE


def _up(value: float) -> int:
    # As in Go, but for the last digit of a float.
    return math.ceil(round(value, 9))


@dataclass(slots=True)
class Stabilised:
    """Acts on recommendations: growth at once, less only after so many syncs (five minutes by default)."""

    least: int = 1
    most: int = 50
    window: int = 20
    _recent: list[int] = field(default_factory=list)

    def act(self, replicas: int, wanted: int, *, may_grow: bool) -> int:
        """The replicas after one sync, by the default policies: at most double, or four more."""
        wanted = min(max(wanted, self.least), self.most)
        self._recent = [*self._recent, wanted][-self.window :]
        if wanted > replicas:
            return min(wanted, max(2 * replicas, replicas + 4)) if may_grow else replicas
        return min(replicas, max(self._recent))
