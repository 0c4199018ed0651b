"""Threads in shares: who gets one, who waits, and what runs once."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from resilience.adapters.net import threads
from resilience.adapters.net.threads import SharedThreads
from resilience.ports.on_behalf import on_behalf_of
from tests.hostile.support import until


@dataclass(slots=True)
class Hanging:
    """Work that hangs until `over`; knows what began, in order."""

    began: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self, name: str) -> str:
        self.began.append(name)
        assert self.over.wait(60)
        return name


async def begins(hanging: Hanging, *names: str) -> None:
    """This work begins, and no other: a thread has its work an instant after it was made."""
    await until(lambda: len(hanging.began) >= len(names), seconds=5)
    assert sorted(hanging.began) == sorted(names)


@asynccontextmanager
async def waiting(
    made: SharedThreads, hanging: Hanging, *names: str, by: str
) -> AsyncIterator[list["asyncio.Task[str]"]]:
    """A namespace waits for this work. At the end it is let go, and has ended."""
    with on_behalf_of({by}):
        tasks = [asyncio.create_task(made.run(name, lambda name=name: hanging.run(name))) for name in names]  # type: ignore[misc]
    await asyncio.sleep(0)
    try:
        yield tasks
    finally:
        hanging.over.set()
        await asyncio.wait(tasks)


async def prompt(made: SharedThreads, name: str, *, by: str) -> str:
    """The result of work that takes no time, or `no thread`."""
    with on_behalf_of({by}):
        try:
            async with asyncio.timeout(5):
                return str(await made.run(name, lambda: name))
        except TimeoutError:
            return "no thread"


async def no_room(made: SharedThreads, name: str, *, by: str) -> bool:
    """The work of a namespace has to wait."""
    with on_behalf_of({by}):
        task = asyncio.create_task(made.run(name, lambda: name))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


async def test_a_namespace_has_its_share_and_no_more() -> None:
    made, hanging = SharedThreads("test", total=4, share=2), Hanging()
    async with waiting(made, hanging, "a", "b", "c", "d", by="evil") as tasks:
        assert await prompt(made, "x", by="shop") == "x"
        await begins(hanging, "a", "b")
        hanging.over.set()
        assert await asyncio.gather(*tasks) == ["a", "b", "c", "d"]
    await begins(hanging, "a", "b", "c", "d")


async def test_all_threads_are_a_limit_too() -> None:
    made, hanging = SharedThreads("test", total=2, share=2), Hanging()
    async with waiting(made, hanging, "a", "b", by="one"):
        assert await no_room(made, "x", by="shop")
    assert await prompt(made, "x", by="shop") == "x"


async def test_equal_work_runs_once_for_everybody() -> None:
    made, hanging = SharedThreads("test", total=4, share=2), Hanging()
    async with waiting(made, hanging, "a", "a", by="one") as ours, waiting(made, hanging, "a", by="two") as theirs:
        ours[0].cancel()
        hanging.over.set()
        assert await asyncio.gather(ours[1], *theirs) == ["a", "a"]
    await begins(hanging, "a")


async def test_whoever_joins_brings_a_share_along() -> None:
    """Or somebody could hold up a neighbour's work by wanting the same and having no room for it."""
    made, hanging = SharedThreads("test", total=4, share=1), Hanging()
    async with waiting(made, hanging, "a", "wanted", by="evil"):
        await begins(hanging, "a")
        async with waiting(made, hanging, "wanted", by="shop"):
            await begins(hanging, "a", "wanted")


async def test_work_that_nobody_waits_for_never_begins() -> None:
    made, hanging = SharedThreads("test", total=4, share=1), Hanging()
    async with waiting(made, hanging, "a", "b", "c", by="evil") as tasks:
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        hanging.over.set()
        await tasks[2]
    await begins(hanging, "a", "c")


async def test_an_error_reaches_everybody_and_is_no_result() -> None:
    made = SharedThreads("test", total=1, share=1)

    def fails() -> None:
        raise OSError("it broke")

    for outcome in await asyncio.gather(made.run("a", fails), made.run("a", fails), return_exceptions=True):
        assert isinstance(outcome, OSError)
    assert await prompt(made, "a", by="shop") == "a"


async def test_what_was_slow_leaves_half_to_what_was_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that a black-holed name service does not answer are many, and of many namespaces."""
    made, first, again = SharedThreads("test", total=4, share=2), Hanging(), Hanging()
    async with waiting(made, first, "a", "b", by="one"), waiting(made, first, "c", "d", by="two"):
        await begins(first, "a", "b", "c", "d")
        monkeypatch.setattr(threads, "_PROMPT", 0.0)
    monkeypatch.setattr(threads, "_PROMPT", 60.0)
    async with waiting(made, again, "a", "b", by="one"), waiting(made, again, "c", "d", by="two"):
        # One of each namespace: its own other half is for what answers, too.
        await begins(again, "a", "c")
        assert await prompt(made, "x", by="one") == "x"
        assert await prompt(made, "y", by="shop") == "y"


async def test_what_has_become_quick_is_slow_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    made, hanging = SharedThreads("test", total=2, share=2), Hanging()
    async with waiting(made, hanging, "a", "b", by="one"):
        monkeypatch.setattr(threads, "_PROMPT", 0.0)
    monkeypatch.setattr(threads, "_PROMPT", 60.0)
    assert [await prompt(made, name, by="one") for name in "ab"] == ["a", "b"]
    again = Hanging()
    async with waiting(made, again, "a", "b", by="one"):
        await begins(again, "a", "b")


async def test_a_thread_that_cannot_be_started_fails_its_work_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = SharedThreads("test", total=2, share=2)

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with on_behalf_of({"shop"}), pytest.raises(OSError, match="no thread"):
        await made.run("a", lambda: 1)
    monkeypatch.undo()
    with on_behalf_of({"shop"}):
        assert await made.run("a", lambda: 1) == 1
