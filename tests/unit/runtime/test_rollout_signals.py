"""Drain signals of a release: sent, noted, taken back, and what goes with them."""

from dataclasses import replace
from typing import Any

import pytest

from resilience.core.model.actions import ReleaseAction, SignalPod, TakeBackSignal
from resilience.core.model.probes import HttpTarget
from resilience.ports import Conflict, Invalid, PortError, Refused, Unavailable
from tests.support.factories import NOW, make_pod
from tests.support.release_ports import run

POD = make_pod("a")
ADDRESS = HttpTarget("10.0.0.1", 8080, "/drain")
SIGNAL, LAST = SignalPod(POD, ADDRESS, NOW), SignalPod(POD, ADDRESS, NOW, last=True)


@pytest.mark.parametrize(
    ("action", "calls"),
    [
        (SIGNAL, [("signal", ()), ("note_signal", (POD, "shop", NOW))]),
        (TakeBackSignal(POD, ADDRESS), [("take_back", ()), ("note_signal", (POD, "shop", None))]),
        # It takes no signal any more: only the note goes.
        (TakeBackSignal(POD, None), [("note_signal", (POD, "shop", None))]),
    ],
)
async def test_a_signal_is_sent_and_then_noted(action: ReleaseAction, calls: Any) -> None:
    assert (await run(action)).calls == calls


@pytest.mark.parametrize("error", [Unavailable("no"), Refused("405")])
async def test_a_signal_that_is_not_taken_is_noted_only_at_the_end(error: PortError) -> None:
    fails = {"signal": error, "take_back": error}

    with pytest.raises(type(error)):
        await run(SIGNAL, fails=fails)
    last = await run(LAST, fails=fails)
    back = await run(TakeBackSignal(POD, ADDRESS), fails=fails)

    assert last.calls[1:] == [("note_signal", (POD, "shop", NOW))]
    # Whoever does not answer serves again all the same.
    assert back.calls[1:] == [("note_signal", (POD, "shop", None))]


@pytest.mark.parametrize("action", [LAST, TakeBackSignal(POD, ADDRESS)])
async def test_a_note_on_a_pod_that_changed_is_a_conflict(action: ReleaseAction) -> None:
    with pytest.raises(Conflict):
        await run(action, fails={"note_signal": Conflict("changed")})


@pytest.mark.parametrize(
    ("secret", "headers"),
    [
        ("", ()),
        ("Authorization: Bearer a:b", (("Authorization", "Bearer a:b"),)),
        ("A: 1\nB:2", (("A", "1"), ("B", "2"))),
    ],
)
async def test_headers_come_from_the_secret(secret: str, headers: Any) -> None:
    target = replace(ADDRESS, secret=("drain", "headers"))

    found = await run(SignalPod(POD, target, NOW), secret=secret)

    assert found.calls[0] == ("signal", headers)


@pytest.mark.parametrize("secret", ["no colon", ": nothing"])
async def test_headers_that_are_none_are_not_sent(secret: str) -> None:
    target = replace(ADDRESS, secret=("drain", "headers"))

    with pytest.raises(Invalid):
        await run(SignalPod(POD, target, NOW), secret=secret)
