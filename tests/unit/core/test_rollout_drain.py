"""Clients of a whole colour are told to move over, are waited for, and are told when that is taken back."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.actions import DeleteGreen, SignalPod, TakeBackSignal
from resilience.core.model.observation import Pod
from resilience.core.rollouts import bluegreen, drain
from resilience.core.rollouts.context import Move
from tests.support.factories import NOW, make_service
from tests.support.stages import NEW, OLD, green_pods, make_stage, own_pods, to

PREPARING, WARM, DRAINING = ReleaseStep.PREPARING, ReleaseStep.WARM, ReleaseStep.DRAINING
REVERTING, DISCARDING = ReleaseStep.REVERTING, ReleaseStep.DISCARDING
BLUE, GREEN = Colour.BLUE, Colour.GREEN
SIGNAL = {"signal": {"http": {"path": "/drain", "port": "http"}}}
QUIET = {"quiet": {"http": {"path": "/c", "port": "http", "json": "active", "below": 3}}, "maxWait": "20s"}
AT_HOME: dict[str, Any] = {"serving": NEW, "own": own_pods(NEW)}
TOLD = own_pods(signalled_at=NOW)
ON = (to(PREPARING, BLUE),)


def drained(
    step: ReleaseStep = DRAINING, towards: Colour = GREEN, *, drain: Any = None, ago: int = 5, **fields: Any
) -> Move:
    # Nodes know at once, unless a test is about that.
    spec = {"drain": {"propagationDelay": "0s"} | (drain or {})}
    return bluegreen.plan(make_stage(step, towards, spec=spec, ago=timedelta(seconds=ago), **fields))


@pytest.mark.parametrize(
    ("step", "towards", "fields", "who"),
    [
        (DRAINING, GREEN, {}, own_pods()),
        (DRAINING, BLUE, AT_HOME, green_pods()),
        (DISCARDING, GREEN, {}, green_pods()),
        # Who was told, is not ready or takes no signal is not told.
        (DRAINING, GREEN, {"own": (*own_pods(OLD, 1), TOLD[1])}, own_pods(OLD, 1)),
        (DISCARDING, GREEN, {"green": (*green_pods(1), green_pods(2, ready=False)[1])}, green_pods(1)),
        (DISCARDING, GREEN, {"green": (*green_pods(1), green_pods(2, ip="")[1])}, green_pods(1)),
        (DISCARDING, GREEN, {"green": (*green_pods(1), green_pods(2, ports=())[1])}, green_pods(1)),
    ],
)
def test_every_pod_of_the_colour_that_goes_is_told_at_once(
    step: ReleaseStep, towards: Colour, fields: Any, who: tuple[Pod, ...]
) -> None:
    found = drained(step, towards, drain=SIGNAL, **fields)

    told = [each for each in found.actions if isinstance(each, SignalPod)]
    assert [each.pod for each in told] == list(who) and len(told) == len(found.actions)
    assert all(each.target is not None and each.target.path == "/drain" and each.at == NOW for each in told)
    assert found.waiting == "clients are signalled to move over"


@pytest.mark.parametrize(("ago", "last"), [(5, False), (15, True)])
def test_a_signal_that_is_not_taken_is_not_tried_for_ever(ago: int, last: bool) -> None:
    found = drained(drain=SIGNAL, ago=ago)

    late = drained(drain=SIGNAL | {"propagationDelay": "4s"}, ago=ago + 4)

    assert [each.last for each in found.actions if isinstance(each, SignalPod)] == [last, last]
    assert [each.last for each in late.actions if isinstance(each, SignalPod)] == [last, last]


@pytest.mark.parametrize(
    ("fields", "words", "wait"),
    [
        (
            {"ago": 5, "drain": {"propagationDelay": "6s"}},
            "every node learns that the old pods get no new connections",
            1,
        ),
        (
            {"seen": {"unsettled": timedelta(seconds=4)}},
            "the API server was away; nodes may not have caught up",
            4,
        ),
        ({"drain": SIGNAL, "own": TOLD}, "clients move over", 55),
        ({"drain": SIGNAL | {"maxWait": "20s"}, "own": TOLD}, "clients move over", 15),
        # Its time begins when every node knows.
        (
            {"ago": 8, "drain": SIGNAL | {"maxWait": "20s", "propagationDelay": "6s"}, "own": TOLD},
            "clients move over",
            18,
        ),
    ],
)
def test_what_is_waited_for_before_a_colour_goes(fields: Any, words: str, wait: int) -> None:
    found = drained(**fields)

    assert (found.actions, found.waiting, found.wait) == ((), words, timedelta(seconds=wait))


def test_clients_of_a_headless_service_know_later() -> None:
    headless = make_service(cluster_ip="", selector={"app": "checkout", "pod-template-hash": "h-green"}, pinned=True)

    found = drained(seen={"services": (headless,)}, ago=5)

    assert found.actions == () and found.wait == timedelta(seconds=25)


@pytest.mark.parametrize(
    ("counts", "ago", "goes"),
    [
        ((0, 2), 5, True),
        ((0, 3), 5, False),
        ((0, None), 5, False),
        ((), 5, False),
        ((9, 9), 19, False),
        ((9, 9), 20, True),
        ((None, None), 20, True),
    ],
)
@pytest.mark.parametrize("drain", [QUIET, SIGNAL | QUIET])
def test_quiet_pods_go_and_loud_ones_at_the_latest(counts: Any, ago: int, goes: bool, drain: Any) -> None:
    said = {pod.uid: count for pod, count in zip(TOLD, counts, strict=False)}

    found = drained(drain=drain, ago=ago, own=TOLD, view={"connections": said})

    assert found.actions == (ON if goes else ())
    assert goes or found.waiting == "clients still keep connections to the old pods"
    assert goes or found.wait == timedelta(seconds=1)


@pytest.mark.parametrize("drain", [{}, {"maxWait": "20s"}])
def test_without_signal_and_quiet_only_nodes_are_waited_for(drain: Any) -> None:
    assert drained(drain=drain).actions == ON
    assert drained(DISCARDING, drain=drain).actions == (DeleteGreen(),)


def test_a_colour_without_a_ready_pod_has_nobody_to_tell() -> None:
    assert drained(drain=SIGNAL, own=own_pods(ready=False)).actions == ON


@pytest.mark.parametrize(("drain", "target"), [(SIGNAL, "/drain"), ({}, None)])
def test_a_signal_is_taken_back_from_who_had_it(drain: Any, target: str | None) -> None:
    pods = (*own_pods(OLD, 1), TOLD[1])

    found = drained(REVERTING, drain=drain, own=pods)

    taken = [each for each in found.actions if isinstance(each, TakeBackSignal)]
    assert [each.pod for each in taken] == [TOLD[1]]
    assert [each.target.path if each.target else None for each in taken] == [target]


@pytest.mark.parametrize(
    ("step", "towards", "who"),
    [
        (PREPARING, GREEN, ()),
        (WARM, GREEN, own_pods()),
        (DRAINING, GREEN, own_pods()),
        (REVERTING, GREEN, ()),
        (DISCARDING, GREEN, green_pods()),
        (DRAINING, BLUE, green_pods()),
        (PREPARING, BLUE, ()),
    ],
)
def test_only_the_colour_that_clients_leave_is_asked_for_connections(
    step: ReleaseStep, towards: Colour, who: tuple[Pod, ...]
) -> None:
    counts = {pod.uid: 2 for pod in (*own_pods(), *green_pods())}
    stage = make_stage(step, towards, own=own_pods(), view={"connections": counts})

    assert drain.draining_pods(stage.view) == who
    assert drain.kept_connections(stage) == (2 * len(who) or None)


def test_nobody_is_asked_without_green() -> None:
    stage = make_stage(DISCARDING)

    assert drain.draining_pods(replace(stage.view, green=None)) == ()
    assert drain.kept_connections(stage) is None
