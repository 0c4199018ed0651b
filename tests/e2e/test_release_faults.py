"""Something breaks, or somebody acts, in the middle of a release: the end is right, and nothing is lost."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support import disturbances
from tests.support.counts import PROOF, Figures
from tests.support.disturbances import Disturbance
from tests.support.killer import Killer, kill_leader
from tests.support.kube import wait_until
from tests.support.release import Release
from tests.support.rollouts import GREEN, Endpoints, adopted, at_rest, ended, rollout, serves, shop, template, trace
from tests.support.space import Space
from tests.support.traffic import traffic

ACCEPTS = "resilience.dev/accept-selector-pin=true"
# Direction and step, as green carries them.
OUT = ["Preparing", "Scaling", "Switching", "Overlapping", "Warm", "Draining"]
HOME = ["Preparing", "Switching", "Overlapping", "Draining"]
STEPS = [*(f"green {each}" for each in OUT), *(f"blue {each}" for each in HOME)]
# Requests take a moment, so that some are under way whenever a pod ends.
SLOW = {"RESPONSE_DELAY_MS": "50"}
# The old pods stay until their replacements serve, and serve until every node knows that they go.
GENTLE: dict[str, Any] = {
    "lifecycle": {"preStop": {"sleep": {"seconds": 4}}},
    "spec": {"strategy": {"rollingUpdate": {"maxUnavailable": 0}}},
    "env": SLOW,
}
BAD_STEPS = ["green Preparing", "green Warm", "green Reverting", "green Discarding"]


def at(space: Space, step: str) -> None:
    """Waits until green carries the step; a step that lasts a moment may be over when this returns."""

    def look() -> bool:
        notes = ((space.find("deployments", GREEN) or {}).get("metadata") or {}).get("annotations") or {}
        now = f"{notes.get('resilience.dev/release-towards')} {notes.get('resilience.dev/release-step')}"
        return now in STEPS + BAD_STEPS and (now == step or _later(now, step))

    # To look costs what others have to wait for.
    wait_until(look, what=f"step {step}", timeout=60, every=0.01 if PROOF else 0.03)


def _later(now: str, step: str) -> bool:
    return any(step in order and now in order and order.index(now) > order.index(step) for order in (STEPS, BAD_STEPS))


@pytest.mark.killing
@pytest.mark.long
@pytest.mark.parametrize("step", STEPS if PROOF else ["green Overlapping", "blue Preparing"])
def test_the_operator_is_killed_in_a_good_release(
    operator: Release, killer: Killer, space: Space, figures: Figures, step: str
) -> None:
    # given
    adopted(space, *shop("v1", replicas=2))
    before = trace(space)
    with Endpoints(space) as endpoints, traffic(space.url()) as clients:
        began = time.monotonic()
        # when
        space.apply(template("v2", replicas=2))
        at(space, step)
        hit = kill_leader(operator, killer)
        # then
        result = ended(space, before)
        seconds = round(time.monotonic() - began, 1)
    operator.renew(hit)
    figures.write(step=step, seconds_to_finish=seconds, **clients.figures())
    assert result["result"] == "Succeeded", result
    assert clients.failed == 0, clients.failures()
    assert endpoints.fewest() >= 2, endpoints.story()
    assert serves(space) == {"v2"}
    at_rest(space)


@pytest.mark.killing
@pytest.mark.long
@pytest.mark.parametrize("step", BAD_STEPS if PROOF else BAD_STEPS[2:3])
def test_the_operator_is_killed_in_a_bad_release(
    operator: Release, killer: Killer, space: Space, figures: Figures, step: str
) -> None:
    # given
    settings = rollout(blueGreen={"warmPeriod": "30s"})
    adopted(space, *shop("v1", replicas=2, rollout=settings))
    before = trace(space)
    bad = {"CRASH": "1"} if step == "green Preparing" else {"FAIL_HEALTH_AFTER": "200"}
    with Endpoints(space) as endpoints, traffic(space.url()) as clients:
        began = time.monotonic()
        # when
        space.apply(template("v2", replicas=2, env=bad))
        at(space, step)
        hit = kill_leader(operator, killer)
        # then
        result = ended(space, before)
        seconds = round(time.monotonic() - began, 1)
    operator.renew(hit)
    figures.write(step=step, seconds_to_finish=seconds, **clients.figures())
    assert result["result"] == "RolledBack", result
    assert clients.failed == 0, clients.failures()
    assert endpoints.fewest() >= 2, endpoints.story()
    assert serves(space) == {"v1"}
    at_rest(space)


GRID = [(step, each) for step in STEPS for each in disturbances.ALL]
# Resumed before it takes over, the Deployment controller ends the old pods by itself.
GRID += [("green Preparing", disturbances.RESUMED_EARLY), ("green Warm", disturbances.RESUMED)]
SMALL = [
    ("green Preparing", disturbances.RESUMED_EARLY),
    ("green Warm", disturbances.RESUMED),
    ("green Warm", disturbances.UNDONE),
    ("green Preparing", disturbances.ALL[3]),
    ("green Overlapping", disturbances.ALL[1]),
    ("green Warm", disturbances.ALL[0]),
    ("blue Preparing", disturbances.ALL[6]),
]


@pytest.mark.load
@pytest.mark.parametrize(
    ("step", "disturbance"), GRID if PROOF else SMALL, ids=lambda each: each if isinstance(each, str) else each.name
)
def test_somebody_acts_in_the_middle(
    operator: Release, space: Space, figures: Figures, tmp_path: Path, step: str, disturbance: Disturbance
) -> None:
    # given: a Service whose owner accepts that it is pinned, whoever applies it
    # and the Deployment as the guide has it for those who roll it by themselves
    careful = GENTLE if disturbance.rolls else {}
    settings = {"rollout": rollout(blueGreen={"warmPeriod": "4s"})} if disturbance is disturbances.RESUMED else {}
    objects = [template("v1", replicas=2, **careful), *shop("v1", replicas=2, **settings)[1:]]
    if disturbance.name == "helm upgrade":
        disturbances.install(space, tmp_path, *objects[:2])
        objects = objects[2:]
    adopted(space, *objects)
    space.kubectl("annotate", "service", "shop", ACCEPTS)
    with Endpoints(space) as endpoints, traffic(space.url()) as clients:
        # when
        space.apply(template("v2", replicas=2, **careful))
        at(space, step)
        disturbance.act(space, tmp_path)
        # then: the end is right
        wait_until(lambda: _finished(space, disturbance), what="the end of all releases", timeout=120)
    figures.write(step=step, what=disturbance.name, pins_lost=_pins_lost(space), **clients.figures())
    assert len(space.shop_pods()) == disturbance.replicas
    at_rest(space)
    assert space.get("deployments", "shop")["spec"]["paused"]
    # and nobody noticed
    lost = clients.failed_new if disturbance.rolls else clients.failed
    assert lost == 0 or not disturbance.gentle, clients.failures()
    resumed = sum("DeploymentResumed" in each for each in space.events())
    assert resumed == (disturbance.name in ("resumed", "resumed early"))
    assert endpoints.fewest() >= 2 - (not disturbance.gentle), endpoints.story()


def test_control_a_release_that_is_resumed_early_loses_requests_without_a_pre_stop_hook(
    operator: Release, space: Space, figures: Figures, tmp_path: Path
) -> None:
    # given: pods that exit at once, and nothing that holds them back
    adopted(space, template("v1", replicas=2, env=SLOW), *shop("v1", replicas=2)[1:])
    with traffic(space.url()) as clients:
        # when
        space.apply(template("v2", replicas=2, env=SLOW))
        at(space, "green Preparing")
        disturbances.RESUMED_EARLY.act(space, tmp_path)
        # then
        wait_until(lambda: _finished(space, disturbances.RESUMED_EARLY), what="the end of all releases", timeout=120)
    figures.write(what="resumed early, no preStop hook", **clients.figures())
    assert clients.failed > 0


def _finished(space: Space, disturbance: Disturbance) -> bool:
    status = space.status()
    ready = space.condition("Ready").get("status") == "True" and "candidate" not in status["rollout"]
    return ready and serves(space) == {disturbance.ends} and len(space.shop_pods()) == disturbance.replicas


def _pins_lost(space: Space) -> int:
    return sum("PinLost" in each for each in space.events())
