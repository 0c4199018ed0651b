"""A decision in the making: each part of a pass adds to it, and none removes what another one added."""

from dataclasses import dataclass, field
from datetime import timedelta

from resilience.core.model.context import Context
from resilience.core.model.decision import Action, Event, StepResult


@dataclass(slots=True)
class Draft:
    """The decision so far. `context` has the status so far; `waits` has every time after which a part wants a pass."""

    context: Context
    actions: list[Action] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    waits: list[timedelta] = field(default_factory=list)

    def take(self, result: StepResult, *, first: bool = False) -> None:
        """Add what one part of the pass decided. With `first` its actions go before all others."""
        self.context = self.context.with_status(result.status)
        self.actions[0 if first else len(self.actions) :] = [*result.actions, *(self.actions if first else ())]
        self.events.extend(result.events)
        self.wait(result.requeue_after)

    def wait(self, time: timedelta | None) -> None:
        """Have the next pass after this time at the latest; None asks for nothing."""
        if time is not None:
            self.waits.append(time)
