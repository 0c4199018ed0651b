"""Restarts in a pass: requests by a person first, then policies and changed configuration."""

from dataclasses import replace

from resilience.core.model.context import Context
from resilience.core.model.decision import SOON, StepResult
from resilience.core.restarts import lifecycle, triggers


def reconcile(context: Context) -> StepResult:
    """Accept requested and triggered restarts. The pods follow in a later pass, when status has the restart."""
    requested = _requests(context)
    triggered = triggers.reconcile(context.with_status(requested.status))
    waits = [max(time, SOON) for time in (requested.requeue_after, triggered.requeue_after) if time is not None]
    events = (*requested.events, *triggered.events)
    return replace(triggered, events=events, requeue_after=min(waits, default=None))


def _requests(context: Context) -> StepResult:
    view = context.observation.pods
    if view is None or context.spec.suspend:
        return StepResult(context.status)
    aborted = lifecycle.abort(context)
    accepted = lifecycle.accept(context.with_status(aborted.status), view)
    events = (*aborted.events, *accepted.events)
    return replace(accepted, events=events, requeue_after=aborted.requeue_after or accepted.requeue_after)
