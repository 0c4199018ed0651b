"""The values that every rule of a pass decides from."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from resilience.api.status import Effective, Status
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.model.observation import Observation, Resource
from resilience.core.model.workload import Workload


@dataclass(frozen=True, slots=True)
class Context:
    """One resource in one pass. Its specification is readable and its target exists."""

    resource: Resource
    spec: ResilientServiceSpec
    # The settings in force: those of the spec, and the defaults of its profile.
    effective: Effective
    # The cluster around the target, as it was read for this pass.
    observation: Observation
    # The target, with its pod template.
    workload: Workload
    # The status so far in this pass: every part starts from the decision of the part before it.
    status: Status
    # The time of the pass (UTC, aware). All rules of a pass use this one.
    now: datetime

    @property
    def namespace(self) -> str:
        """The namespace of the resource, and so of its target."""
        return self.resource.key.namespace

    def with_status(self, status: Status) -> Self:
        """The context of the same pass, with this status."""
        return replace(self, status=status)


@dataclass(frozen=True, slots=True)
class PartContext:
    """The facts that one part of a pass decides from: those of the pass, and what a subclass adds."""

    base: Context

    @property
    def resource(self) -> Resource:
        """The resource of the pass."""
        return self.base.resource

    @property
    def spec(self) -> ResilientServiceSpec:
        """The specification of the pass."""
        return self.base.spec

    @property
    def effective(self) -> Effective:
        """The settings in force in the pass."""
        return self.base.effective

    @property
    def observation(self) -> Observation:
        """The observation of the pass."""
        return self.base.observation

    @property
    def workload(self) -> Workload:
        """The target of the pass."""
        return self.base.workload

    @property
    def status(self) -> Status:
        """The status as far as the pass has come."""
        return self.base.status

    @property
    def now(self) -> datetime:
        """The time of the pass."""
        return self.base.now
