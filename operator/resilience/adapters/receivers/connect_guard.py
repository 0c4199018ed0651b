"""Guards libraries that open connections by themselves: every address is checked at the moment of the connection.

An address in a Secret may name a second server, or a host name that resolves to another machine the next time. Python
reports the address before every connection (PEP 578), so the guard does not depend on how a library connects.
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
    """Checks all connections of this thread while the context is open; yields the refusals, as texts.

    A refused connection fails as if a packet filter blocked it.
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
    """Installs the hook, once for the process: an audit hook cannot be removed."""
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("socket.connect", "socket.sendto"):
        return
    guard: AddressGuard | None = getattr(_HERE, "guard", None)
    if guard is None:
        return
    address = arguments[1]
    # A path names a socket of this machine.
    host = address[0] if isinstance(address, tuple) else ""
    refusal = guard.refusal(str(host)) if host else "a socket of the operator's own machine"
    if refusal is not None:
        _HERE.refusals.append(f"{host or address!r} is {refusal}")
        raise PermissionError(f"the operator does not speak to {host!r}: {refusal}")
