"""Green carries a step that this version does not know: the release goes on from where traffic goes now."""

import os
from datetime import timedelta
from typing import Any

import pytest

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.actions import AdvanceGreen
from resilience.core.rollouts import bluegreen
from tests.support.release_model import Kind, ReleaseModel
from tests.support.release_operator import blue_green
from tests.support.stages import GREEN_HASH, HASHES, NEW, OLD, make_stage, own_pods, to
from tests.unit.core.test_rollout_properties import adopted, settle

PREPARING, SWITCHING, WARM = ReleaseStep.PREPARING, ReleaseStep.SWITCHING, ReleaseStep.WARM
DRAINING, REVERTING = ReleaseStep.DRAINING, ReleaseStep.REVERTING
BLUE, GREEN = Colour.BLUE, Colour.GREEN
UNKNOWN: dict[str, Any] = {"is_step_known": False}
HOME: dict[str, Any] = {"serving": NEW, "own": own_pods(NEW)}


@pytest.mark.parametrize(
    ("towards", "fields", "action"),
    [
        (GREEN, {"pin": HASHES[OLD]}, to(PREPARING)),
        (GREEN, {"pin": ""}, to(SWITCHING)),
        (GREEN, {"pin": GREEN_HASH}, to(WARM)),
        (GREEN, {"pin": GREEN_HASH, "failed": NEW}, to(REVERTING)),
        (GREEN, {"pin": HASHES[OLD], "failed": NEW}, to(REVERTING)),
        # The direction cannot be read either: green is assumed, and the target shows how far it is.
        (GREEN, {"pin": GREEN_HASH, "workload": {"paused": False}}, to(PREPARING, BLUE)),
        (GREEN, HOME | {"pin": GREEN_HASH}, to(PREPARING, BLUE)),
        (GREEN, HOME | {"pin": ""}, to(SWITCHING, BLUE)),
        (GREEN, HOME | {"pin": HASHES[NEW]}, to(DRAINING, BLUE)),
        (BLUE, {"own": own_pods(OLD), "pin": GREEN_HASH}, to(PREPARING, BLUE)),
        (BLUE, HOME | {"pin": ""}, to(SWITCHING, BLUE)),
        (BLUE, HOME | {"pin": HASHES[NEW]}, to(DRAINING, BLUE)),
        # Blue has a template that green never had, and its gate is not over.
        (BLUE, HOME | {"pin": HASHES[NEW], "kept": OLD}, to(WARM, BLUE)),
    ],
)
def test_the_step_follows_from_where_traffic_goes(towards: Colour, fields: Any, action: AdvanceGreen) -> None:
    found = bluegreen.plan(make_stage(PREPARING, towards, **{"of_green": UNKNOWN} | fields))

    assert found.actions == (action,)
    assert "cannot be read" in found.waiting and found.failure is None


def test_a_target_without_replicas_needs_no_step() -> None:
    found = bluegreen.plan(make_stage(PREPARING, pin=GREEN_HASH, of_green=UNKNOWN, workload={"replicas": 0}))

    assert not any(isinstance(action, AdvanceGreen) for action in found.actions)


def test_the_step_that_it_continues_from_moves_no_traffic() -> None:
    cases: tuple[dict[str, Any], ...] = ({"pin": GREEN_HASH}, {"pin": ""})
    for fields in cases:
        (action,) = bluegreen.plan(make_stage(PREPARING, of_green=UNKNOWN, **fields)).actions
        assert isinstance(action, AdvanceGreen)

        after = bluegreen.plan(make_stage(action.step, action.towards, **fields))

        assert not after.pins_lost and all(isinstance(step, AdvanceGreen) for step in after.actions)


def marks_lost(at: int, readable: str, kind: Kind) -> ReleaseModel:
    """A release that is to lose nothing, and whose marks become those of another version after so many passes."""
    operator = adopted(ReleaseModel(blue_green(), replicas=2))
    model = operator.model
    model.change("t1", kind)
    for _ in range(at):
        model.now += timedelta(seconds=1)
        model.tick()
        operator.reconcile()
    if model.green is not None:
        model.green.readable = readable
        model.green.version += 1
    settle(operator, passes=100, floor=not kind.bad)
    return model


@pytest.mark.parametrize("readable", ["direction", "nothing"])
@pytest.mark.parametrize(("kind", "ends"), [(Kind(), "t1"), (Kind(bad=True), "t0")], ids=["good", "bad"])
def test_a_release_ends_as_it_should_whenever_its_step_becomes_unreadable(readable: str, kind: Kind, ends: str) -> None:
    for at in range(1, 40) if os.environ.get("PROOF") else (3, 10, 15, 23):
        model = marks_lost(at, readable, kind)

        assert model.green is None and model.pin == "", f"lost in pass {at}: {model.status.explanation}"
        assert {pod.fingerprint for pod in model.pods.values()} == {ends}, f"lost in pass {at}"
