"""Confines this process for the rest of its life: where it may connect to, which files it may read, and no programs.

An address in a Secret may name a second server, a host name that resolves to another machine the next time, or a file
of ours to send along. Python reports each connection, file and program beforehand (PEP 578), so it does not matter how
a library comes to it.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from resilience.adapters.net.address_rules import AddressRules, literal

_CONNECTIONS: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_PROGRAMS: Final = frozenset(
    {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn"}
)
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC


def confine(rules: AddressRules) -> list[str]:
    """Returns the list that refusals are put into, as texts. What is refused fails as if the system forbade it."""
    refusals: list[str] = []
    # Python reads its modules in when they are needed first.
    readable = [os.path.realpath(place) for place in (sys.prefix, sys.base_prefix, "/usr/share/zoneinfo")]

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CONNECTIONS:
            refusal = _of_connection(rules, arguments[1])
        elif event == "open":
            refusal = _of_file(arguments[0], arguments[2], readable)
        else:
            refusal = "a program of the operator's own machine" if event in _PROGRAMS else None
        if refusal is not None:
            refusals.append(refusal)
            raise PermissionError(f"refused: {refusal}")

    sys.addaudithook(audit)
    return refusals


def _of_connection(rules: AddressRules, address: object) -> str | None:
    if address is None:
        # The socket is connected: that was looked at.
        return None
    # A path names a socket of this machine.
    host = str(address[0]) if isinstance(address, tuple) else ""
    if not host:
        return "a socket of the operator's own machine"
    ip = literal(host)
    words = "not an IP address" if ip is None else rules.refusal(ip)
    return words and f"{host} is {words}"


def _of_file(path: object, flags: object, readable: Sequence[str]) -> str | None:
    if not isinstance(path, str | bytes | os.PathLike):
        # It is open already.
        return None
    place = os.path.realpath(os.fsdecode(path))
    is_read = isinstance(flags, int) and not flags & _WRITES
    if place == os.devnull or (is_read and any(place.startswith(f"{root}/") for root in readable)):
        return None
    return "a file of the operator's own machine"
