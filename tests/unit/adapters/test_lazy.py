"""A library that is loaded on first use holds up nobody but those who need it, and is loaded once."""

import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from resilience.adapters.lazy import Lazy

ASKING = 20
# Seconds after which a load gives up, so that one that holds up the event loop fails instead of hanging.
PATIENCE = 5


@dataclass
class Library:
    """A library whose import goes on until it is allowed to end."""

    end: threading.Event = field(default_factory=threading.Event)
    begun: int = 0
    # Errors of the next imports.
    errors: list[Exception] = field(default_factory=list)

    def load(self) -> object:
        self.begun += 1
        assert self.end.wait(PATIENCE), "the event loop stands still meanwhile"
        if self.errors:
            raise self.errors.pop()
        return object()


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_event_loop_goes_on_while_a_library_is_loaded() -> None:
    library = Library()
    asked = asyncio.create_task(Lazy(library.load).get())
    # when
    await turns(100)
    # then
    assert not asked.done()
    library.end.set()
    assert await asked


async def test_it_is_loaded_once_however_many_ask() -> None:
    library = Library()
    lazy = Lazy(library.load)
    asked = [asyncio.create_task(lazy.get()) for _ in range(ASKING)]
    await turns(10)
    library.end.set()
    # when
    got = {id(each) for each in await asyncio.gather(*asked)}
    got.add(id(await lazy.get()))
    # then
    assert (library.begun, len(got)) == (1, 1)


async def test_one_that_gives_up_takes_it_from_nobody() -> None:
    library = Library()
    lazy = Lazy(library.load)
    impatient, patient = (asyncio.create_task(lazy.get()) for _ in range(2))
    await turns(10)
    # when
    impatient.cancel()
    await turns(10)
    library.end.set()
    # then
    assert await patient
    assert impatient.cancelled()
    assert library.begun == 1


async def test_what_cannot_be_loaded_is_tried_again_by_the_next() -> None:
    library = Library(errors=[ImportError("no memory")])
    library.end.set()
    lazy = Lazy(library.load)
    with pytest.raises(ImportError, match="no memory"):
        await lazy.get()
    assert not lazy.is_loaded
    # when, then
    assert await lazy.get()
    assert lazy.is_loaded
    assert library.begun == 2
