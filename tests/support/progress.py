"""Status of a rollout after a series of passes."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from resilience.api.status import Status
from resilience.api.status_rollout import RolloutStatus
from resilience.core.model.decision import StepResult
from resilience.core.rollouts.status import Progress, update_status
from tests.support.factories import NOW
from tests.support.model import stored
from tests.support.stages import NEW, OLD, version

SECOND: Final = timedelta(seconds=1)
FRESH: Final = Status(observed_generation=1, rollout=RolloutStatus(serving=version(OLD)))


def flight(step: str = "Preparing", template: str = NEW, **fields: Any) -> Progress:
    """Progress of a release of this template that is in flight."""
    return replace(Progress(serving=version(OLD), candidate=version(template), step=step), **fields)


def rest(serving: str = NEW, step: str = "Complete", **fields: Any) -> Progress:
    """Progress with nothing in flight."""
    return replace(Progress(serving=version(serving), candidate=None, step=step), **fields)


def after(status: Status, progress: Progress, *, at: int = 0) -> StepResult:
    return update_status(status, progress, uid="0123456789abcdef", now=NOW + at * SECOND)


def follow(*steps: Progress, status: Status = FRESH) -> StepResult:
    """The status after passes that are one second apart, and the events of all of them."""
    result = StepResult(status)
    for at, progress in enumerate(steps):
        latest = after(stored(result.status), progress, at=at)
        result = StepResult(latest.status, events=(*result.events, *latest.events))
    return result
