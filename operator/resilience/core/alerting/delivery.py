"""What a delivery that succeeded or failed means for a receiver: when it is tried again, and what is given up.

Nothing that still matters is ever dropped: what fires and was not told stays due. After `BUDGET` without success, or at
once when only a person can help, the receiver counts as out of reach: its dead letters are kept, its fallback is told.
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
# Secrets may be put right by hand, without a word to us.
_PERMANENT: Final = timedelta(minutes=10)
# Nobody who asks us to wait for a day is obeyed.
_LONGEST_ASKED: Final = timedelta(minutes=15)
LETTERS: Final = 50
_LETTERS_LAST: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class DeliveryFailure:
    """Why a delivery failed. `permanent`: only a person can help. `retry_after`: what the receiver asked for.

    `unsure`: it may have arrived nevertheless. `of_message`: another message might be taken.
    """

    message: str
    permanent: bool = False
    retry_after: timedelta | None = None
    unsure: bool = False
    of_message: bool = False


def out_of_reach(status: ReceiverStatus, now: datetime) -> bool:
    """Whether people have to be told in another way."""
    failure = status.failure
    return failure is not None and (failure.permanent or failure.since + BUDGET <= now)


def reach_ends(status: ReceiverStatus, now: datetime) -> timedelta | None:
    """When a receiver that fails will count as out of reach; None when it does not fail, or does already."""
    failure = status.failure
    if failure is None or out_of_reach(status, now):
        return None
    return failure.since + BUDGET - now


def failed(
    status: ReceiverStatus, trouble: DeliveryFailure, *, undelivered: Sequence[Message], jitter: float, now: datetime
) -> tuple[ReceiverStatus, timedelta]:
    """The status after a failure, and when to try again. `jitter`: evenly from 0 to 1."""
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
        after = _bury(after, [alert for each in undelivered for alert in each.firing])
    return after, _wait(failure, trouble, jitter)


def succeeded(status: ReceiverStatus, message: Message, *, now: datetime) -> ReceiverStatus:
    """The status after a delivery."""
    told = {each.identity for each in message.firing}
    return status.model_copy(
        update={
            "failure": None,
            "last_success": now,
            "delivered": status.delivered + 1,
            "dead_letters": [each for each in status.dead_letters if each.alert not in told],
        }
    )


def nothing_due(status: ReceiverStatus) -> ReceiverStatus:
    """The status when there is nothing to tell: a failure that may have passed says nothing of the next message."""
    if status.failure is None or status.failure.permanent:
        return status
    return status.model_copy(update={"failure": None})


def letters(
    status: ReceiverStatus, firing: Iterable[str], looked_at: Callable[[str], bool], now: datetime
) -> list[DeadLetter]:
    """The dead letters as they stand: those that are over say so, and go after a day."""
    alive = frozenset(firing)
    found = [
        each.model_copy(update={"ended_at": now})
        if each.ended_at is None and each.alert not in alive and looked_at(each.alert)
        else each
        for each in status.dead_letters
    ]
    return [each for each in found if each.ended_at is None or each.ended_at > now - _LETTERS_LAST]


def _bury(status: ReceiverStatus, alerts: Sequence[Alert]) -> ReceiverStatus:
    known = {each.alert for each in status.dead_letters}
    new = [
        DeadLetter(alert=each.identity, severity=each.severity, since=each.since, message=each.message[:256])
        for each in alerts
        if each.identity not in known
    ]
    return status.model_copy(
        update={"dead_letters": [*status.dead_letters, *new][-LETTERS:], "dead": status.dead + len(new)}
    )


def _wait(failure: Failure, trouble: DeliveryFailure, jitter: float) -> timedelta:
    if trouble.permanent:
        return _PERMANENT
    if trouble.retry_after is not None:
        return min(max(trouble.retry_after, _FIRST), _LONGEST_ASKED)
    longest = min(_FIRST * (1 << min(failure.tries, 10)), _LONGEST)
    return max(longest * jitter, _FIRST / 2)
