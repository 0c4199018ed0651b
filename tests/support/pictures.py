"""What status is told about a release, one look after the other."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from resilience.api.status import Status
from resilience.api.status_rollout import RolloutStatus
from resilience.core import rollout_report
from resilience.core.rollout_report import Picture, Told
from tests.support.factories import NOW
from tests.support.model import stored
from tests.support.stages import NEW, OLD, version

SECOND: Final = timedelta(seconds=1)
FRESH: Final = Status(observed_generation=1, rollout=RolloutStatus(serving=version(OLD)))


def flight(step: str = "Preparing", template: str = NEW, **fields: Any) -> Picture:
    """A release of this template is in flight."""
    return replace(Picture(serving=version(OLD), candidate=version(template), step=step), **fields)


def rest(serving: str = NEW, step: str = "Complete", **fields: Any) -> Picture:
    """Nothing is in flight."""
    return replace(Picture(serving=version(serving), candidate=None, step=step), **fields)


def tell(status: Status, picture: Picture, *, at: int = 0) -> Told:
    return rollout_report.tell(status, picture, uid="0123456789abcdef", now=NOW + at * SECOND)


def follow(*pictures: Picture, status: Status = FRESH) -> Told:
    """The last word of looks that are one second apart; events of all of them."""
    told = Told(status)
    for at, picture in enumerate(pictures):
        found = tell(stored(told.status), picture, at=at)
        told = Told(found.status, (*told.events, *found.events))
    return told
