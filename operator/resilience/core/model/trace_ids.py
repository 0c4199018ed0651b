"""Trace ids, which connect the log lines, Events, status and history of one operation.

A restart and a rollout have one id from beginning to end, and an alert has one for as long as it fires. Everything
else that a pass does has an id of its own.
"""

from datetime import datetime

from resilience.api.status import Status


def new(uid: str, at: datetime) -> str:
    """An id for an operation that began at this time, on the object with this uid."""
    return f"{uid[:8]}-{int(at.timestamp() * 1000):x}"


def of_pass(uid: str, before: Status, after: Status, now: datetime) -> str:
    """The id of a pass: that of the restart or rollout that it continues, begins or ends, else a new one."""
    if after.restart is not None:
        return after.restart.trace_id
    if after.last_restart is not None and after.last_restart != before.last_restart:
        return after.last_restart.trace_id
    if after.rollout.candidate is not None and after.rollout.trace_id:
        return after.rollout.trace_id
    if after.last_rollout is not None and after.last_rollout != before.last_rollout:
        return after.last_rollout.trace_id
    return new(uid, now)
