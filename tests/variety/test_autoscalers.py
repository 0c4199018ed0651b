"""Autoscalers that take a workload to zero and back (KEDA, nights off): a template that failed stays unwanted.

It is not tried again until it changes or a person asks for it, and zero is no exception.
"""

from resilience.api.names import ANNOTATION_FAILED, ANNOTATION_SERVING
from tests.support.preconditions import require
from tests.support.release_model import Kind
from tests.variety.acting import Acting, adopted


def night(acting: Acting) -> None:
    """Down to zero and up again."""
    acting.model.scale(0)
    acting.run()
    require(not acting.model.pods, "pods at zero")
    acting.model.scale(2)
    acting.run()


def rolled_back() -> Acting:
    """A release failed before it had traffic; the version before it serves."""
    acting = adopted()
    acting.model.change("bad1", Kind(bad=True))
    acting.run()
    require(acting.model.notes.get(ANNOTATION_FAILED) == "bad1", "the release did not fail")
    require(acting.versions == {"t0"}, "the version before does not serve")
    return acting


def test_after_zero_the_version_that_served_starts_and_not_the_one_that_failed() -> None:
    acting = rolled_back()

    night(acting)

    assert acting.versions == {"t0"}


def test_what_failed_is_never_held_as_what_serves() -> None:
    acting = rolled_back()

    night(acting)

    assert acting.model.notes.get(ANNOTATION_SERVING) == "t0"


def test_without_a_failure_the_same_version_comes_back_and_is_held_again() -> None:
    acting = adopted()

    night(acting)

    assert acting.versions == {"t0"} and acting.model.paused
    assert acting.model.notes[ANNOTATION_SERVING] == "t0"


def test_a_corrected_version_that_came_at_zero_starts() -> None:
    acting = rolled_back()
    acting.model.scale(0)
    acting.run()
    acting.model.change("t2", Kind())

    acting.model.scale(2)
    acting.run()

    assert acting.versions == {"t2"}
