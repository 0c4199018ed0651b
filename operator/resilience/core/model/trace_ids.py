"""Trace ids: one word that logs, Events, status and history have in common, for what belongs together.

A restart and a release have one from their beginning to their end, and an alert has one for as long as it fires;
whatever else a pass does has one of its own.
"""

from datetime import datetime

from resilience.api.status import Status


def new(uid: str, at: datetime) -> str:
    """An id of something that began then, about the object with this uid."""
    return f"{uid[:8]}-{int(at.timestamp() * 1000):x}"


def of_pass(uid: str, before: Status, after: Status, now: datetime) -> str:
    """The id of what a pass does: of the restart or release that it works on, begins or ends."""
    if after.restart is not None:
        return after.restart.trace_id
    if after.last_restart is not None and after.last_restart != before.last_restart:
        return after.last_restart.trace_id
    if after.rollout.candidate is not None and after.rollout.trace_id:
        return after.rollout.trace_id
    if after.last_rollout is not None and after.last_rollout != before.last_rollout:
        return after.last_rollout.trace_id
    return new(uid, now)
