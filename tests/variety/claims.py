"""One pass of the core, and the status that it writes: what goes wrong on the way there is no claim of a test."""

from resilience.api.status import Status
from resilience.core.model.decision import Decision
from resilience.core.model.observation import Observation, Resource
from resilience.core.reconcile import decide
from tests.support.factories import NOW
from tests.support.preconditions import preparing


def decided(resource: Resource, seen: Observation) -> Decision:
    """One pass now."""
    with preparing():
        return decide(resource, seen, NOW)


def status_of(decision: Decision) -> Status:
    """The status that a pass writes."""
    if decision.status is None:
        raise RuntimeError("a pass without a status")
    return decision.status
