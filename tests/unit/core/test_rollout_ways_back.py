"""A blue-green release that does not go straight: back, superseded, resumed by somebody, to zero, or given back."""

from datetime import timedelta
from typing import Any

import pytest

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.actions import DeleteGreen, Hold, Resume, Route, ScaleTarget, TakeBackSignal
from resilience.core.model.autoscaler import Autoscaler
from resilience.core.model.decision import Action
from resilience.core.rollouts import bluegreen
from resilience.core.rollouts.context import Move
from tests.support.factories import NOW
from tests.support.stages import (
    GREEN_HASH,
    HASHES,
    LATER,
    NEW,
    OLD,
    checked,
    green_pods,
    make_stage,
    own_pods,
    running,
    to,
)

PREPARING, SCALING, SWITCHING = ReleaseStep.PREPARING, ReleaseStep.SCALING, ReleaseStep.SWITCHING
OVERLAPPING, WARM, DRAINING = ReleaseStep.OVERLAPPING, ReleaseStep.WARM, ReleaseStep.DRAINING
REVERTING, DISCARDING = ReleaseStep.REVERTING, ReleaseStep.DISCARDING
BLUE, GREEN = Colour.BLUE, Colour.GREEN
TO_OLD, TO_GREEN, TO_BOTH = (Route("checkout", each) for each in (HASHES[OLD], GREEN_HASH, ""))
HOME: dict[str, Any] = {"serving": NEW, "own": own_pods(NEW)}
# A newer template than green's, on its way onto the target's own pods.
HOME_LATER: dict[str, Any] = {"wanted": LATER, "serving": LATER, "own": own_pods(LATER), "status": running(LATER)}
HPA = {"autoscaler": Autoscaler("hpa", 1)}
BEFORE = {"before": {"checks": ["ready"], "for": "10s"}}
RESUMED = {"workload": {"paused": False}}
BOTH_LISTED = (*own_pods(), *green_pods())


def plan(step: ReleaseStep, towards: Colour = GREEN, **fields: Any) -> Move:
    return bluegreen.plan(make_stage(step, towards, **fields))


@pytest.mark.parametrize(
    ("towards", "fields", "actions", "words"),
    [
        (GREEN, {"own": own_pods(count=1)}, (), "both versions serve until the old one can carry all"),
        (
            GREEN,
            {"own": own_pods(count=1), "pin": GREEN_HASH},
            (TO_BOTH,),
            "both versions serve until the old one can carry all",
        ),
        (GREEN, {"pin": GREEN_HASH}, (TO_BOTH,), "rolling back"),
        (GREEN, {"listed": green_pods()}, (), "rolling back"),
        (GREEN, {}, (TO_OLD,), "rolling back"),
        (GREEN, {"pin": HASHES[OLD], "listed": BOTH_LISTED}, (), "rolling back"),
        (GREEN, {"pin": HASHES[OLD]}, (to(DISCARDING),), ""),
        # When what failed has nothing ready, whatever the old one has is better.
        (GREEN, {"own": own_pods(count=1), "green": green_pods(ready=False)}, (TO_OLD,), "rolling back"),
        # With an autoscaler it has to carry what green carries.
        (GREEN, {"green": green_pods(4), "view": HPA}, (ScaleTarget(4),), "both versions serve until"),
        (GREEN, {"green": green_pods(4)}, (TO_OLD,), "rolling back"),
        (BLUE, HOME_LATER, (TO_GREEN,), "rolling back"),
        (BLUE, HOME_LATER | {"pin": GREEN_HASH}, (to(PREPARING, BLUE),), ""),
        (BLUE, HOME_LATER | {"green": green_pods(1)}, (), "both versions serve until the old one can carry all"),
    ],
)
def test_the_switch_backwards(towards: Colour, fields: Any, actions: Any, words: str) -> None:
    found = plan(REVERTING, towards, **fields)

    assert found.actions == actions
    assert words in found.waiting and bool(found.waiting) is bool(words)


