"""Effect of a delivery's success or failure on a receiver: the next try, and the alerts that are given up.

No alert that still matters is ever dropped: one that fires and was not notified stays due. After `BUDGET` without
success, or at once when only a person can help, the receiver counts as out of reach: its dead letters are kept, its
fallback is notified.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from resilience.api.status_receiver import DeadLetter, Failure, ReceiverStatus
from resilience.core.alerting.alert import Alert
from resilience.core.alerting.message import Message

BUDGET: Final = timedelta(minutes=15)
# Exponential with full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
_FIRST: Final = timedelta(seconds=1)
_LONGEST: Final = timedelta(seconds=60)
# The operator gets no signal when a person corrects a Secret.
_PERMANENT: Final = timedelta(minutes=10)
# A receiver that requests a wait of a day is not obeyed.
_LONGEST_RETRY_AFTER: Final = timedelta(minutes=15)
LETTERS: Final = 50
_LETTERS_LAST: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class DeliveryFailure:
    """Failure of a delivery. `permanent`: only a person can help. `retry_after`: the wait that the receiver requested.

    `unsure`: the message may have arrived nevertheless. `of_message`: the receiver might accept another message.
    """

    message: str
    permanent: bool = False
    retry_after: timedelta | None = None
    unsure: bool = False
    of_message: bool = False


def out_of_reach(status: ReceiverStatus, now: datetime) -> bool:
    """The receiver is out of reach: people have to be notified in another way."""
    failure = status.failure
    return failure is not None and (failure.permanent or failure.since + BUDGET <= now)


def reach_ends(status: ReceiverStatus, now: datetime) -> timedelta | None:
    """Time until a failing receiver counts as out of reach; None when it does not fail, or counts so already."""
    failure = status.failure
    if failure is None or out_of_reach(status, now):
        return None
    return failure.since + BUDGET - now


def failed(
    status: ReceiverStatus, trouble: DeliveryFailure, *, undelivered: Sequence[Message], jitter: float, now: datetime
) -> tuple[ReceiverStatus, timedelta]:
    """The status after a failure, and the wait until the next try. `jitter`: uniform from 0 to 1."""
    before = status.failure
    failure = Failure(
        at=now,
        since=before.since if before is not None else now,
        message=trouble.message[:1024],
        permanent=trouble.permanent,
        tries=before.tries + 1 if before is not None else 1,
    )
    after = status.model_copy(update={"failure": failure, "failed": status.failed + 1})
    if out_of_reach(after, now):
        after = _with_dead_letters(after, [alert for message in undelivered for alert in message.firing])
    return after, _wait(failure, trouble, jitter)


def succeeded(status: ReceiverStatus, message: Message, *, now: datetime) -> ReceiverStatus:
    """The status after a delivery that succeeded."""
    notified = {alert.identity for alert in message.firing}
    return status.model_copy(
        update={
            "failure": None,
            "last_success": now,
            "delivered": status.delivered + 1,
            "dead_letters": [letter for letter in status.dead_letters if letter.alert not in notified],
        }
    )


def nothing_due(status: ReceiverStatus) -> ReceiverStatus:
    """The status when nothing is due: a failure that may have passed says nothing about the next message."""
    if status.failure is None or status.failure.permanent:
        return status
    return status.model_copy(update={"failure": None})


def letters(
    status: ReceiverStatus, firing: Iterable[str], looked_at: Callable[[str], bool], now: datetime
) -> list[DeadLetter]:
    """The dead letters as of now: those of alerts that are over get their end, and are removed after a day."""
    alive = frozenset(firing)
    updated = [
        letter.model_copy(update={"ended_at": now})
        if letter.ended_at is None and letter.alert not in alive and looked_at(letter.alert)
        else letter
        for letter in status.dead_letters
    ]
    return [letter for letter in updated if letter.ended_at is None or letter.ended_at > now - _LETTERS_LAST]


def _with_dead_letters(status: ReceiverStatus, alerts: Sequence[Alert]) -> ReceiverStatus:
    known = {letter.alert for letter in status.dead_letters}
    new = [
        DeadLetter(alert=alert.identity, severity=alert.severity, since=alert.since, message=alert.message[:256])
        for alert in alerts
        if alert.identity not in known
    ]
    return status.model_copy(
        update={"dead_letters": [*status.dead_letters, *new][-LETTERS:], "dead": status.dead + len(new)}
    )


def _wait(failure: Failure, trouble: DeliveryFailure, jitter: float) -> timedelta:
    if trouble.permanent:
        return _PERMANENT
    if trouble.retry_after is not None:
        return min(max(trouble.retry_after, _FIRST), _LONGEST_RETRY_AFTER)
    longest = min(_FIRST * (1 << min(failure.tries, 10)), _LONGEST)
    return max(longest * jitter, _FIRST / 2)
