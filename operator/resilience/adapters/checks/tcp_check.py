"""The tcp check: opens a connection. It sends nothing and reads nothing."""

import asyncio
import socket
from datetime import timedelta

from resilience.adapters.net.address import Address, AddressGuard
from resilience.adapters.net.failures import NetworkFailure, from_os_error
from resilience.api.scalars import format_duration
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import TcpProbe


def describe(probe: TcpProbe) -> str:
    """The subject of the check, for messages."""
    return f"TCP port {probe.port}"


async def check_tcp(probe: TcpProbe, *, guard: AddressGuard, timeout: timedelta) -> CheckResult:
    """Passes when any of the host's addresses accepts a connection. Tries them one by one, as a client would.

    Raises:
        Refused: the address is not permitted.
        NetworkFailure: no address accepted within `timeout`, of which name resolution may take half.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout.total_seconds()
    addresses = await guard.addresses(probe.host, probe.port, timeout=timeout / 2, stale=True)
    began = loop.time()
    failure: NetworkFailure | None = None
    for left in range(len(addresses), 0, -1):
        try:
            # An address that drops packets silently must leave time for the next one.
            async with asyncio.timeout((deadline - loop.time()) / left):
                await _connect(addresses[-left])
        except TimeoutError:
            failure = NetworkFailure(f"no connection within {format_duration(timeout)}", reason="Timeout")
        except OSError as error:
            failure = from_os_error(error)
        else:
            seconds = loop.time() - began
            return CheckResult(Outcome.PASS, "Connected", f"{describe(probe)} accepts connections", seconds)
    assert failure is not None  # the guard returns at least one address
    raise failure


async def _connect(address: Address) -> None:
    with socket.socket(address.family, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (address.ip, address.port))