@pytest.mark.parametrize("fields", [{"own_count": 1}, {"pin": GREEN_HASH}, {}, {"pin": HASHES[OLD]}])
def test_who_serves_again_is_told_so_first(fields: Any) -> None:
    count = fields.get("own_count", 2)
    told = own_pods(count=count, signalled_at=NOW)
    rest = {key: value for key, value in fields.items() if key != "own_count"}

    found = plan(REVERTING, own=told, **rest)

    assert [each.pod for each in found.actions[:count] if isinstance(each, TakeBackSignal)] == list(told)
    assert not any(isinstance(each, TakeBackSignal) for each in found.actions[count:])


@pytest.mark.parametrize(
    ("fields", "actions", "words"),
    [
        ({}, (DeleteGreen(),), ""),
        ({"pin": ""}, (TO_OLD,), ""),
        ({"pin": GREEN_HASH}, (TO_OLD,), ""),
        ({"listed": BOTH_LISTED}, (), "the second Deployment's pods are leaving their Services"),
        ({"ago": timedelta()}, (), "every node learns that the old pods get no new connections"),
        ({"seen": {"unsettled": timedelta(seconds=1)}}, (), "the API server was away; nodes may not have caught up"),
    ],
)
def test_green_is_removed_when_nobody_is_led_to_it(fields: Any, actions: Any, words: str) -> None:
    found = plan(DISCARDING, **fields)

    assert (found.actions, found.waiting) == (actions, words)


@pytest.mark.parametrize(
    ("step", "towards", "wanted", "actions"),
    [
        (PREPARING, GREEN, LATER, (to(DISCARDING),)),
        (SCALING, GREEN, LATER, (to(DISCARDING),)),
        (PREPARING, GREEN, OLD, (to(DISCARDING),)),
        # From here on green takes over completely, and the target's own pods get the newest one.
        (SWITCHING, GREEN, LATER, (to(OVERLAPPING),)),
        (OVERLAPPING, GREEN, LATER, (TO_GREEN,)),
        (WARM, GREEN, LATER, (to(DRAINING),)),
        (DRAINING, GREEN, LATER, (to(PREPARING, BLUE),)),
        # What is still kept ready is wanted again.
        (SWITCHING, GREEN, OLD, (to(OVERLAPPING),)),
        (WARM, GREEN, OLD, (to(REVERTING), TO_BOTH)),
        (DRAINING, GREEN, OLD, (to(REVERTING), TO_BOTH)),
        (REVERTING, GREEN, LATER, (TO_OLD,)),
        (DISCARDING, GREEN, LATER, (DeleteGreen(),)),
        (PREPARING, BLUE, LATER, (Resume(), to(PREPARING, BLUE))),
        (SWITCHING, BLUE, LATER, (to(OVERLAPPING, BLUE),)),
    ],
)
def test_a_newer_template_supersedes(step: ReleaseStep, towards: Colour, wanted: str, actions: Any) -> None:
    home = HOME if towards is BLUE else {}

    assert plan(step, towards, wanted=wanted, **home).actions == actions


@pytest.mark.parametrize(
    ("fields", "goes"),
    [
        ({}, False),
        ({"seen": checked(pods=own_pods(LATER))}, True),
        ({"seen": checked(pods=own_pods(LATER), ago=4)}, False),
        # The same template as green's needs no gate again; nor does a target that is given back.
        ({"kept": LATER}, True),
        ({"leaving": True}, True),
    ],
)
def test_another_template_than_greens_is_a_candidate_at_home(fields: Any, goes: bool) -> None:
    found = plan(PREPARING, BLUE, rollout=BEFORE, **HOME_LATER | fields)

    assert found.actions == ((to(SWITCHING, BLUE), TO_BOTH) if goes else ())


