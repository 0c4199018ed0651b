"""The steps of a blue-green release: what each does when all is well, and what it waits for when it is not."""

from datetime import timedelta
from typing import Any

import pytest

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.actions import CreateGreen, DeleteGreen, Hold, Resume, Route, ScaleGreen
from resilience.core.model.autoscaler import Autoscaler
from resilience.core.rollouts import bluegreen
from tests.support.factories import LABELS, NOW, make_endpoint, make_service
from tests.support.stages import GREEN_HASH, HASHES, LATER, NEW, OLD, green_pods, make_stage, own_pods, to

PREPARING, SCALING, SWITCHING = ReleaseStep.PREPARING, ReleaseStep.SCALING, ReleaseStep.SWITCHING
OVERLAPPING, WARM, DRAINING = ReleaseStep.OVERLAPPING, ReleaseStep.WARM, ReleaseStep.DRAINING
BLUE, GREEN = Colour.BLUE, Colour.GREEN
TO_OLD, TO_NEW, TO_GREEN, TO_BOTH = (Route("checkout", each) for each in (HASHES[OLD], HASHES[NEW], GREEN_HASH, ""))
HOME: dict[str, Any] = {"serving": NEW, "own": own_pods(NEW)}
SHORT = timedelta(milliseconds=500)
BEFORE = {"before": {"checks": ["ready"], "for": "10s"}}


@pytest.mark.parametrize(
    ("step", "towards", "fields", "actions"),
    [
        (None, GREEN, {}, (TO_OLD, CreateGreen(2, NOW - timedelta(minutes=1)))),
        (PREPARING, GREEN, {}, (to(SCALING, GREEN, 2),)),
        (SCALING, GREEN, {}, (to(SWITCHING), TO_BOTH)),
        (SWITCHING, GREEN, {}, (to(OVERLAPPING),)),
        (OVERLAPPING, GREEN, {}, (TO_GREEN,)),
        (OVERLAPPING, GREEN, {"pin": GREEN_HASH}, (to(WARM),)),
        (WARM, GREEN, {}, (to(DRAINING),)),
        (DRAINING, GREEN, {}, (to(PREPARING, BLUE),)),
        (PREPARING, BLUE, {"own": own_pods(OLD)}, (Resume(), to(PREPARING, BLUE))),
        (PREPARING, BLUE, {"workload": {"paused": False}}, (Hold(NEW),)),
        (PREPARING, BLUE, HOME, (to(SWITCHING, BLUE), TO_BOTH)),
        (SWITCHING, BLUE, HOME, (to(OVERLAPPING, BLUE),)),
        (OVERLAPPING, BLUE, HOME, (TO_NEW,)),
        (OVERLAPPING, BLUE, HOME | {"pin": HASHES[NEW]}, (to(DRAINING, BLUE),)),
        (DRAINING, BLUE, HOME, (DeleteGreen(),)),
        (DRAINING, BLUE, HOME | {"of_green": {"deleting": True}}, ()),
        (None, GREEN, HOME | {"pin": HASHES[NEW]}, (TO_BOTH,)),
        (None, GREEN, HOME, ()),
    ],
)
def test_the_way_of_a_good_release(step: Any, towards: Colour, fields: Any, actions: Any) -> None:
    found = bluegreen.plan(make_stage(step, towards, **fields))

    assert found.actions == actions
    assert found.failure is None and found.pins_lost == ()


SOME = (*own_pods(NEW, 1), *own_pods(OLD, 1))
AWAY = {"unsettled": timedelta(seconds=3)}


