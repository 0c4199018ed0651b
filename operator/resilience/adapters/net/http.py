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

from aiohappyeyeballs import start_connection
from yarl import URL

from resilience.adapters.net.address import Address, AddressGuard
from resilience.adapters.net.failures import NetworkFailure, from_os_error
from resilience.adapters.net.http_wire import BODY_LIMIT, Answer, AnswerReader, request_bytes, unwritable
from resilience.api.scalars import format_duration
from resilience.core.model.probes import HttpTarget
from resilience.ports import Refused

# Seconds until the next address of a name is tried in parallel with the previous one (RFC 8305).
_NEXT_ADDRESS: Final = 0.25
# Checks request the same URLs again and again.
_KNOWN_TARGETS: Final = 4096


class HttpClient:
    """Sends single requests to addresses that `guard` permits."""

    def __init__(self, *, guard: AddressGuard, version: str) -> None:
        self.guard = guard
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
        addresses = await self.guard.addresses(target.host, target.port, timeout=left / 2, stale=stale)
        url = _url(target.scheme, target.host, target.port, target.path)
        lines = _headers(target, headers)
        request = request_bytes(method, url, user_agent=self.user_agent, headers=lines, body=body)
        secure = (tls or _unverified()) if url.scheme == "https" else None
        # A certificate carries a name without its trailing dot, and an address without brackets.
        name = (server_name or (url.raw_host or "").rstrip(".")) if secure is not None else None
        reader = AnswerReader(request, limit=limit)
        try:
            async with asyncio.timeout_at(deadline):
                return await _exchange(reader, addresses, secure, name)
        except TimeoutError as error:
            raise no_answer(timeout, taken=reader.sent) from error
        except UnicodeError as error:
            raise Refused(f"{name!r} cannot be the name of a server in its certificate") from error
        except OSError as error:
            raise from_os_error(error) from error


def _headers(target: HttpTarget, headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The target's own headers, except those that `headers` replace, then `headers`."""
    replaced = {name.lower() for name, _ in headers}
    own = [("Host", target.host_header)] if target.host_header else []
    return [header for header in (*own, *target.headers) if header[0].lower() not in replaced] + list(headers)


def no_answer(timeout: timedelta, *, taken: bool = False) -> NetworkFailure:
    """The failure for a deadline that has passed. `taken`: the request was sent on a connection that held."""
    return NetworkFailure(f"no answer within {format_duration(timeout)}", reason="Timeout", taken=taken)


async def _exchange(
    reader: AnswerReader, addresses: Sequence[Address], tls: ssl.SSLContext | None, name: str | None
) -> Answer:
    """Connects to the first address that accepts, and closes the connection when the answer is read."""
    infos = [(address.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address.sockaddr) for address in addresses]
    connected = await start_connection(infos, happy_eyeballs_delay=_NEXT_ADDRESS)
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
