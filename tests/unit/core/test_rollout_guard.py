"""The availability guard of releases: what may be written to Services, green and the target, on a fresh look."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.actions import CreateGreen, DeleteGreen, Resume, Route
from resilience.core.model.observation import Observation
from resilience.core.rollouts import guard
from tests.support.factories import LABELS, NOW, make_service
from tests.support.stages import GREEN_HASH, GREEN_LABELS, HASHES, LATER, NEW, OLD, Scenario, green_pods, look, own_pods

PREPARING, SCALING, SWITCHING = ReleaseStep.PREPARING, ReleaseStep.SCALING, ReleaseStep.SWITCHING
WARM, DISCARDING = ReleaseStep.WARM, ReleaseStep.DISCARDING
BLUE, GREEN = Colour.BLUE, Colour.GREEN
BLUE_HASH = HASHES[OLD]
AWAY = {"unsettled": timedelta(seconds=3)}
PINNED: dict[str, Any] = {"pinned": True, "selector": LABELS | {"pod-template-hash": BLUE_HASH}}
CREATE, DELETE, RESUME = CreateGreen(1, NOW), DeleteGreen(), Resume()


def seen(step: ReleaseStep | None = None, towards: Colour = GREEN, **fields: Any) -> Observation:
    return look(Scenario(step, towards, **fields))[1]


def reason(fresh: Observation, action: Any, *, before: Observation | None = None) -> str:
    found = guard.refusal(before or fresh, fresh, action)
    assert found is None or found.message
    return found.reason if found is not None else ""


@pytest.mark.parametrize("action", [CREATE, DELETE, RESUME, Route("checkout", ""), Route("checkout", GREEN_HASH)])
def test_nothing_is_written_on_a_target_that_is_another_one_by_now(action: Any) -> None:
    fresh = seen(WARM)

    assert reason(replace(fresh, workload=None), action, before=fresh) == "TargetGone"
    assert reason(replace(fresh, pods=None), action, before=fresh) == "TargetGone"
    assert reason(fresh, action, before=replace(fresh, workload=None)) == "TargetGone"
    assert reason(seen(WARM, wanted=LATER), action, before=fresh) == "TemplateChanged"


@pytest.mark.parametrize(
    ("fresh", "refused"),
    [
        (seen(pin=BLUE_HASH), ""),
        (seen(pin=BLUE_HASH, view={"green": None}), ""),
        (seen(PREPARING), "GreenExists"),
        (seen(PREPARING, of_green={"deleting": True}), "GreenExists"),
        (seen(), "NotPinned"),
        (seen(pin=BLUE_HASH, workload={"paused": False}), "NotPinned"),
        (seen(seen={"services": (make_service(**PINNED), make_service("second"))}), "NotPinned"),
        # Others' Services and previews lead to no client of ours.
        (seen(seen={"services": (make_service(**PINNED), make_service("x", selector={"a": "b"}))}), ""),
        (seen(seen={"services": (make_service(**PINNED), make_service("x", preview_of="checkout"))}), ""),
        # A hash that its owner wrote is no pin of ours.
        (seen(seen={"services": (make_service(selector=PINNED["selector"]),)}), "NotPinned"),
    ],
)
def test_green_is_made_only_where_no_service_would_lead_to_it(fresh: Observation, refused: str) -> None:
    assert reason(fresh, CREATE) == refused


@pytest.mark.parametrize(
    ("fresh", "refused"),
    [
        (seen(DISCARDING), ""),
        (seen(), ""),
        (seen(DISCARDING, seen=AWAY), "Unsettled"),
        (seen(DISCARDING, listed=green_pods(1)), "StillListed"),
        (seen(DISCARDING, listed=green_pods(1, deleting=True)), ""),
        (seen(DISCARDING, listed=green_pods(1, ready=False)), ""),
        (seen(DISCARDING, pin="", listed=()), "StillSelected"),
        (seen(DISCARDING, pin=GREEN_HASH, listed=()), "StillSelected"),
        (seen(DISCARDING, pin=GREEN_HASH, listed=(), green=()), ""),
        # Nothing is to serve at all.
        (seen(SWITCHING, seen=AWAY, workload={"replicas": 0}), ""),
    ],
)
def test_green_goes_only_when_nobody_is_led_to_it(fresh: Observation, refused: str) -> None:
    assert reason(fresh, DELETE) == refused


def home(**fields: Any) -> Observation:
    """The target's own old pods are about to be replaced behind green."""
    return seen(PREPARING, BLUE, **{"own": own_pods(OLD)} | fields)