@pytest.mark.parametrize(
    ("step", "towards", "fields", "words", "wait"),
    [
        (PREPARING, GREEN, {"green": green_pods(1)}, "1 of 2 candidate pods are ready", 5000),
        (
            PREPARING,
            GREEN,
            {"green": green_pods(2, ready=False, trouble="starts")},
            "0 of 2 candidate pods are ready; pod green-0: starts",
            1000,
        ),
        (SCALING, GREEN, {"green": green_pods(1)}, "1 of 2 candidate pods are ready", 5000),
        (SWITCHING, GREEN, {"listed": own_pods()}, "the new pods are being added to their Services", 5000),
        (OVERLAPPING, GREEN, {"ago": SHORT}, "both versions serve until every node knows", 500),
        (OVERLAPPING, GREEN, {"seen": AWAY}, "both versions serve: the API server was away", 3000),
        (OVERLAPPING, GREEN, {"green": green_pods(1)}, "both versions serve: a new pod is not ready", 1000),
        (OVERLAPPING, GREEN, {"listed": own_pods()}, "the new pods are being added", 5000),
        (
            OVERLAPPING,
            GREEN,
            {"pin": GREEN_HASH, "listed": (*own_pods(), *green_pods())},
            "the old pods are leaving their Services",
            5000,
        ),
        (WARM, GREEN, {"ago": timedelta(seconds=5)}, "the new version serves; the old one is kept ready", 5000),
        (WARM, GREEN, {"ago": timedelta(seconds=28)}, "the new version serves; the old one is kept ready", 2000),
        (
            PREPARING,
            BLUE,
            {"own": own_pods(OLD), "listed": (*own_pods(OLD), *green_pods())},
            "the old pods are leaving their Services",
            5000,
        ),
        (
            PREPARING,
            BLUE,
            {"own": SOME, "workload": {"paused": False}},
            "1 of 2 of the Deployment's own pods have the new template",
            5000,
        ),
        (DRAINING, BLUE, HOME | {"of_green": {"deleting": True}}, "the last pods of the second Deployment end", 1000),
    ],
)
def test_what_a_step_waits_for(step: Any, towards: Colour, fields: Any, words: str, wait: int) -> None:
    found = bluegreen.plan(make_stage(step, towards, **fields))

    assert found.actions == () and found.failure is None
    assert found.waiting == words
    assert found.wait == timedelta(milliseconds=wait)


@pytest.mark.parametrize(
    ("step", "towards", "fields", "pin", "told"),
    [
        (PREPARING, GREEN, {}, TO_OLD, True),
        (SCALING, GREEN, {}, TO_OLD, True),
        (WARM, GREEN, {}, TO_GREEN, True),
        (DRAINING, GREEN, {}, TO_GREEN, True),
        (PREPARING, BLUE, {"own": own_pods(OLD)}, TO_GREEN, True),
        (DRAINING, BLUE, HOME, TO_NEW, True),
        # At these nobody expects one.
        (ReleaseStep.DISCARDING, GREEN, {}, TO_OLD, False),
    ],
)
def test_a_pin_that_somebody_took_is_put_back_and_told(
    step: Any, towards: Colour, fields: Any, pin: Any, told: bool
) -> None:
    robbed = make_service(selector=LABELS, pinned=True)

    found = bluegreen.plan(make_stage(step, towards, seen={"services": (robbed,)}, **fields))
    ours = bluegreen.plan(make_stage(step, towards, pin="", **fields))

    assert found.actions == (pin,)
    assert found.pins_lost == (("checkout",) if told else ())
    # One that we took away ourselves, while both colours had to serve, is only put back.
    assert (ours.actions, ours.pins_lost) == ((pin,), ())


@pytest.mark.parametrize(
    ("step", "pin"), [(PREPARING, HASHES[OLD]), (SCALING, HASHES[OLD]), (WARM, GREEN_HASH), (DRAINING, GREEN_HASH)]
)
def test_a_service_that_is_made_meanwhile_is_pinned_at_once(step: ReleaseStep, pin: str) -> None:
    pinned = make_service(selector=LABELS | {"pod-template-hash": pin}, pinned=True)
    services = (pinned, make_service("second"), make_service("other", selector={"app": "x"}))
    everybody = (*own_pods(), *green_pods())
    slices = tuple(make_endpoint(pod, service=each.name) for each in services for pod in everybody)

    found = bluegreen.plan(make_stage(step, seen={"services": services, "endpoints": slices}))

    assert found.actions == (Route("second", pin),)
    assert found.pins_lost == ()


