"""An AlertReceiver as read, and its state as its status reports it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from resilience.api.reasons import ConditionType, Reason
from resilience.api.receivers import AlertReceiverSpec
from resilience.api.status_receiver import ReceiverStatus
from resilience.core.alerting import delivery
from resilience.core.alerting.send_intents import is_open
from resilience.core.model import conditions
from resilience.core.model.conditions import ConditionVerdict
from resilience.core.model.observation import Key


@dataclass(frozen=True, slots=True)
class Receiver:
    """An AlertReceiver. `spec` is None when it cannot be read; `problem` then gives the reason."""

    key: Key
    uid: str
    resource_version: str
    generation: int
    annotations: Mapping[str, str]
    spec: AlertReceiverSpec | None
    problem: str
    status: ReceiverStatus
    raw_status: Mapping[str, object]


def report(receiver: Receiver, status: ReceiverStatus, now: datetime) -> ReceiverStatus:
    """The status with the parts that people read: condition and summary."""
    count = sum(is_open(conversation) for conversation in status.conversations)
    generation = receiver.generation
    return status.model_copy(
        update={
            "observed_generation": generation,
            "conditions": conditions.update(
                status.conditions, [_ready(receiver, status, now)], generation=generation, now=now
            ),
            "summary": str(count),
        }
    )


def out_of_reach(status: ReceiverStatus) -> bool:
    """The status says that the receiver is out of reach: people have to be notified in another way."""
    reasons = (Reason.NOT_DELIVERED, Reason.RECEIVER_REFUSES)
    return any(condition.type == ConditionType.READY and condition.reason in reasons for condition in status.conditions)


def _ready(receiver: Receiver, status: ReceiverStatus, now: datetime) -> ConditionVerdict:
    kind, failure = ConditionType.READY, status.failure
    if receiver.spec is None:
        return ConditionVerdict(
            kind, False, Reason.INVALID_SPEC, f"the specification cannot be read: {receiver.problem}"
        )
    if receiver.spec.suspend:
        return ConditionVerdict(kind, False, Reason.RECEIVER_SUSPENDED, "spec.suspend is set: nobody is notified")
    if failure is not None and failure.permanent:
        return ConditionVerdict(kind, False, Reason.RECEIVER_REFUSES, failure.message)
    if failure is not None and delivery.out_of_reach(status, now):
        more = f"; {receiver.spec.fallback} is notified instead" if receiver.spec.fallback else ""
        return ConditionVerdict(kind, False, Reason.NOT_DELIVERED, f"{failure.message}{more}")
    if failure is not None:
        return ConditionVerdict(kind, False, Reason.RETRYING, f"{failure.message}; it is retried")
    if status.last_success is None:
        words = "nothing was sent yet; test it: kubectl annotate arcv --overwrite resilience.dev/test-requested-at=1"
        return ConditionVerdict(kind, None, Reason.NOT_TRIED_YET, words)
    return ConditionVerdict(kind, True, Reason.DELIVERED, "the last delivery succeeded")
