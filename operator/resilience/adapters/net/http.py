"""One HTTP exchange on one new connection, for checks, drain signals, queries and measuring requests alike.

Redirects are not followed, connections are not kept, answers are not cached, and nothing is sent twice: one call sends
one request. This module must not judge a status; that is the caller's task.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Final

from yarl import URL

from resilience.adapters.net.address import Address, AddressGuard
from resilience.adapters.net.connecting import connect
from resilience.adapters.net.failures import NetworkFailure, from_os_error
from resilience.adapters.net.http_wire import BODY_LIMIT, Answer, AnswerReader, request_bytes, unwritable
from resilience.adapters.net.proxy import Proxies, Proxy, open_tunnel, refused
from resilience.api.http import ProxyUse
from resilience.api.scalars import format_duration
from resilience.core.model.probes import HttpTarget
from resilience.ports import Refused

# Checks request the same URLs again and again.
_KNOWN_TARGETS: Final = 4096
# The one status that only a proxy answers with.
_PROXY_LOGIN: Final = 407


class HttpClient:
    """Sends single requests to addresses that `guard` permits, by way of `proxies` where a request allows it."""

    def __init__(self, *, guard: AddressGuard, version: str, proxies: Proxies | None = None) -> None:
        self.guard = guard
        self.proxies = proxies or Proxies()
        self.user_agent = f"resilience-operator/{version}"

    async def request(
        self,
        method: str,
        target: HttpTarget,
        *,
        timeout: timedelta,
        began: float | None = None,
        headers: Sequence[tuple[str, str]] = (),
        tls: ssl.SSLContext | None = None,
        server_name: str = "",
        body: bytes | None = None,
        limit: int = BODY_LIMIT,
        proxy: ProxyUse = ProxyUse.NEVER,
    ) -> Answer:
        """Sends one request and reads at most `limit` bytes of the answer's body.

        `began`: the loop time from which `timeout` counts, if not from now. `tls` verifies certificates, for
        `server_name` or else the host; without it no certificate is verified, as in kubelet probes.

        Raises:
            Refused: the address is not permitted, or the request or the server's name cannot be written.
            NetworkFailure: no complete answer within `timeout`. Name resolution may take half of the time left.
        """
        now = asyncio.get_running_loop().time()
        deadline = (now if began is None else began) + timeout.total_seconds()
        # Each of these may hold a credential.
        stale = not (headers or target.headers or target.secret or body or "?" in target.path)
        left = timedelta(seconds=max(deadline - now, 0))
        via = await self._proxy(target, proxy, timeout=left / 4)
        addresses: Sequence[Address] = ()
        if via is None:
            addresses = await self.guard.addresses(target.host, target.port, timeout=left / 2, stale=stale)
        url = _url(target.scheme, target.host, target.port, target.path)
        lines = _headers(target, headers)
        is_forwarded = via is not None and url.scheme == "http"
        if via is not None and is_forwarded:
            lines = [line for line in lines if line[0].lower() != "proxy-authorization"] + via.headers
        request = request_bytes(
            method, url, user_agent=self.user_agent, headers=lines, body=body, to_proxy=is_forwarded
        )
        secure = (tls or _unverified()) if url.scheme == "https" else None
        # A certificate carries a name without its trailing dot, and an address without brackets.
        name = (server_name or (url.raw_host or "").rstrip(".")) if secure is not None else None
        reader = AnswerReader(request, limit=limit)
        try:
            async with asyncio.timeout_at(deadline):
                if via is None:
                    connected = await connect(addresses)
                else:
                    connected = await self.proxies.connect(via, timeout=left / 2)
                    if not is_forwarded:
                        await self._tunnel(connected, via, target)
                answer = await _exchange(reader, connected, secure, name)
        except TimeoutError as error:
            raise no_answer(timeout, taken=reader.sent) from error
        except UnicodeError as error:
            raise Refused(f"{name!r} cannot be the name of a server in its certificate") from error
        except OSError as error:
            raise from_os_error(error) from error
        if is_forwarded and answer.status == _PROXY_LOGIN:
            raise refused(answer.status)
        return answer

    async def _proxy(self, target: HttpTarget, use: ProxyUse, *, timeout: timedelta) -> Proxy | None:
        """The proxy to send the request through, or None.

        A name that is not known here may be known to the proxy. Raises Refused, also for what the proxy would be asked.
        """
        proxy = self.proxies.candidate(target, use)
        if proxy is None:
            return None
        known = await self.guard.behind_proxy(target.host, timeout=timeout)
        is_near = use is ProxyUse.OUTSIDE and bool(known) and all(map(self.proxies.is_inside, known))
        return None if is_near else proxy

    async def _tunnel(self, connected: socket.socket, proxy: Proxy, target: HttpTarget) -> None:
        try:
            await open_tunnel(connected, proxy, target, user_agent=self.user_agent)
        except BaseException:
            connected.close()
            raise


def _headers(target: HttpTarget, headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The target's own headers, except those that `headers` replace, then `headers`."""
    replaced = {name.lower() for name, _ in headers}
    own = [("Host", target.host_header)] if target.host_header else []
    return [header for header in (*own, *target.headers) if header[0].lower() not in replaced] + list(headers)


def no_answer(timeout: timedelta, *, taken: bool = False) -> NetworkFailure:
    """The failure for a deadline that has passed. `taken`: the request was sent on a connection that held."""
    return NetworkFailure(f"no answer within {format_duration(timeout)}", reason="Timeout", taken=taken)


async def _exchange(
    reader: AnswerReader, connected: socket.socket, tls: ssl.SSLContext | None, name: str | None
) -> Answer:
    """Sends the request, and closes the connection when the answer is read."""
    try:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: reader, sock=connected, ssl=tls, server_hostname=name)
    except BaseException:
        connected.close()
        raise
    try:
        return await reader.answer
    finally:
        # Data in transit is not awaited.
        transport.abort()


@lru_cache(maxsize=1)
def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@lru_cache(maxsize=_KNOWN_TARGETS)
def _url(scheme: str, host: str, port: int, path: str) -> URL:
    """The URL, with characters that it may not contain escaped.

    Raises:
        Refused: the parts cannot form a URL.
    """
    named = f"[{host}]" if ":" in host and not host.startswith("[") else host
    try:
        return URL(f"{scheme.lower()}://{named}:{port}{path}")
    except ValueError as error:
        raise unwritable() from error
