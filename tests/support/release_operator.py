"""An operator over the release model: the real `decide` and the real `Executor`, pass by pass.

It judges only the floor: an action must not take away a pod that serves.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.model.decision import Decision
from resilience.core.model.observation import Observation
from resilience.core.read_depth import Depth, read_depth
from resilience.core.reconcile import decide
from resilience.core.report.diff import is_worth_writing
from resilience.ports import PortError
from resilience.runtime.executor import Executor
from tests.support.factories import READY_CHECK, make_spec
from tests.support.model import Harm, Killed, drive, executor_over, stored
from tests.support.release_model import ReleaseCluster, ReleaseModel


def blue_green(**rollout: Any) -> ResilientServiceSpec:
    """A service with gates and short times, with these changes; None removes a field."""
    usual: dict[str, Any] = {
        "strategy": "BlueGreen",
        "progressDeadline": "40s",
        "before": {"checks": ["ready"], "for": "1s"},
        "after": {"checks": ["ready"], "for": "2s"},
        "blueGreen": {"warmPeriod": "3s"},
    }
    wanted = {key: value for key, value in (usual | rollout).items() if value is not None}
    return make_spec(health={"checks": [READY_CHECK]}, rollout=wanted)


@dataclass(slots=True)
class Operator:
    """Passes of the real core and executor over the model, with deaths at any write."""

    model: ReleaseModel
    executor: Executor = field(init=False)
    left: int | None = None

    def __post_init__(self) -> None:
        self.executor = executor_over(ReleaseCluster(self.model, self._count), self.model)

    def _count(self) -> None:
        if self.left is not None:
            if self.left <= 0:
                raise Killed
            self.left -= 1

    def reconcile(self, *, seen: Observation | None = None, dies_after: int | None = None) -> Decision:
        """Runs one pass, on the current observation or on an earlier one in `seen`.

        The process dies after `dies_after` writes, status included.
        """
        self.left = dies_after
        model, resource, observation = self.model, self.model.resource(), seen or self.model.observe()
        if observation.workload is not None and read_depth(resource, observation.workload) is Depth.WATCHES:
            # The observer reads pods only where the pass may need them.
            observation = replace(observation, pods=None)
        decision = decide(resource, observation, model.now)
        try:
            if decision.status is not None and is_worth_writing(resource.status, decision.status):
                self._count()
                model.status = stored(decision.status)
                model.resource_version += 1
            for action in decision.actions:
                before = model.serving()
                drive(self.executor.run(resource, observation, action))
                after = model.serving()
                if after < min(model.replicas, before):
                    raise Harm(f"{action}: {before} served, {after} do, of {model.replicas}")
        except (PortError, Killed):
            pass
        return decision
