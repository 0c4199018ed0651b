"""A decision while it grows: each step adds to it, and none takes away what another one added."""

from dataclasses import dataclass, field
from datetime import timedelta

from resilience.api.status import Status
from resilience.core.model.decision import Action, Event, StepResult


@dataclass(slots=True)
class Draft:
    """The decision while it grows."""

    status: Status
    actions: list[Action] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    waits: list[timedelta] = field(default_factory=list)

    def take(self, result: StepResult) -> None:
        """Add what one part of the pass decided."""
        self.status = result.status
        self.actions.extend(result.actions)
        self.events.extend(result.events)
        self.wait(result.requeue_after)

    def wait(self, time: timedelta | None) -> None:
        """Have the next pass after this time at the latest; None asks for nothing."""
        if time is not None:
            self.waits.append(time)
