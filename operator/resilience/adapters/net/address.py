"""The addresses that the operator may connect to. Anyone who may write the resource chooses the address of a check.

A host is resolved once, here, and the caller connects to the resulting addresses, never to the name again: a name that
resolves differently the second time (DNS rebinding) gains nothing. This module must not connect anywhere.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from resilience.adapters.net.failures import NetworkFailure
from resilience.adapters.net.resolver import SystemResolver
from resilience.ports import Refused

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
Resolve = Callable[[str], Awaitable[Sequence[str]]]

# Instance metadata and credentials that clouds serve outside 169.254.0.0/16: EC2 (IPv6), Alibaba, Oracle, Azure.
_METADATA: Final = frozenset(map(ip_address, ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")))
# Characters that cannot end a URL's host early, which would make it another host than the one that was resolved.
_HOST: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
# Answers of the name service about the name itself; every other error is a failure of the name service.
_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
# Seconds for which an answer may stand in for a name service that fails.
STALE: Final = 30.0
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
    """Resolves hosts and returns the permitted addresses.

    Always refused: loopback, link-local, multicast, unspecified and broadcast addresses, cloud metadata services,
    and those of `api_server` and `refused`. A network in `allowed` overrides all of these.
    """

    def __init__(
        self,
        *,
        api_server: Sequence[IPAddress] = (),
        refused: Sequence[IPNetwork] = (),
        allowed: Sequence[IPNetwork] = (),
        resolve: Resolve | None = None,
    ) -> None:
        self._api_server = frozenset(api_server)
        self._refused = tuple(refused)
        self._allowed = tuple(allowed)
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
        refusals = {ip: self._refusal(ip) for ip in candidates}
        permitted = [ip for ip, refusal in refusals.items() if refusal is None]
        if not permitted:
            what = "; ".join(f"{ip} is {refusal}" for ip, refusal in list(refusals.items())[:3])
            raise Refused(
                f"the operator does not speak to {host!r}: {what}; its settings can allow the network if that is wanted"
            )
        return tuple(
            Address(ip=str(ip), port=port, family=socket.AF_INET if ip.version == 4 else socket.AF_INET6)
            for ip in permitted
        )

    async def resolve(self, host: str, *, timeout: timedelta) -> list[IPAddress]:
        """All addresses of `host`, at least one, including refused ones: for counting, not for connecting.

        Raises:
            Refused: `host` is not a host name.
            NetworkFailure: the name does not exist, or (`own`) the name service did not answer within `timeout`.
        """
        literal = _literal(host)
        if literal is not None:
            return [literal]
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
            if error.errno in _NO_SUCH_NAME:
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
        addresses = [address for address in map(_literal, texts) if address is not None]
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

    def refusal(self, literal: str) -> str | None:
        """The reason why an IP address is refused, in words; None when it is permitted."""
        ip = _literal(literal)
        return "not an IP address" if ip is None else self._refusal(ip)

    def _refusal(self, ip: IPAddress) -> str | None:
        """The reason why the address is refused, in words; None when it is permitted."""
        if _within(ip, self._allowed):
            return None
        if ip in self._api_server:
            return "the API server"
        if ip in _METADATA:
            return "a cloud metadata service"
        if _within(ip, self._refused):
            return "in a network that the operator's settings refuse"
        inner = _embedded(ip)
        return _special(ip) if inner is None else self._refusal(inner)


def _special(ip: IPAddress) -> str | None:
    if ip.is_loopback:
        return "a loopback address"
    if ip.is_link_local:
        return "a link-local address"
    if ip.is_multicast:
        return "a multicast address"
    if ip.is_unspecified or (ip.version == 4 and ip in _THIS_NETWORK):
        return "an unspecified address"
    # 240.0.0.0/4 holds the broadcast address. In IPv6, reserved means not yet assigned, which is harmless.
    if ip.version == 4 and ip.is_reserved:
        return "a reserved address"
    return None


@lru_cache(maxsize=4096)
def _literal(text: str) -> IPAddress | None:
    # Without the scope: with it, the address would not equal the same address among the refused ones.
    try:
        return ip_address(text.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None


def _within(ip: IPAddress, networks: Sequence[IPNetwork]) -> bool:
    return any(ip in network for network in networks)


def _embedded(ip: IPAddress) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for or leads to through a gateway; None when there is none."""
    if ip.version == 4:
        return None
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour
