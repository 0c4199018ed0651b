"""Connections to the addresses of one server."""

import socket
from collections.abc import Sequence
from typing import Final

from aiohappyeyeballs import start_connection

from resilience.adapters.net.address import Address

# Seconds until the next address of a name is tried in parallel with the previous one (RFC 8305).
_NEXT_ADDRESS: Final = 0.25


async def connect(addresses: Sequence[Address]) -> socket.socket:
    """Connects to the first address that accepts. Set a time-out.

    Raises:
        OSError: none does.
    """
    infos = [(address.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address.sockaddr) for address in addresses]
    return await start_connection(infos, happy_eyeballs_delay=_NEXT_ADDRESS)
