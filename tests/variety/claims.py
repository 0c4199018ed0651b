"""Keeps what a test needs apart from what it claims: only a claim may fail by AssertionError.

An expected failure says `raises=AssertionError`. So a stage that cannot be set up is an error, never an expected one.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from resilience.api.status import Status
from resilience.core.decision import Decision
from resilience.core.observation import Observation, Resource
from resilience.core.reconcile import decide
from tests.support.factories import NOW


def require(condition: object, what: str) -> None:
    """A precondition of the test.

    Raises:
        RuntimeError: it does not hold.
    """
    if not condition:
        raise RuntimeError(f"the test's own stage is wrong: {what}")


@contextmanager
def preparing() -> Iterator[None]:
    """Around the work that comes before the claims: what fails there is no claim."""
    try:
        yield
    except AssertionError as error:
        raise RuntimeError(f"the test's own stage is wrong: {error}") from error


def decided(resource: Resource, seen: Observation) -> Decision:
    """One pass now."""
    with preparing():
        return decide(resource, seen, NOW)


def status_of(decision: Decision) -> Status:
    """The status that a pass writes."""
    if decision.status is None:
        raise RuntimeError("a pass without a status")
    return decision.status
