"""The end of a leader, as in each upgrade: first its work, then the Lease, then the rest, which may take its time."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

from resilience import app
from resilience.parts import Parts


@dataclass(slots=True)
class Recorder:
    """Stands in for the parts that the end of the work concerns."""

    story: list[str] = field(default_factory=list)

    def parts(self) -> Parts:
        state = SimpleNamespace(traffic=_Traffic(self))
        return cast(Parts, SimpleNamespace(board=self, state=state, lease=self))

    def close(self) -> None:
        self.story.append("flags closed")

    async def give_up(self) -> None:
        self.story.append("lease handed over")


@dataclass(frozen=True, slots=True)
class _Traffic:
    recorder: Recorder

    async def close(self) -> None:
        self.recorder.story.append("requests stopped")


async def test_the_lease_is_handed_over_when_nothing_writes_any_more_and_before_the_watches_end() -> None:
    recorder = Recorder()

    async def writes() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        # What it was doing is cut off, and takes a moment to clean up.
        await asyncio.sleep(0.01)
        recorder.story.append("work ended")

    tasks = [asyncio.create_task(writes()) for _ in range(2)]
    await asyncio.sleep(0)

    await app.end_work(recorder.parts(), tasks)

    assert recorder.story == ["flags closed", "requests stopped", "work ended", "work ended", "lease handed over"]
