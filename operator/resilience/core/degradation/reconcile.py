"""Degradation in a pass: the flags first in status, then in every channel."""

from resilience.core.degradation import flags, publish
from resilience.core.model.context import Context
from resilience.core.model.decision import StepResult


def reconcile(context: Context) -> StepResult:
    """Update the flags and publish them. While the resource is suspended, the last publication stands."""
    updated = flags.update(context)
    result = publish.number(context.with_status(updated.status), context.status).after(updated)
    if context.spec.suspend:
        return result
    return publish.publish(context.with_status(result.status)).after(result)
