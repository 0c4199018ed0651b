"""Ports for servers that tests start: below those that the kernel uses for outgoing connections.

A server that is down for a while, or still starting, must not lose its port to a connection: PostgreSQL would listen on
the other addresses only, and report it in a log.
"""

import random
import socket
from contextlib import suppress
from typing import Final

_RANGE: Final = range(20_000, 32_000)


def server_port() -> int:
    """A port without a listener."""
    while True:
        port = random.choice(_RANGE)
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("", port))
            return port
