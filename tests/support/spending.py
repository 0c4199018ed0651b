"""Adds up the time that a test spends by kind, so that the table of durations shows where time can be saved.

Must not change what a test does. Only the test's own thread counts.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

_spent: dict[str, float] = {}
_open: list[str] = []


class Spending(StrEnum):
    """A test starts services, waits for a condition, waits for a clock, or runs a command."""

    STARTING = "starting"
    CONDITION = "condition"
    CLOCK = "clock"
    COMMANDS = "commands"


@contextmanager
def spending(what: Spending) -> Iterator[None]:
    """Counts the time inside; within another `spending`, the outer one counts it."""
    if _open or threading.current_thread() is not threading.main_thread():
        yield
        return
    _open.append(what)
    began = time.monotonic()
    try:
        yield
    finally:
        _open.clear()
        _spent[what] = _spent.get(what, 0.0) + time.monotonic() - began


def pause(seconds: float) -> None:
    """Sleeps: the only wait that no condition can end early."""
    with spending(Spending.CLOCK):
        time.sleep(seconds)


def take() -> dict[str, float]:
    """Seconds by kind since the last call."""
    taken = {str(what): round(seconds, 2) for what, seconds in _spent.items()}
    _spent.clear()
    return taken