@pytest.mark.parametrize(
    ("fresh", "action", "refused"),
    [
        (home(), RESUME, ""),
        (home(pin="", listed=()), RESUME, "StillServing"),
        (home(listed=own_pods(OLD, 1)), RESUME, "StillServing"),
        (home(seen=AWAY), RESUME, "Unsettled"),
        # The same template again, while pods of another one are left from a roll that was stopped.
        (home(wanted=OLD, own=(*own_pods(OLD, 1), *own_pods(NEW, 1)), pin="", listed=()), RESUME, "StillServing"),
        # Nothing is replaced.
        (home(wanted=OLD, pin="", workload={"current": 2, "updated": 2}), RESUME, ""),
        # Without green this is what the user wants by himself.
        (seen(), RESUME, ""),
        (home(serving="", pin="", workload={"paused": True}), RESUME, ""),
        (home(pin=""), Resume(give_back=True), ""),
    ],
)
def test_pods_that_have_clients_are_not_rolled(fresh: Observation, action: Any, refused: str) -> None:
    assert reason(fresh, action) == refused


TO_GREEN, TO_BLUE = Route("checkout", GREEN_HASH), Route("checkout", BLUE_HASH)


@pytest.mark.parametrize(
    ("fresh", "action", "refused"),
    [
        (seen(SWITCHING), TO_GREEN, ""),
        (seen(SWITCHING), TO_BLUE, ""),
        (seen(SWITCHING, green=green_pods(1)), TO_GREEN, "BelowFloor"),
        (seen(SWITCHING, green=green_pods(2, ready=False)), TO_GREEN, "BelowFloor"),
        (seen(SWITCHING, green=green_pods(2, deleting=True)), TO_GREEN, "BelowFloor"),
        (seen(SWITCHING, green=green_pods(2, available=False)), TO_GREEN, "BelowFloor"),
        (seen(SWITCHING), Route("checkout", "h-nobody"), "BelowFloor"),
        # More than are wanted is nobody's right.
        (seen(SWITCHING, own=own_pods(count=3)), TO_GREEN, ""),
        # When it leads to fewer now, so many are enough; and when to none, anything is better.
        (seen(SWITCHING, green=green_pods(1), own=own_pods(ready=False)), TO_GREEN, ""),
        (seen(PREPARING, green=green_pods(1), own=own_pods(ready=False)), TO_GREEN, ""),
        # Ready is not enough: the slices have to list them first.
        (seen(PREPARING), TO_GREEN, "BelowFloor"),
        (seen(WARM), TO_BLUE, "BelowFloor"),
        (seen(SWITCHING, listed=(*own_pods(), *green_pods(1))), TO_GREEN, "BelowFloor"),
        (seen(SWITCHING, green=(), own=own_pods(count=1)), TO_BLUE, ""),
        # Pods that the Service would not select, pin or no pin.
        (seen(SWITCHING, green=green_pods(labels={"pod-template-hash": GREEN_HASH})), TO_GREEN, "BelowFloor"),
        # Taking a pin off leads to more, never to fewer.
        (seen(WARM, seen=AWAY), Route("checkout", ""), ""),
        (seen(WARM, green=()), Route("checkout", ""), ""),
        # Gone meanwhile: the executor says so.
        (seen(SWITCHING), Route("unheard-of", GREEN_HASH), ""),
    ],
)
def test_a_service_never_leads_to_fewer_than_are_wanted_or_than_it_has(
    fresh: Observation, action: Any, refused: str
) -> None:
    assert reason(fresh, action) == refused


@pytest.mark.parametrize(
    ("fresh", "action", "refused"),
    [
        (seen(SWITCHING, seen=AWAY), TO_GREEN, "Unsettled"),
        # Before the switch: what is pinned away has no client yet.
        (seen(pin="", seen=AWAY), TO_BLUE, ""),
        (seen(PREPARING, pin="", listed=own_pods(), seen=AWAY), TO_BLUE, ""),
        (seen(WARM, seen=AWAY), TO_GREEN, ""),
    ],
)
def test_no_service_is_narrowed_while_nodes_may_not_have_caught_up(
    fresh: Observation, action: Any, refused: str
) -> None:
    assert reason(fresh, action) == refused


def test_each_service_is_looked_at_by_itself() -> None:
    only_blue = make_service("blue", selector={"tier": "old"})
    pods = own_pods(labels=LABELS | {"tier": "old", "pod-template-hash": BLUE_HASH})
    fresh = seen(SWITCHING, own=pods, seen={"services": (make_service(), only_blue)}, green=green_pods())

    assert GREEN_LABELS.items() <= green_pods(1)[0].labels.items()
    assert reason(fresh, Route("checkout", GREEN_HASH)) == ""
    listed = tuple(replace(each, service="blue") for each in fresh.endpoints if each.pod_name.startswith(OLD))
    assert reason(replace(fresh, endpoints=listed), Route("blue", GREEN_HASH)) == "BelowFloor"