@pytest.mark.parametrize(("step", "pin"), [(WARM, GREEN_HASH), (DRAINING, GREEN_HASH)])
def test_a_service_that_is_made_meanwhile_disturbs_no_other(step: ReleaseStep, pin: str) -> None:
    pinned = make_service(selector=LABELS | {"pod-template-hash": pin}, pinned=True)
    slices = tuple(make_endpoint(pod, service="checkout") for pod in green_pods())

    found = bluegreen.plan(make_stage(step, seen={"services": (pinned, make_service("second")), "endpoints": slices}))

    # Its slice does not list green yet; the guard holds the pin back until it does.
    assert found.actions == (Route("second", pin),)


LATER_HOME: dict[str, Any] = {"serving": LATER, "wanted": LATER}


@pytest.mark.parametrize(
    ("step", "towards", "fields", "other"),
    [
        (WARM, GREEN, {"green": green_pods(1)}, "own"),
        (DRAINING, GREEN, {"green": green_pods(1)}, "own"),
        (PREPARING, BLUE, HOME | {"green": green_pods(1)}, "own"),
        (WARM, BLUE, LATER_HOME | {"own": own_pods(LATER, 1)}, "green"),
        (DRAINING, BLUE, HOME | {"own": own_pods(NEW, 1)}, "green"),
    ],
)
def test_both_serve_while_the_colour_that_serves_is_short(step: Any, towards: Colour, fields: Any, other: str) -> None:
    # Where the other colour has nothing ready it would not help.
    useless = {other: green_pods(ready=False) if other == "green" else own_pods(OLD, ready=False)}

    found = bluegreen.plan(make_stage(step, towards, **fields))
    alone = bluegreen.plan(make_stage(step, towards, **fields | useless))

    assert found.actions == (TO_BOTH,) and found.pins_lost == ()
    assert TO_BOTH not in alone.actions


@pytest.mark.parametrize(("step", "towards"), [(WARM, GREEN), (PREPARING, BLUE)])
def test_a_colour_that_is_too_small_grows_before_it_is_pinned(step: Any, towards: Colour) -> None:
    # Scaled up while both served; the pin would be refused until green is large enough.
    fields: dict[str, Any] = {"own": own_pods(OLD, 3), "workload": {"replicas": 3}, "pin": ""}

    found = bluegreen.plan(make_stage(step, towards, **fields))

    assert found.actions[0] == ScaleGreen(3)


def test_pods_that_are_still_to_be_checked_do_not_help_out() -> None:
    newer = {"wanted": LATER, "serving": NEW, "own": own_pods(LATER), "green": green_pods(1)}

    found = bluegreen.plan(make_stage(PREPARING, BLUE, **newer))

    assert TO_BOTH not in found.actions


@pytest.mark.parametrize(
    ("rollout", "size"),
    [
        ({}, 2),
        (BEFORE, 1),
        ({"blueGreen": {"promotion": "Manual"}}, 1),
        ({"blueGreen": {"promoteAfter": "5m"}}, 1),
        ({"blueGreen": {"promotion": "Manual", "previewReplicas": 9}}, 2),
    ],
)
def test_until_it_is_promoted_a_candidate_is_small(rollout: Any, size: int) -> None:
    begun = bluegreen.plan(make_stage(rollout=rollout, pin=HASHES[OLD]))
    small = bluegreen.plan(make_stage(PREPARING, rollout=rollout, of_green={"replicas": 0}, green=()))

    assert isinstance(begun.actions[0], CreateGreen) and begun.actions[0].replicas == size
    assert small.actions == (ScaleGreen(size),)


@pytest.mark.parametrize("step", [SCALING, SWITCHING, WARM])
@pytest.mark.parametrize(("replicas", "autoscaler", "size"), [(3, None, 3), (2, Autoscaler("hpa", 1), 4), (2, None, 2)])
def test_green_follows_what_is_wanted_upwards(step: ReleaseStep, replicas: int, autoscaler: Any, size: int) -> None:
    own = own_pods(count=4)
    stage = make_stage(step, own=own, view={"autoscaler": autoscaler}, workload={"replicas": replicas})

    found = bluegreen.plan(stage)

    grown = [each for each in found.actions if isinstance(each, ScaleGreen)]
    assert grown == ([ScaleGreen(size)] if size > 2 else [])


def test_green_never_shrinks() -> None:
    stage = make_stage(WARM, green=green_pods(5), of_green={"replicas": 5})

    assert bluegreen.plan(stage).actions == (to(DRAINING),)
