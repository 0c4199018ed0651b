"""The executor of releases with fake ports: when the guard is asked, what is written to whom, and how refusals read."""

from dataclasses import replace
from typing import Any

import pytest

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.actions import (
    AdvanceGreen,
    CreateGreen,
    DeleteGreen,
    DeletePreview,
    Hold,
    LimitAutoscaler,
    MarkFailed,
    MarkLeft,
    PauseFailed,
    PutPreview,
    ReleaseAction,
    RestoreTemplate,
    Resume,
    RetryPull,
    Route,
    ScaleGreen,
    ScaleTarget,
    SignalPod,
    TakeBackSignal,
)
from resilience.core.model.autoscaler import Autoscaler
from resilience.core.model.observation import Observation
from resilience.core.model.probes import HttpTarget
from resilience.ports import CandidateRefused, Conflict, PortError, Refused, Unavailable
from resilience.runtime.rollout_executor import describe
from tests.support.factories import NOW, RS, make_pod
from tests.support.release_ports import FakePorts, executor, run, seen
from tests.support.stages import GREEN_HASH, HASHES, LATER, OLD, own_pods

WARM, SWITCHING, DISCARDING = ReleaseStep.WARM, ReleaseStep.SWITCHING, ReleaseStep.DISCARDING
POD = make_pod("a")
ADDRESS = HttpTarget("10.0.0.1", 8080, "/drain")
SIGNAL = SignalPod(POD, ADDRESS, NOW)
STEP = AdvanceGreen(WARM, Colour.GREEN, NOW)
CREATE, RETRY, RESTORE = CreateGreen(2, NOW), RetryPull((POD,), 1), RestoreTemplate(RS, "t-new")
TO_GREEN = Route("checkout", GREEN_HASH)


PINNED = seen(None, pin=HASHES[OLD])
BOTH = seen(SWITCHING)
GOING = seen(DISCARDING)


@pytest.mark.parametrize(
    ("action", "before", "write", "told"),
    [
        (CREATE, PINNED, "create_green", CREATE),
        (DeleteGreen(), GOING, "delete_green", None),
        (TO_GREEN, BOTH, "route", GREEN_HASH),
        (Resume(), PINNED, "resume", Resume()),
    ],
)
async def test_what_can_take_capacity_away_is_looked_at_afresh(
    action: ReleaseAction, before: Any, write: str, told: Any
) -> None:
    found = await run(action, before)

    assert [name for name, _ in found.calls] == ["observe", write]
    assert told is None or found.calls[1][1][-1] == told


@pytest.mark.parametrize(
    ("action", "before", "fresh", "reason"),
    [
        (CREATE, PINNED, seen(None)[1], "NotPinned"),
        (CREATE, PINNED, seen(None, pin=HASHES[OLD], wanted=LATER)[1], "TemplateChanged"),
        (DeleteGreen(), GOING, seen(DISCARDING, pin="")[1], "StillListed"),
        (TO_GREEN, BOTH, seen(SWITCHING, listed=own_pods())[1], "BelowFloor"),
    ],
)
async def test_the_guard_has_the_last_word(action: Any, before: Any, fresh: Observation, reason: str) -> None:
    ports, (resource, observed) = FakePorts(fresh), before

    with pytest.raises(Conflict, match="the guard refused: "):
        await executor(ports).run(resource, observed, action)

    assert ports.calls == [("observe", None)] and ports.refusals == [reason]


@pytest.mark.parametrize(("action", "before"), [(CREATE, PINNED), (DeleteGreen(), GOING), (TO_GREEN, BOTH)])
async def test_who_no_longer_leads_writes_nothing(action: Any, before: Any) -> None:
    ports, (resource, observed) = FakePorts(before[1], leads=False), before

    with pytest.raises(Conflict, match="not leading any more"):
        await executor(ports).run(resource, observed, action)

    assert ports.calls == [("observe", None)] and ports.refusals == []


