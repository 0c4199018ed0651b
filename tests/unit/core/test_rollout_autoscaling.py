"""A release keeps an autoscaler on memory from scaling up while two colours exist, and lets it go afterwards."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from resilience.api.reasons import ReleaseStep
from resilience.core.model.actions import LimitAutoscaler
from resilience.core.model.autoscaler import Autoscaler
from resilience.core.rollouts.autoscaling import limits
from resilience.core.rollouts.context import Move
from tests.support.stages import make_stage

FREE = Autoscaler("hpa", 1, runs_up=True, scale_up="Max")
HELD = replace(FREE, scale_up="Disabled", scale_up_before="Max")
# Somebody has switched scaling up on again.
UNDONE = replace(HELD, scale_up="Max")
STEPS = [step for step in ReleaseStep if step is not ReleaseStep.REVERTING]
LIMIT, FREED = (LimitAutoscaler(FREE, limited=True),), (LimitAutoscaler(HELD, limited=False),)


def due(step: ReleaseStep | None, scaler: Autoscaler | None, move: Move | None = None, **fields: Any) -> Any:
    return limits(make_stage(step, view={"autoscaler": scaler}, **fields), move or Move())


@pytest.mark.parametrize("step", STEPS)
def test_in_every_step_with_two_colours_scaling_up_is_off(step: ReleaseStep) -> None:
    assert due(step, FREE) == LIMIT
    assert due(step, HELD) == ()


def test_without_green_it_is_let_go() -> None:
    assert due(None, FREE) == ()
    assert due(None, HELD) == FREED


@pytest.mark.parametrize(
    "scaler",
    [None, replace(FREE, runs_up=False), replace(FREE, scale_up="Disabled"), Autoscaler("q", 1, is_scaled_object=True)],
)
def test_one_that_does_not_run_up_or_cannot_is_left_alone(scaler: Autoscaler | None) -> None:
    assert due(ReleaseStep.WARM, scaler) == () == due(None, scaler)


def test_who_undoes_it_has_decided_and_the_note_goes_in_the_end() -> None:
    assert due(ReleaseStep.WARM, UNDONE) == ()
    assert due(None, UNDONE) == (LimitAutoscaler(UNDONE, limited=False),)


def test_while_a_person_is_waited_for_the_load_comes_first() -> None:
    waits = Move(awaits_promotion=True)

    assert due(ReleaseStep.PREPARING, FREE, waits) == ()
    assert due(ReleaseStep.PREPARING, HELD, waits) == FREED


def test_a_step_that_takes_too_long_does_not_keep_it() -> None:
    stage = make_stage(ReleaseStep.WARM, view={"autoscaler": HELD})
    late = stage.spec.rollout.progress_deadline + timedelta(hours=1)
    green = replace(stage.green, since=stage.now - late)

    assert limits(replace(stage, view=replace(stage.view, green=green)), Move()) == FREED
