"""Events for conditions that changed, and for readiness gates that nobody answers."""

from typing import Final

from resilience.api.reasons import ConditionType, Reason
from resilience.api.status import Status
from resilience.core.failures import attention
from resilience.core.model.decision import Event

# Conditions that are bad when they are true.
_WELL: Final[dict[str, str]] = {ConditionType.STALLED: "False", ConditionType.DEGRADED: "False"}


def condition_events(before: Status, after: Status) -> tuple[Event, ...]:
    """Events for conditions and readiness gates: only transitions, and none for a first observation that is well."""
    known = {condition.type: condition for condition in before.conditions}
    events = []
    for condition in after.conditions:
        old = known.get(condition.type)
        # Another wrong part is news, though the condition has been False before.
        news = condition.message if condition.type == ConditionType.SPEC_VALID else ""
        has_changed = (
            (old.status, old.reason, old.message if news else "") != (condition.status, condition.reason, news)
            if old
            else condition.status != _WELL.get(condition.type, "True")
        )
        if has_changed and (
            event := _event(condition.type, condition.status, condition.reason, condition.message, old is None)
        ):
            events.append(event)
    return (*events, *_gate_events(before, after))


def _gate_events(before: Status, after: Status) -> tuple[Event, ...]:
    """The Event for readiness gates that nobody answers, once until all of them are answered."""
    unanswered = attention.waits_for_gates(after.attention)
    if not unanswered or attention.waits_for_gates(before.attention):
        return ()
    worst = unanswered[0]
    return (Event(Reason.READINESS_GATE_UNANSWERED, f"{worst.message}. {worst.advice}", warning=True),)


def _event(kind: str, status: str, reason: str, message: str, is_first: bool) -> Event | None:
    if kind == ConditionType.SPEC_VALID:
        return Event(Reason(reason), message, warning=True)
    if kind == ConditionType.STALLED:
        if status == "True" and reason == Reason.INVALID_SPEC:
            # SpecValid says it.
            return None
        if status == "True":
            return Event(Reason(reason), message, warning=True)
        return None if is_first else Event(Reason.NOT_STALLED, "the problem is resolved")
    if kind == ConditionType.HEALTHY and not (is_first and status == "Unknown"):
        return Event(Reason.HEALTH_CHANGED, f"Healthy is {status}: {message}", warning=status == "False")
    if kind == ConditionType.PROBES_SYNCED and status == "False" and reason != Reason.INVALID_SPEC:
        return Event(Reason(reason), message, warning=reason != Reason.WAITING_FOR_ROLLOUT)
    if kind == ConditionType.PROBES_SYNCED and reason == Reason.APPLIED:
        return Event(Reason.PROBES_APPLIED, message)
    if kind == ConditionType.ALERTS_DELIVERED:
        if status == "False":
            return Event(Reason(reason), message, warning=True)
        return None if is_first or status == "Unknown" else Event(Reason(reason), "alerts are delivered again")
    if kind == ConditionType.CAN_LEAVE and status != "True":
        return Event(Reason(reason), message, warning=True)
    # Flags have Events of their own.
    is_reported = reason != Reason.FLAGS_ON and (status == "True" or (status == "False" and not is_first))
    if kind == ConditionType.DEGRADED and is_reported:
        return Event(Reason(reason), message, warning=status == "True")
    return None
