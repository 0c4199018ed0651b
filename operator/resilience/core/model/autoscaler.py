"""The autoscaler of a target, as it was observed."""

from dataclasses import dataclass
from typing import Final

# The policy of an autoscaler that never scales up.
SCALING_UP_OFF: Final = "Disabled"


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """The target's HorizontalPodAutoscaler, or the ScaledObject of KEDA that takes it to zero."""

    name: str
    min_replicas: int
    is_scaled_object: bool = False
    resource_version: str = ""
    # It multiplies an amount that an idle pod has, too, by the number of pods, and those of both colours count.
    runs_up: bool = False
    # selectPolicy of its behaviour for scaling up; empty when none is set.
    scale_up: str = ""
    # The policy from before the operator switched scaling up off; None when the operator has not.
    scale_up_before: str | None = None
