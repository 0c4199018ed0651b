"""Libraries that open connections by themselves: what they connect to is looked at in the moment they do.

An address in a Secret may name a second server, or a name that means another machine the next time it is asked. Python
says before each connection where it goes (PEP 578), so nothing has to be known of how a library gets there.
"""

import functools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from resilience.adapters.net.address import AddressGuard

_HERE: Final = threading.local()


@contextmanager
def guarded(guard: AddressGuard) -> Iterator[list[str]]:
    """What this thread connects to meanwhile has to be permitted; yields what was refused, in words.

    A refused connection fails as if a packet filter stood in its way.
    """
    _install()
    refusals: list[str] = []
    _HERE.guard, _HERE.refusals = guard, refusals
    try:
        yield refusals
    finally:
        del _HERE.guard, _HERE.refusals


@functools.cache
def _install() -> None:
    """Once for the process: such a hook cannot be taken away again."""
    sys.addaudithook(_look)


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("socket.connect", "socket.sendto"):
        return
    guard: AddressGuard | None = getattr(_HERE, "guard", None)
    if guard is None:
        return
    address = arguments[1]
    # A path is a socket of this machine.
    host = address[0] if isinstance(address, tuple) else ""
    refusal = guard.refusal(str(host)) if host else "a socket of the operator's own machine"
    if refusal is not None:
        _HERE.refusals.append(f"{host or address!r} is {refusal}")
        raise PermissionError(f"the operator does not speak to {host!r}: {refusal}")
