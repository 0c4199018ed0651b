"""The decision while a pass builds it. Every part adds to it; no part removes what another part added."""

from dataclasses import dataclass, field
from datetime import timedelta

from resilience.core.model.context import Context
from resilience.core.model.decision import Action, Event, StepResult


@dataclass(slots=True)
class Draft:
    """The decision so far. `context` has the status so far; `waits` are the delays after which parts need a pass."""

    context: Context
    actions: list[Action] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    waits: list[timedelta] = field(default_factory=list)

    def take(self, result: StepResult, *, first: bool = False) -> None:
        """Add the result of one part of the pass. With `first` its actions go before all others."""
        self.context = self.context.with_status(result.status)
        at = 0 if first else len(self.actions)
        self.actions[at:at] = result.actions
        self.events.extend(result.events)
        self.wait(result.requeue_after)

    def wait(self, time: timedelta | None) -> None:
        """Have the next pass after this time at the latest; None has no effect."""
        if time is not None:
            self.waits.append(time)
