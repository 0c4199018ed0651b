"""HTTP proxies of the operator's settings: the requests that go through them, and the tunnel to a server behind one.

Whoever installs the operator sets the proxies, so their own addresses are not guarded. What a proxy is asked for is.
This module must not follow what the environment says of proxies, and must not judge the server's answer.
"""

import asyncio
import re
import socket
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_network
from typing import Final

from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.address_rules import IPAddress, IPNetwork, literal
from resilience.adapters.net.connecting import connect
from resilience.adapters.net.failures import NetworkFailure, from_os_error
from resilience.api.checks import Scheme
from resilience.api.http import ProxyUse
from resilience.core.model.probes import HttpTarget

# Networks in which clusters and machine rooms are: private, shared (RFC 6598) and those of one host or link.
_INSIDE: Final = tuple(
    map(
        ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    )
) + tuple(map(ip_network, ("fc00::/7", "fe80::/10", "::1/128")))
_EVERYWHERE: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_CLUSTER_NAME: Final = re.compile(r"[^.]*|.*\.svc(\..*)?|.*\.cluster\.local", re.I)
_WITH_PORT: Final = re.compile(r"(\[[^]]*\]|[^:]*):([0-9]{1,5})")
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r\n]")
# Bytes of a proxy's answer.
_HEAD_LIMIT: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy. `authorization` is the value of Proxy-Authorization; empty for none."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Headers that the proxy reads and does not pass on."""
        return [("Proxy-Authorization", self.authorization)] if self.authorization else []


class Proxies:
    """The proxies for http and https addresses, as URLs; empty for none. `credentials`: `user:password` for both.

    `bypass` has names (with their subdomains), addresses and CIDRs to connect to directly, each with a port or without;
    `*` is everything.

    Raises:
        ValueError: a URL is not the address of a proxy.
    """

    def __init__(self, *, http: str = "", https: str = "", bypass: Sequence[str] = (), credentials: str = "") -> None:
        authorization = f"Basic {b64encode(credentials.strip().encode()).decode()}" if credentials.strip() else ""
        self._proxies = {
            scheme: Proxy(target.host, target.port, authorization)
            for scheme, url in ((Scheme.HTTP, http), (Scheme.HTTPS, https))
            if url
            for target in (HttpTarget.at(url),)
        }
        self._bypass = [entry.strip().lower() for entry in bypass if entry.strip()]
        self._networks = tuple(network for entry in self._bypass if (network := _network(entry)) is not None)
        self._guard = AddressGuard(allowed=_EVERYWHERE)

    def candidate(self, target: HttpTarget, use: ProxyUse) -> Proxy | None:
        """The proxy for this target, as far as its name says; None to connect directly."""
        proxy = self._proxies.get(target.scheme)
        if proxy is None or use is ProxyUse.NEVER or self._is_bypassed(target.host, target.port):
            return None
        if use is ProxyUse.OUTSIDE and literal(target.host) is None and _CLUSTER_NAME.fullmatch(_plain(target.host)):
            return None
        return proxy

    def is_inside(self, address: IPAddress) -> bool:
        """The address is in the cluster, near it, or in a network that needs no proxy."""
        return any(address in network for network in (*_INSIDE, *self._networks))

    def _is_bypassed(self, host: str, port: int) -> bool:
        name, address = _plain(host), literal(host)
        if address is not None and any(address in network for network in self._networks):
            return True
        return any(_names(entry, name, port) for entry in self._bypass)

    async def connect(self, proxy: Proxy, *, timeout: timedelta) -> socket.socket:
        """A connection to the proxy.

        Raises:
            NetworkFailure: there is none; `own`, for it says nothing of the server.
        """
        where = f"the proxy {proxy.host}:{proxy.port}"
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                addresses = await self._guard.addresses(proxy.host, proxy.port, timeout=timeout)
                return await connect(addresses)
        except TimeoutError as error:
            raise NetworkFailure(f"{where} did not answer in time", reason="ProxyFailed", own=True) from error
        except OSError as error:
            raise NetworkFailure(f"{where}: {from_os_error(error)}", reason="ProxyFailed", own=True) from error
        except NetworkFailure as failure:
            raise NetworkFailure(f"{where}: {failure}", reason="ProxyFailed", own=True) from failure


async def open_tunnel(connection: socket.socket, proxy: Proxy, target: HttpTarget, *, user_agent: str) -> None:
    """Has the proxy connect to the target's host and port; the connection leads there afterwards. Set a time-out.

    Raises:
        NetworkFailure: the proxy refuses (`own`), or cannot reach the server.
        OSError: the connection broke.
    """
    host = _plain(target.host)
    where = f"[{host}]:{target.port}" if ":" in host else f"{host}:{target.port}"
    lines = [("Host", where), ("User-Agent", user_agent), *proxy.headers]
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, f"CONNECT {where} HTTP/1.1\r\n{head}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < _HEAD_LIMIT:
        part = await loop.sock_recv(connection, 4096)
        if not part:
            break
        answer += part
    status = _STATUS.match(answer)
    # A server of TLS waits for the client, so nothing may follow the head.
    if status is None or (status[1].startswith(b"2") and not answer.endswith(b"\r\n\r\n")):
        words = "what answered as the proxy is none: check the address in the operator's settings"
        raise NetworkFailure(words, reason="ProxyFailed", own=True)
    if not status[1].startswith(b"2"):
        raise refused(int(status[1]))


def refused(status: int) -> NetworkFailure:
    """The failure for a proxy that answered with this status, in place of the server."""
    if status >= 500:
        return NetworkFailure(f"the proxy cannot reach it: it answered {status}", reason="HostUnreachable")
    hint = "check its credentials in the operator's settings" if status == 407 else "its rules have to allow the host"
    return NetworkFailure(f"the proxy answered {status}: {hint}", reason="ProxyRefused", own=True)


def _plain(host: str) -> str:
    return host.lower().removeprefix("[").removesuffix("]").rstrip(".")


def _network(entry: str) -> IPNetwork | None:
    try:
        return ip_network(entry, strict=False)
    except ValueError:
        return None


def _names(entry: str, name: str, port: int) -> bool:
    """The entry of `bypass` names this host, or a domain that it is in."""
    parts = _WITH_PORT.fullmatch(entry)
    if parts is not None:
        entry = parts[1]
        if int(parts[2]) != port:
            return False
    domain = _plain(entry).removeprefix("*").removeprefix(".")
    return entry == "*" or (bool(domain) and (name == domain or name.endswith(f".{domain}")))
