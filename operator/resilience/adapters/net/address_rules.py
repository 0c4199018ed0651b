"""Rules that say which IP addresses the operator may connect to. Pure, and without imports that take time to load."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

# Instance metadata and credentials that clouds serve outside 169.254.0.0/16: EC2 (IPv6), Alibaba, Oracle, Azure.
_METADATA: Final = frozenset(map(ip_address, ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")))
_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
# IPv4 in the last 32 bits: translated by NAT64 (RFC 6052, RFC 8215) or SIIT (RFC 7915), and the oldest form (RFC 4291).
_IN_THE_END: Final = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")))
# ISATAP (RFC 5214): in any network, IPv4 after one of these two words of 32 bits.
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})


@dataclass(frozen=True, slots=True)
class AddressRules:
    """Always refused: loopback, link-local, multicast, unspecified and reserved addresses, cloud metadata services.

    Refused besides: those of `api_server` and `refused`. A network in `allowed` overrides all of these.
    """

    api_server: frozenset[IPAddress] = frozenset()
    refused: tuple[IPNetwork, ...] = ()
    allowed: tuple[IPNetwork, ...] = ()

    def refusal(self, ip: IPAddress) -> str | None:
        """The reason why the address is refused, in words; None when it is permitted."""
        if _within(ip, self.allowed):
            return None
        if ip in self.api_server:
            return "the API server"
        if ip in _METADATA:
            return "a cloud metadata service"
        if _within(ip, self.refused):
            return "in a network that the operator's settings refuse"
        if ip.version == 6 and ip.ipv4_mapped is not None:
            # Another spelling of the same address.
            return self.refusal(ip.ipv4_mapped)
        return _special(ip) or next(filter(None, map(self.refusal, _embedded(ip))), None)


@lru_cache(maxsize=4096)
def literal(text: str) -> IPAddress | None:
    """The IP address that a text is, with or without brackets; None when it is none."""
    # Without the scope: with it, the address would not equal the same address among the refused ones.
    try:
        return ip_address(text.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None


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


def _within(ip: IPAddress, networks: Sequence[IPNetwork]) -> bool:
    return any(ip in network for network in networks)


def _embedded(ip: IPAddress) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to through a gateway or a tunnel."""
    if ip.version == 4:
        return
    if _within(ip, _IN_THE_END) or int(ip) >> 32 & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(int(ip) & 0xFFFFFFFF)
    yield from filter(None, (ip.sixtofour, *(ip.teredo or ())))
