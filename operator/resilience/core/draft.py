"""A decision while it grows: each step adds to it, and none takes away what another one added."""

from dataclasses import dataclass, field
from datetime import timedelta

from resilience.api.status import Status
from resilience.core import restart
from resilience.core.decision import Action, Event
from resilience.core.scene import SOON


@dataclass(slots=True)
class Draft:
    """The decision while it grows."""

    status: Status
    actions: list[Action] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    waits: list[timedelta] = field(default_factory=list)

    def take(self, outcome: restart.Outcome) -> None:
        self.status = outcome.status
        self.events.extend(outcome.events)
        if outcome.changed:
            self.waits.append(SOON)
