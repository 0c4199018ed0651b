"""The dns check: counts the addresses that the operator's name service has for a name. It connects to none."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Protocol

from resilience.adapters.net.address_rules import IPAddress
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import DnsProbe

# The subject of messages; the results name the host.
DESCRIPTION: Final = "DNS"


class GuardResolve(Protocol):
    """The signature of AddressGuard.resolve."""

    async def __call__(self, host: str, *, timeout: timedelta) -> Sequence[IPAddress]:
        """All addresses of the host, at least one."""
        ...


async def check_dns(probe: DnsProbe, *, guard_resolve: GuardResolve, timeout: timedelta) -> CheckResult:
    """Passes when the name has at least `min_addresses` different addresses, IPv4 and IPv6 together.

    A name that is an IP address counts as its own address.

    Raises:
        Refused: the name is not a host name.
        NetworkFailure: the name does not exist, or (`own`) the name service did not answer within `timeout`.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    count = len(set(await guard_resolve(probe.name, timeout=timeout)))
    seconds = loop.time() - began
    words = f"{probe.name} has {count} address{'' if count == 1 else 'es'}"
    if count < probe.min_addresses:
        return CheckResult(Outcome.FAIL, "TooFewAddresses", f"{words}, fewer than {probe.min_addresses}", seconds)
    return CheckResult(Outcome.PASS, "Resolved", words, seconds)
