"""An operator over the release model: the real `decide` and the real `Executor`, pass by pass.

It does not judge. What a pass leads to is read off the model afterwards.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, cast

from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core import report
from resilience.core.decision import Decision
from resilience.core.observation import Observation, Resource
from resilience.core.reconcile import decide
from resilience.ports import Clock, Drainer, Metrics, PortError, Secrets
from resilience.ports.cluster import Cluster
from resilience.runtime.executor import Executor
from resilience.runtime.observer import Observer
from resilience.runtime.replays import Replays
from tests.support.factories import READY_CHECK, make_spec
from tests.support.model import Leading, Uncounted, drive, stored
from tests.support.release_model import ReleaseCluster, ReleaseModel
from tests.variety.claims import preparing, require

# Longer than a release, its deadline and its way back.
_PASSES: Final = 60
# So many passes in a row without anything in flight are the end.
_QUIET: Final = 8


def blue_green(**rollout: Any) -> ResilientServiceSpec:
    """A service with gates and short times."""
    usual: dict[str, Any] = {
        "strategy": "BlueGreen",
        "progressDeadline": "20s",
        "before": {"checks": ["ready"], "for": "1s"},
        "after": {"checks": ["ready"], "for": "2s"},
        "blueGreen": {"warmPeriod": "3s"},
    }
    return make_spec(health={"checks": [READY_CHECK]}, rollout=usual | rollout)


@dataclass(slots=True)
class _Seen:
    model: ReleaseModel

    async def observe(self, resource: Resource, *, thorough: bool = False, refusal: str = "") -> Observation:
        return self.model.observe()


@dataclass(slots=True)
class Acting:
    """Passes over a model."""

    model: ReleaseModel
    executor: Executor = field(init=False)

    def __post_init__(self) -> None:
        self.executor = Executor(
            cluster=cast(Cluster, ReleaseCluster(self.model)),
            observer=cast(Observer, _Seen(self.model)),
            drainer=cast(Drainer, None),
            secrets=cast(Secrets, None),
            leadership=Leading(),
            metrics=cast(Metrics, Uncounted()),
            clock=cast(Clock, None),
            replays=cast(Replays, None),
        )

    def reconcile(self) -> Decision:
        """One pass on what is there now."""
        model, resource, looked = self.model, self.model.resource(), self.model.observe()
        decision = decide(resource, looked, model.now)
        try:
            if decision.status is not None and report.worth_writing(resource.status, decision.status):
                model.status = stored(decision.status)
                model.resource_version += 1
            for action in decision.actions:
                drive(self.executor.run(resource, looked, action))
        except PortError:
            pass
        return decision

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
    acting = Acting(ReleaseModel(blue_green(), replicas=replicas))
    acting.run()
    require(acting.model.paused and acting.versions == {"t0"}, "the target is not held")
    return acting
