"""Degradation in a pass: the flags first in status, then in every channel."""

from dataclasses import replace

from resilience.core.degradation import flags, publish
from resilience.core.model.context import Context
from resilience.core.model.decision import StepResult


def reconcile(context: Context) -> StepResult:
    """Update the flags and publish them. While the resource is suspended, the last publication stands."""
    updated = flags.update(context)
    numbered = publish.number(context.with_status(updated.status), context.status)
    result = replace(numbered, events=(*updated.events, *numbered.events), requeue_after=updated.requeue_after)
    if context.spec.suspend:
        return result
    published = publish.publish(context.with_status(result.status))
    times = [time for time in (result.requeue_after, published.requeue_after) if time is not None]
    return replace(result, actions=published.actions, requeue_after=min(times, default=None))
