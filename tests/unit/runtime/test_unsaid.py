"""Words that wait for the next pass, and what is told at once."""

from dataclasses import replace
from typing import Any

import pytest

from resilience.api.reasons import Reason
from resilience.api.status import Status
from resilience.core.model.api_refusal import ApiRefusal
from resilience.core.model.decision import Claim, Decision, Event
from resilience.core.model.observation import Observation
from resilience.runtime.unsaid import Unsaid
from tests.support.factories import KEY, make_resource, make_workload

BEFORE = Status(observed_generation=1, explanation="waits")
SEEN = Observation(workload=make_workload())
ACTS = Decision(actions=(Claim(),), status=BEFORE.model_copy(update={"explanation": "goes on"}))
STEP = BEFORE.model_copy(update={"rollout": BEFORE.rollout.model_copy(update={"step": "Warm"})})


def test_words_wait_once_for_the_pass_after_the_actions() -> None:
    unsaid, resource = Unsaid(), make_resource(status=BEFORE)

    assert [unsaid.may_wait(resource, SEEN, ACTS) for _ in range(4)] == [True, False, True, False]
    assert unsaid.may_wait(resource, SEEN, ACTS)
    unsaid.forget(KEY)
    assert unsaid.may_wait(resource, SEEN, ACTS)


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"actions": ()}, SEEN),
        ({"status": STEP}, SEEN),
        ({"events": (Event(Reason.ADOPTED, "held"),)}, SEEN),
        ({}, replace(SEEN, refusal=ApiRefusal("forbidden"))),
    ],
    ids=["no action", "another step", "an Event", "a refusal"],
)
def test_everything_else_is_told_at_once(change: Any, seen: Observation) -> None:
    assert not Unsaid().may_wait(make_resource(status=BEFORE), seen, replace(ACTS, **change))
