"""The executor of rollouts over ports in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from resilience.api.reasons import ReleaseStep
from resilience.core.model.actions import ReleaseAction
from resilience.core.model.api_refusal import ApiRefusal
from resilience.core.model.observation import Observation, Resource
from resilience.core.model.probes import HttpTarget
from resilience.ports import Drainer, Metrics, PortError, Secrets
from resilience.ports.cluster import Cluster
from resilience.runtime.observer import Observer
from resilience.runtime.rollout_executor import RolloutExecutor
from tests.support.protocols import checked
from tests.support.stages import Scenario, look


@dataclass(slots=True)
class FakePorts:
    """All ports in one: `calls` lists the calls in order; `fails` raises in the method of that name."""

    fresh: Observation
    fails: dict[str, PortError] = field(default_factory=dict)
    leads: bool = True
    secret: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    # Reasons that `refused` got.
    refusals: list[str] = field(default_factory=list)

    async def observe(
        self, resource: Resource, *, thorough: bool = False, refusal: ApiRefusal | None = None
    ) -> Observation:
        assert thorough
        self.calls.append(("observe", None))
        return self.fresh

    def held(self) -> bool:
        return self.leads

    def refused(self, *, reason: str) -> None:
        self.refusals.append(reason)

    async def read(self, *, namespace: str, name: str, key: str) -> str:
        return self.secret

    async def signal(self, target: HttpTarget, *, headers: Sequence[tuple[str, str]]) -> None:
        self._do("signal", tuple(headers))

    async def take_back(self, target: HttpTarget, *, headers: Sequence[tuple[str, str]]) -> None:
        self._do("take_back", tuple(headers))

    def _do(self, name: str, what: Any) -> None:
        self.calls.append((name, what))
        if name in self.fails:
            raise self.fails[name]


@dataclass(slots=True)
class FakeCluster:
    """Records every write of a release by its name and arguments."""

    ports: FakePorts

    def __getattr__(self, name: str) -> Any:
        return checked(Cluster, name, lambda *args, **kwargs: self.ports._do(name, (*args, *kwargs.values())))


def seen(step: ReleaseStep | None = ReleaseStep.WARM, **fields: Any) -> tuple[Resource, Observation]:
    return look(Scenario(step, **fields))


async def run(
    action: ReleaseAction, before: Any = None, *, fresh: Observation | None = None, **ports: Any
) -> FakePorts:
    """The ports after an action that was decided on `before` and applied to the `fresh` observation."""
    resource, observation = before or seen()
    made = FakePorts(fresh or observation, **ports)
    await executor(made).run(resource, observation, action)
    return made


def executor(ports: FakePorts) -> RolloutExecutor:
    return RolloutExecutor(
        cluster=cast(Cluster, FakeCluster(ports)),
        observer=cast(Observer, ports),
        drainer=cast(Drainer, ports),
        secrets=cast(Secrets, ports),
        leadership=ports,
        metrics=cast(Metrics, ports),
    )