@pytest.mark.parametrize(
    ("action", "write", "told"),
    [
        (Hold("t-old"), "hold", "t-old"),
        (PauseFailed("t-new"), "pause_failed", "t-new"),
        (MarkFailed("t-new"), "annotate_failed", "t-new"),
        (MarkLeft("why"), "annotate_left", "why"),
        (ScaleTarget(4), "scale_target", 4),
        (RESTORE, "restore_template", RESTORE),
        (STEP, "advance_green", STEP),
        (ScaleGreen(4), "scale_green", 4),
        (RETRY, "retry_pull", RETRY),
        (DeletePreview("preview"), "delete_preview", "preview"),
    ],
)
async def test_all_else_is_done_on_what_was_decided_on(action: ReleaseAction, write: str, told: Any) -> None:
    before = seen()

    found = await run(action, before)

    ((name, args),) = found.calls
    assert (name, args[-1]) == (write, told)
    observed = before[1]
    assert observed.pods is not None
    assert args[0] in (observed.workload, observed.pods.green, "shop")


async def test_the_target_is_resumed_as_it_is_now() -> None:
    before = seen(None, pin=HASHES[OLD])
    assert before[1].workload is not None
    newer = replace(before[1], workload=replace(before[1].workload, resource_version="99"))

    found = await run(Resume(), before, fresh=newer)

    assert found.calls[1][1][0].resource_version == "99"


@pytest.mark.parametrize("action", [STEP, ScaleGreen(3), RETRY, DeleteGreen()])
async def test_without_green_nothing_is_written_to_it(action: ReleaseAction) -> None:
    with pytest.raises(Conflict, match="the second Deployment is gone"):
        await run(action, seen(None))


@pytest.mark.parametrize("action", [Hold("t-old"), STEP, SIGNAL, CREATE])
async def test_without_a_target_nothing_is_done(action: ReleaseAction) -> None:
    resource, observed = seen()

    with pytest.raises(Conflict, match="the target is gone"):
        await run(action, (resource, replace(observed, workload=None)))


async def test_a_pin_that_is_there_is_not_written_again() -> None:
    assert [name for name, _ in (await run(TO_GREEN, seen(WARM))).calls] == ["observe"]


async def test_a_service_that_is_gone_is_a_conflict() -> None:
    with pytest.raises(Conflict, match="Service unheard-of is gone"):
        await run(Route("unheard-of", GREEN_HASH))


async def test_the_preview_is_like_the_service_that_clients_use() -> None:
    action = PutPreview("preview", GREEN_HASH)
    resource, observed = seen()

    found = await run(action, (resource, observed))
    without = await run(action, (resource, replace(observed, services=())))

    assert found.calls == [("put_preview", (observed.workload, action, observed.services[0]))]
    assert without.calls == []


@pytest.mark.parametrize(
    ("error", "known_as"),
    [(Refused("quota"), CandidateRefused), (Conflict("exists"), Conflict), (Unavailable("no"), Unavailable)],
)
async def test_a_refusal_to_make_green_is_known_again(error: PortError, known_as: type[PortError]) -> None:
    with pytest.raises(PortError) as raised:
        await run(CREATE, PINNED, fails={"create_green": error})

    assert (type(raised.value), str(raised.value)) == (known_as, str(error))


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (SIGNAL, "pod a"),
        (TakeBackSignal(POD, None), "pod a"),
        (TO_GREEN, "service checkout -> h-green"),
        (Route("checkout", ""), "service checkout -> all"),
        (PutPreview("preview", "h"), "service preview"),
        (DeletePreview("preview"), "service preview"),
        (STEP, "green -> Warm (green)"),
        (ScaleGreen(3), "green: 3 replicas"),
        (CREATE, "green: 2 replicas"),
        (MarkFailed("t-new"), "template t-new"),
        (MarkFailed(""), "template none"),
        (Hold("t-old"), "target"),
        (Resume(), "target"),
    ],
)
def test_the_log_says_what_an_action_is_about(action: ReleaseAction, words: str) -> None:
    assert describe(action) == words


HPA = Autoscaler("hpa", 1, runs_up=True)


async def test_a_refused_limit_of_an_autoscaler_delays_no_release() -> None:
    refused = {"limit_autoscaler": Refused("no right")}

    ports = await run(LimitAutoscaler(HPA, limited=True), fails=refused)

    assert [name for name, _ in ports.calls] == ["limit_autoscaler"]


async def test_a_limit_that_cannot_be_taken_back_is_reported() -> None:
    with pytest.raises(Refused):
        await run(LimitAutoscaler(HPA, limited=False), fails={"limit_autoscaler": Refused("no right")})
