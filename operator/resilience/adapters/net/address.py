"""The addresses that the operator may connect to. Anyone who may write the resource chooses the address of a check.

A host is resolved once, here, and the caller connects to the resulting addresses, never to the name again: a name that
resolves differently the second time (DNS rebinding) gains nothing. This module must not connect anywhere.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from resilience.adapters.net.address_rules import AddressRules, IPAddress, IPNetwork, literal
from resilience.adapters.net.failures import NetworkFailure
from resilience.adapters.net.resolver import NO_SUCH_NAME, SystemResolver
from resilience.ports import Refused

Resolve = Callable[[str], Awaitable[Sequence[str]]]

# Characters that cannot end a URL's host early, which would make it another host than the one that was resolved.
_HOST: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
# Seconds for which an answer may stand in for a name service that fails.
STALE: Final = 30.0
# Names and numbers that mean this host, or a metadata service, to whoever resolves them.
_SPECIAL: Final = re.compile(r"(?i)(.*\.)?(localhost|metadata\.google\.internal|metadata\.goog|0x[0-9a-f]*|[0-9]+)\.?")
_KNOWN_NAMES: Final = 4096


@dataclass(frozen=True, slots=True)
class Address:
    """A permitted address to connect to."""

    ip: str
    port: int
    family: socket.AddressFamily

    @property
    def sockaddr(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """The address as the socket module takes it."""
        return (self.ip, self.port, 0, 0) if self.family is socket.AF_INET6 else (self.ip, self.port)

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if self.family is socket.AF_INET6 else f"{self.ip}:{self.port}"


class AddressGuard:
    """Resolves hosts and returns the addresses that its rules permit."""

    def __init__(
        self,
        *,
        api_server: Sequence[IPAddress] = (),
        refused: Sequence[IPNetwork] = (),
        allowed: Sequence[IPNetwork] = (),
        resolve: Resolve | None = None,
    ) -> None:
        self.rules = AddressRules(frozenset(api_server), tuple(refused), tuple(allowed))
        self._resolve = SystemResolver() if resolve is None else resolve
        # Loop time of the last answer, and the answer; in that order.
        self._answers: dict[str, tuple[float, list[IPAddress]]] = {}

    async def addresses(self, host: str, port: int, *, timeout: timedelta, stale: bool = False) -> tuple[Address, ...]:
        """The addresses of `host` that may be connected to, in the order to try them; at least one.

        `stale`: while the name service fails, an answer of the last half minute will do. Not for a connection that
        carries credentials: the address may be somebody else's by now.

        Raises:
            Refused: none of them is permitted, or host or port cannot be an address.
            NetworkFailure: the name does not exist, or (`own`) the name service did not answer within `timeout`.
        """
        if not 0 < port < 65536:
            raise Refused(f"{port} is not a port number")
        try:
            candidates = await self.resolve(host, timeout=timeout)
        except NetworkFailure as failure:
            candidates = self._recent(host) if stale and failure.own else []
            if not candidates:
                raise
        refusals = {ip: self.rules.refusal(ip) for ip in candidates}
        permitted = [ip for ip, refusal in refusals.items() if refusal is None]
        if not permitted:
            raise _refused(host, refusals)
        return tuple(
            Address(ip=str(ip), port=port, family=socket.AF_INET if ip.version == 4 else socket.AF_INET6)
            for ip in permitted
        )

    async def behind_proxy(self, host: str, *, timeout: timedelta) -> list[IPAddress]:
        """All addresses of a host that a proxy is about to be asked for; empty when the name service tells none.

        Raises:
            Refused: one of them is not permitted (a proxy may choose any), or `host` is not a host name.
        """
        if literal(host) is None and _SPECIAL.fullmatch(host):
            raise Refused(f"the operator does not ask a proxy for {host!r}")
        try:
            candidates = await self.resolve(host, timeout=timeout)
        except NetworkFailure:
            return []
        for ip in candidates:
            if (refusal := self.rules.refusal(ip)) is not None:
                raise _refused(host, {ip: refusal})
        return candidates

    async def resolve(self, host: str, *, timeout: timedelta) -> list[IPAddress]:
        """All addresses of `host`, at least one, including refused ones: for counting, not for connecting.

        Raises:
            Refused: `host` is not a host name.
            NetworkFailure: the name does not exist, or (`own`) the name service did not answer within `timeout`.
        """
        written = literal(host)
        if written is not None:
            return [written]
        if not _HOST.fullmatch(host):
            raise Refused(f"{host!r} is not a host name")
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                texts = await self._resolve(host)
        except TimeoutError as error:
            raise NetworkFailure(
                f"the name service did not answer for {host!r} in time", reason="NameServiceFailed", own=True
            ) from error
        except socket.gaierror as error:
            if error.errno in NO_SUCH_NAME:
                raise NetworkFailure(f"the name {host!r} does not exist", reason="NameNotFound") from error
            raise NetworkFailure(
                f"the name service could not resolve {host!r}", reason="NameServiceFailed", own=True
            ) from error
        except OSError as error:
            raise NetworkFailure(
                "the operator could not query the name service", reason="NameServiceFailed", own=True
            ) from error
        except UnicodeError as error:
            raise Refused(f"{host!r} is not a host name") from error
        addresses = [address for address in map(literal, texts) if address is not None]
        if not addresses:
            raise NetworkFailure(f"the name {host!r} has no address", reason="NameNotFound")
        self._remember(host, addresses)
        return addresses

    def _remember(self, host: str, addresses: list[IPAddress]) -> None:
        self._answers.pop(host, None)
        self._answers[host] = asyncio.get_running_loop().time(), addresses
        if len(self._answers) > _KNOWN_NAMES:
            del self._answers[next(iter(self._answers))]

    def _recent(self, host: str) -> list[IPAddress]:
        """The last answer, unless it is too old; it is judged anew."""
        at, addresses = self._answers.get(host, (0.0, []))
        return addresses if asyncio.get_running_loop().time() - at <= STALE else []


def _refused(host: str, refusals: Mapping[IPAddress, str | None]) -> Refused:
    what = "; ".join(f"{ip} is {refusal}" for ip, refusal in list(refusals.items())[:3])
    return Refused(
        f"the operator does not speak to {host!r}: {what}; its settings can allow the network if that is wanted"
    )
