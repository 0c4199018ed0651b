"""An operator that runs over the release model until nothing is in flight.

It does not judge. What a run leads to is read off the model afterwards.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from tests.support.preconditions import preparing, require
from tests.support.release_model import ReleaseModel
from tests.support.release_operator import Operator, blue_green

# Longer than a release, its deadline and its way back.
_PASSES: Final = 60
# So many passes in a row without anything in flight are the end.
_QUIET: Final = 8


@dataclass(slots=True)
class Acting(Operator):
    """Passes over a model, a second apart."""

    def run(self) -> None:
        """Time goes on and everybody works, a second a pass, until nothing is in flight or it takes too long."""
        model, quiet = self.model, 0
        with preparing():
            for _ in range(_PASSES):
                model.now += timedelta(seconds=1)
                model.tick()
                decision = self.reconcile()
                rests = not decision.actions and model.status.rollout.candidate is None
                quiet = quiet + 1 if rests else 0
                if quiet > _QUIET:
                    return

    @property
    def versions(self) -> set[str]:
        """The templates whose pods are there."""
        return {pod.fingerprint for pod in self.model.pods.values()}


def adopted(replicas: int = 2) -> Acting:
    """A service at rest under blue-green, held paused, with template `t0`."""
    acting = Acting(ReleaseModel(blue_green(progressDeadline="20s"), replicas=replicas))
    acting.run()
    require(acting.model.paused and acting.versions == {"t0"}, "the target is not held")
    return acting
