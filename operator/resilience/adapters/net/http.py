"""One HTTP exchange on one new connection: what checks, drain signals, queries and measuring requests have in common.

Nothing is followed, kept, cached or sent twice: one request in means one request out. It must not judge a status; that
is the caller's business.
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

# Seconds until the next address of a name is tried beside the one before (RFC 8305).
_NEXT_ADDRESS: Final = 0.25
# Checks ask the same again and again.
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

        `began`: the loop time that `timeout` counts from, when it is not now. `tls` verifies certificates, for
        `server_name` or else the host; without it none is, as in kubelet probes.

        Raises:
            Refused: the address may not be spoken to, or the request or the server's name cannot be written.
            NetworkFailure: no complete answer within `timeout`; half of what is left is for the name service.
        """
        now = asyncio.get_running_loop().time()
        deadline = (now if began is None else began) + timeout.total_seconds()
        addresses = await self.guard.addresses(
            target.host, target.port, timeout=timedelta(seconds=max(deadline - now, 0)) / 2
        )
        url = _url(target.scheme, target.host, target.port, target.path)
        request = request_bytes(method, url, user_agent=self.user_agent, headers=headers, body=body)
        secure = (tls or _unverified()) if url.scheme == "https" else None
        # A certificate carries the name without the dot that ends it, and an address without brackets.
        name = (server_name or (url.raw_host or "").rstrip(".")) if secure is not None else None
        reader = AnswerReader(request, limit=limit)
        try:
            async with asyncio.timeout_at(deadline):
                return await _exchange(reader, addresses, secure, name)
        except TimeoutError as error:
            raise no_answer(timeout) from error
        except UnicodeError as error:
            raise Refused(f"{name!r} cannot be the name of a server in its certificate") from error
        except OSError as error:
            raise from_os_error(error) from error


def no_answer(timeout: timedelta) -> NetworkFailure:
    """The failure that the end of a deadline is."""
    return NetworkFailure(f"no answer within {format_duration(timeout)}", reason="Timeout")


async def _exchange(
    reader: AnswerReader, addresses: Sequence[Address], tls: ssl.SSLContext | None, name: str | None
) -> Answer:
    """Connects to the first address that answers, and gives the connection up when the answer is read."""
    infos = [(each.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", each.sockaddr) for each in addresses]
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
        # Nothing that is on its way is waited for.
        transport.abort()


@lru_cache(maxsize=1)
def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@lru_cache(maxsize=_KNOWN_TARGETS)
def _url(scheme: str, host: str, port: int, path: str) -> URL:
    """The URL, with what may not stand in one escaped.

    Raises:
        Refused: it cannot be one.
    """
    named = f"[{host}]" if ":" in host and not host.startswith("[") else host
    try:
        return URL(f"{scheme.lower()}://{named}:{port}{path}")
    except ValueError as error:
        raise unwritable() from error
