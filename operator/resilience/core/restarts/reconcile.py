"""Restarts in a pass: requests by a person first, then policies and changed configuration."""

from resilience.core.model.context import Context
from resilience.core.model.decision import StepResult
from resilience.core.restarts import lifecycle, triggers


def reconcile(context: Context) -> StepResult:
    """Accept requested and triggered restarts. The pods follow in a later pass, when status has the restart."""
    requested = _requests(context)
    return triggers.reconcile(context.with_status(requested.status)).after(requested)


def _requests(context: Context) -> StepResult:
    view = context.observation.pods
    if view is None or context.spec.suspend:
        return StepResult(context.status)
    aborted = lifecycle.abort(context)
    return lifecycle.accept(context.with_status(aborted.status), view).after(aborted)
