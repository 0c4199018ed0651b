"""Delivers one message with Apprise: the program of a process that lives no longer than that.

Apprise unpacks and reads answers of any length, its plugins block, and an address may have them do nearly anything. A
process can be limited and ended, which a thread cannot. This module is loaded anew for every message, so it must not
import the operator's models.
"""

import json
import mimetypes
import os
import pickle
import resource
import signal
import sys
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from resilience.adapters.net.address_rules import AddressRules
from resilience.adapters.receivers.confinement import confine

# Seconds until the library is loaded: a second of CPU, of which a busy machine gives little. No tenant prolongs it.
STARTING: Final = 120
# Bytes beyond what the loaded library takes itself. An answer of a few MiB, unpacked and copied, fits in.
_ROOM: Final = 32 * 1024 * 1024
_POLITE: Final = 10
_NOT_AN_ADDRESS: Final = "the Secret holds no address that Apprise reads: https://github.com/caronc/apprise/wiki"
_TOO_LONG: Final = f"the answer takes more than {_ROOM // 1024 // 1024} MiB"


@dataclass(frozen=True, slots=True)
class Order:
    """One message, and what its delivery may do. `kind` is a word of Apprise."""

    rules: AddressRules
    url: str = field(repr=False)
    title: str
    body: str
    kind: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """No `trouble` means delivered."""

    trouble: str = ""
    permanent: bool = False


def main() -> None:
    """Reads an Order (pickled) from standard input, and writes the Outcome (JSON) to standard output.

    The process ends itself when its time is over, even if nobody is left to wait for it.
    """
    signal.alarm(STARTING)
    os.nice(_POLITE)
    order: Order = pickle.load(sys.stdin.buffer)
    with redirect_stdout(sys.stderr):
        outcome = _delivered(order)
    sys.stdout.write(json.dumps([outcome.trouble, outcome.permanent]))


def _delivered(order: Order) -> Outcome:
    import apprise

    # Reads in every plugin and the system's types of files, so that no more is read once the address counts.
    apprise.Apprise.instantiate("json://localhost")
    mimetypes.init()
    signal.setitimer(signal.ITIMER_REAL, order.seconds)
    _limit_memory()
    refusals = confine(order.rules)
    asset = apprise.AppriseAsset(http_redirects=False, async_mode=False, secure_logging=True)
    plugin = apprise.Apprise.instantiate(order.url, asset=asset, suppress_exceptions=True)
    if plugin is None and not refusals:
        return Outcome(_NOT_AN_ADDRESS, permanent=True)
    is_delivered = False
    if plugin is not None:
        # The address may contain the opposite of these settings.
        plugin.redirects, plugin.verify_certificate = False, True
        plugin.socket_connect_timeout = plugin.socket_read_timeout = order.seconds
        try:
            # Not every plugin expects a file or a connection to be refused.
            with suppress(PermissionError):
                is_delivered = plugin.notify(
                    title=order.title, body=order.body, notify_type=order.kind, body_format="text"
                )
        except MemoryError:
            return Outcome(_TOO_LONG)
    if refusals:
        words = f"the address leads to what the operator keeps from receivers: {refusals[0]}"
        return Outcome(f"{words}; the operator's settings can allow a network", permanent=True)
    return Outcome() if is_delivered else Outcome(f"Apprise could not deliver to {urlsplit(order.url).scheme}://")


def _limit_memory() -> None:
    """Allows some more data than there is now: what the library itself takes differs between machines."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    limit = pages * resource.getpagesize() + _ROOM
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
