"""Somebody else takes the Deployment in hand: `kubectl rollout undo` and `resume`, Reloader's pause period, CI.

`undo` writes the old template, and replaces ALL annotations of the Deployment by those that the old ReplicaSet carries.
`resume` in a release has the Deployment controller end pods that clients still use.
"""

from typing import Any

import pytest

from resilience.api.names import ANNOTATION_CLAIM, ANNOTATION_SERVING
from resilience.api.reasons import ReleaseStep
from resilience.core.model.actions import Hold, SignalPod
from resilience.core.model.decision import Decision
from resilience.core.model.observation import Observation, Resource
from tests.support.model import stored
from tests.support.preconditions import require
from tests.support.release_model import Kind
from tests.support.stages import OLD, Scenario, look
from tests.variety.acting import Acting, adopted
from tests.variety.claims import decided, status_of

# What the ReplicaSet of the version before carries of ours: as it was held, or as it was before it was ever held.
HELD = {ANNOTATION_SERVING: "t0"}
SIGNAL = {"signal": {"http": {"path": "/drain", "port": "http"}}, "maxWait": "20s"}
WARM, PREPARING = ReleaseStep.WARM, ReleaseStep.PREPARING


def released() -> Acting:
    """Version t1 came after t0, and is held paused."""
    acting = adopted()
    acting.model.change("t1", Kind())
    acting.run()
    require(acting.versions == {"t1"} and acting.model.paused, "t1 is not released")
    return acting


def undo(acting: Acting, restored: dict[str, str]) -> None:
    """The patch of `kubectl rollout undo`: template and annotations at once."""
    acting.model.change("t0", Kind())
    acting.model.notes = dict(restored)


@pytest.mark.parametrize("restored", [HELD, {}], ids=["held before", "never held before"])
def test_an_undo_that_lands_while_it_is_held_is_released(restored: dict[str, str]) -> None:
    acting = released()

    undo(acting, restored)
    acting.run()

    assert acting.versions == {"t0"}


def test_the_next_release_after_an_undo_begins() -> None:
    acting = released()
    undo(acting, HELD)
    acting.run()

    acting.model.change("t2", Kind())
    acting.run()

    assert acting.versions == {"t2"}


@pytest.mark.parametrize("restored", [HELD, {}], ids=["held before", "never held before"])
def test_an_undo_of_a_resumed_deployment_ends_well(restored: dict[str, str]) -> None:
    acting = released()
    acting.model.resume()

    undo(acting, restored)
    acting.run()
    acting.model.change("t2", Kind())
    acting.run()

    assert acting.versions == {"t2"} and acting.model.paused


def in_release(step: ReleaseStep, *, paused: bool, **fields: Any) -> tuple[Resource, Observation]:
    """A release that has been at this step for a minute; its target is held, or somebody resumed it."""
    notes = {ANNOTATION_SERVING: OLD, ANNOTATION_CLAIM: "checkout/resource-uid"}
    return look(Scenario(step, spec={"drain": SIGNAL}, workload={"paused": paused, "annotations": notes}, **fields))


def lets_clients_go(decision: Decision) -> bool:
    """True when the pods that clients stay with are signalled, or kept from being ended first."""
    return any(isinstance(action, Hold | SignalPod) for action in decision.actions)


def test_a_resume_while_both_versions_are_warm_does_not_leave_draining_out() -> None:
    """New connections go to green; the Deployment controller ends the pods that kept ones still lead to."""
    decision = decided(*in_release(WARM, paused=False))

    assert lets_clients_go(decision)


def test_in_its_own_time_draining_tells_every_pod() -> None:
    decision = decided(*in_release(ReleaseStep.DRAINING, paused=True))

    assert lets_clients_go(decision)


@pytest.mark.parametrize("step", [PREPARING, WARM], ids=str)
def test_a_resume_in_a_release_is_told_once(step: ReleaseStep) -> None:
    """From here on pods are ended by somebody else than the operator, which cannot promise anything for them."""
    before = decided(*in_release(step, paused=True))
    require(not before.events, "the pass before has news")

    decision = decided(*in_release(step, paused=False, status=stored(status_of(before))))

    assert decision.events
