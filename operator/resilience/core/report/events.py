"""Events for conditions that changed."""

from typing import Final

from resilience.api.reasons import ConditionType, Reason
from resilience.api.status import Status
from resilience.core.model.decision import Event

# Conditions that say something bad when they are true.
_WELL: Final[dict[str, str]] = {ConditionType.STALLED: "False", ConditionType.DEGRADED: "False"}


def condition_events(before: Status, after: Status) -> tuple[Event, ...]:
    """Events for conditions that changed: only transitions, never the first look at something that is well."""
    known = {condition.type: condition for condition in before.conditions}
    found = []
    for condition in after.conditions:
        old = known.get(condition.type)
        changed = (
            (old.status, old.reason) != (condition.status, condition.reason)
            if old
            else condition.status != _WELL.get(condition.type, "True")
        )
        if changed and (
            event := _event(condition.type, condition.status, condition.reason, condition.message, old is None)
        ):
            found.append(event)
    return tuple(found)


def _event(kind: str, status: str, reason: str, message: str, first: bool) -> Event | None:
    if kind == ConditionType.STALLED:
        if status == "True":
            return Event(Reason(reason), message, warning=True)
        return None if first else Event(Reason.NOT_STALLED, "what was wrong is mended")
    if kind == ConditionType.HEALTHY and not (first and status == "Unknown"):
        return Event(Reason.HEALTH_CHANGED, f"Healthy is {status}: {message}", warning=status == "False")
    if kind == ConditionType.PROBES_SYNCED and status == "False":
        return Event(Reason(reason), message, warning=reason != Reason.WAITING_FOR_ROLLOUT)
    if kind == ConditionType.PROBES_SYNCED and reason == Reason.APPLIED:
        return Event(Reason.PROBES_APPLIED, message)
    if kind == ConditionType.ALERTS_DELIVERED:
        if status == "False":
            return Event(Reason(reason), message, warning=True)
        return None if first or status == "Unknown" else Event(Reason(reason), "alerts are delivered again")
    # Flags have Events of their own.
    told = reason != Reason.FLAGS_ON and (status == "True" or (status == "False" and not first))
    if kind == ConditionType.DEGRADED and told:
        return Event(Reason(reason), message, warning=status == "True")
    return None
