"""Conditions of status. The transition time of a condition only moves when its status does."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from resilience.api.reasons import ConditionType, Reason
from resilience.api.status import Condition

# The API's own limit is larger, but a message of that length is of no use.
_LONGEST_MESSAGE = 1000


@dataclass(frozen=True, slots=True)
class ConditionVerdict:
    """The content that a condition should have now. `status` None is Unknown."""

    type: ConditionType
    status: bool | None
    reason: Reason
    message: str = ""


def update(
    before: Sequence[Condition], verdicts: Sequence[ConditionVerdict], *, generation: int, now: datetime
) -> list[Condition]:
    """The conditions after these verdicts, in the order of the verdicts; types without a verdict are dropped."""
    known = {condition.type: condition for condition in before}
    return [_updated(known.get(verdict.type), verdict, generation=generation, now=now) for verdict in verdicts]


def find(conditions: Sequence[Condition], kind: ConditionType) -> Condition | None:
    """The condition of this type; None when there is none."""
    return next((condition for condition in conditions if condition.type == kind), None)


def _updated(before: Condition | None, verdict: ConditionVerdict, *, generation: int, now: datetime) -> Condition:
    status = {True: "True", False: "False", None: "Unknown"}[verdict.status]
    unchanged = before is not None and before.status == status
    return Condition(
        type=verdict.type,
        status=status,
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before is not None and unchanged else now,
        reason=verdict.reason,
        message=verdict.message[:_LONGEST_MESSAGE],
    )