@pytest.mark.parametrize(
    ("step", "towards", "fields", "actions"),
    [
        (PREPARING, GREEN, {}, (TO_BOTH,)),
        (SCALING, GREEN, {}, (TO_BOTH,)),
        (SWITCHING, GREEN, {}, ()),
        (OVERLAPPING, GREEN, {"pin": GREEN_HASH}, (TO_BOTH,)),
        (REVERTING, GREEN, {}, ()),
        (DISCARDING, GREEN, {}, (TO_BOTH,)),
        # Green serves already: it only goes home early.
        (WARM, GREEN, {}, (to(PREPARING, BLUE),)),
        (DRAINING, GREEN, {}, (to(PREPARING, BLUE),)),
        (PREPARING, BLUE, {"own": (*own_pods(NEW, 1), *own_pods(OLD, 1))}, ()),
        (PREPARING, BLUE, {"own": own_pods(NEW)}, (Hold(NEW),)),
        (SWITCHING, BLUE, HOME, (Hold(NEW), to(DISCARDING))),
        (DRAINING, BLUE, HOME, (TO_BOTH,)),
        (DRAINING, BLUE, HOME | {"pin": ""}, (Hold(NEW), to(DISCARDING))),
        # Its own pods are complete by now: what it had green for is done.
        (PREPARING, GREEN, HOME | {"serving": OLD, "pin": ""}, (Hold(NEW), to(DISCARDING))),
    ],
)
def test_somebody_resumes_the_deployment_in_the_middle(
    step: ReleaseStep, towards: Colour, fields: Any, actions: Any
) -> None:
    found = plan(step, towards, **RESUMED | fields)

    assert found.actions == actions
    rolls = step is not PREPARING if towards is BLUE else step not in (WARM, DRAINING)
    assert (found.waiting == "somebody resumed the Deployment, so it rolls by itself") is rolls


@pytest.mark.parametrize(
    ("step", "towards", "fields", "actions"),
    [
        (PREPARING, GREEN, {}, (to(DISCARDING),)),
        (SCALING, GREEN, {}, (to(DISCARDING),)),
        (SWITCHING, GREEN, {}, (to(OVERLAPPING),)),
        (OVERLAPPING, GREEN, {"pin": GREEN_HASH}, (to(WARM),)),
        (WARM, GREEN, {"ago": timedelta()}, (to(DRAINING),)),
        (DRAINING, GREEN, {}, (to(PREPARING, BLUE),)),
        (PREPARING, BLUE, {"own": own_pods(OLD)}, (Resume(), to(PREPARING, BLUE))),
        (PREPARING, BLUE, HOME, (to(SWITCHING, BLUE), TO_BOTH)),
        (WARM, BLUE, HOME_LATER | {"ago": timedelta()}, (to(DRAINING, BLUE),)),
        (DRAINING, BLUE, HOME, (DeleteGreen(),)),
        (REVERTING, GREEN, {"pin": HASHES[OLD]}, (to(DISCARDING),)),
        (DISCARDING, GREEN, {}, (DeleteGreen(),)),
    ],
)
def test_leaving_in_the_middle_brings_the_target_home(
    step: ReleaseStep, towards: Colour, fields: Any, actions: Any
) -> None:
    assert plan(step, towards, leaving=True, **fields).actions == actions


@pytest.mark.parametrize(("paused", "hold"), [(True, ()), (False, (Hold(NEW),))])
@pytest.mark.parametrize("leaving", [False, True])
def test_with_a_failed_newest_template_green_stays(paused: bool, hold: Any, leaving: bool) -> None:
    fields = {"wanted": LATER, "serving": NEW, "failed": LATER, "own": own_pods(LATER, ready=False)}
    stage = make_stage(PREPARING, BLUE, leaving=leaving, workload={"paused": paused}, **fields)

    found = bluegreen.plan(stage)

    assert found.actions == hold
    assert found.waiting.startswith("the new version stays on the second Deployment")
    assert bluegreen.stays_on_green(stage)


@pytest.mark.parametrize(("step", "pinned"), [(PREPARING, True), (SWITCHING, False), (WARM, True), (REVERTING, False)])
@pytest.mark.parametrize("paused", [True, False])
def test_at_zero_replicas_pins_and_green_go_at_once(step: ReleaseStep, pinned: bool, paused: bool) -> None:
    found = plan(step, workload={"replicas": 0, "paused": paused}, ago=timedelta())

    expected: tuple[Action, ...] = (TO_BOTH, DeleteGreen()) if pinned else (DeleteGreen(),)
    assert found.actions == expected


@pytest.mark.parametrize(("count", "view", "raised"), [(4, HPA, True), (2, HPA, False), (4, {}, False)])
def test_with_an_autoscaler_the_target_is_raised_before_it_takes_over(count: int, view: Any, raised: bool) -> None:
    fields = {"green": green_pods(count), "view": view, "of_green": {"replicas": count}}

    found = plan(PREPARING, BLUE, own=own_pods(NEW), **RESUMED | fields)

    assert found.actions == ((ScaleTarget(4),) if raised else (Hold(NEW),))
