"""Releases many services and sees what that costs their controller."""

import asyncio
import time
from typing import Any, Final, Protocol

from kubernetes.aio import client

from benchmarks.burst import Burst, Figures
from benchmarks.fleet import Fleet
from benchmarks.watching import Diary, following

_PATIENCE: Final = 1800.0
# Of which the controllers make something in a release.
_MADE: Final = ("/apis/apps/v1/deployments", "/apis/apps/v1/replicasets")


class Controller(Protocol):
    """The controller that looks after the fleet."""

    def figures(self) -> Figures:
        """Now."""


async def released(
    api: client.ApiClient, fleet: Fleet, controller: Controller, count: int, *, version: str, pause: float
) -> Burst:
    """Changes the template of so many services, `pause` seconds apart, and waits until all are at rest."""
    before, diary = await fleet.ended(), Diary()

    def note_report(event: dict[str, Any]) -> None:
        report = event["object"]
        name, ended = report["metadata"]["name"], fleet.kind.ended(report)
        if ended and ended != before.get(name, ""):
            diary.note_ended(name)

    async with (
        following(api, _MADE[0], diary.note_made),
        following(api, _MADE[1], diary.note_made),
        following(api, fleet.kind.reports, note_report),
    ):
        first = await asyncio.to_thread(controller.figures)
        began = time.monotonic()
        for namespace, name in fleet.chosen(count):
            diary.changed[name] = time.monotonic()
            await fleet.release(namespace, name, version)
            await asyncio.sleep(pause)
        await diary.all_ended(seconds=_PATIENCE)
        seconds = max(diary.ended.values()) - began
        last = await asyncio.to_thread(controller.figures)
    return Burst(count, seconds, first, last, diary.first())
