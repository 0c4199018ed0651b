"""One HTTP exchange on one new connection: what checks, drain signals, queries and measuring requests have in common.

Nothing is followed, kept, cached or sent twice, whatever the library would like to do for a browser: one request in
means one request out. It must not judge a status; that is the caller's business.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from resilience.adapters.address import Address, AddressGuard
from resilience.adapters.network import NetworkFailure, from_os_error, from_tls_error
from resilience.api.scalars import format_duration
from resilience.core.asks import HttpTarget
from resilience.ports import Refused

BODY_LIMIT: Final = 64 * 1024
_BUFFER: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `body` holds no more bytes than were asked for; `cut` says that there was more.

    `seconds` is the time from connecting to the last byte that was read. `retry_after` is the header of that name.
    """

    status: int
    body: bytes
    cut: bool
    seconds: float
    retry_after: str = ""


class _Lost(aiohttp.ClientError):
    """The connection broke after the request was sent; its cause is the library's own error."""


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Hides lost connections from aiohttp, which else sends an idempotent request again, even on a new connection."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Lost from error


class _Pinned(AbstractResolver):
    """Answers with addresses that were resolved and permitted before."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=each.ip,
                port=port,
                family=each.family,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for each in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


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
    ) -> Answer:
        """Sends one request. `began`: the loop time that `timeout` counts from, when it is not now.

        `tls` verifies certificates, for `server_name` or else the host; without it none is, as in kubelet probes.

        Raises:
            Refused: the address may not be spoken to, or the request cannot be written.
            NetworkFailure: no complete answer within `timeout`; half of what is left is for the name service.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        deadline = (now if began is None else began) + timeout.total_seconds()
        addresses = await self.guard.addresses(
            target.host, target.port, timeout=timedelta(seconds=max(deadline - now, 0)) / 2
        )
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(addresses), use_dns_cache=False, force_close=True, limit=1, ssl=tls or False
        )
        try:
            async with asyncio.timeout_at(deadline):
                return await exchange(
                    method,
                    _url(target),
                    connector=connector,
                    user_agent=self.user_agent,
                    headers=headers,
                    server_name=server_name,
                    body=body,
                )
        except TimeoutError as error:
            raise no_answer(timeout) from error


async def exchange(
    method: str,
    url: URL,
    *,
    connector: aiohttp.TCPConnector,
    user_agent: str,
    headers: Sequence[tuple[str, str]] = (),
    limit: int = BODY_LIMIT,
    server_name: str = "",
    body: bytes | None = None,
) -> Answer:
    """Sends one request and reads at most `limit` bytes. Closes the connector; sets no deadline.

    `server_name`: the name that the certificate has to carry, when it is not the URL's host.

    Raises:
        Refused: the request cannot be written.
        NetworkFailure: no complete answer.
        TimeoutError: the caller's deadline is over.
    """
    loop = asyncio.get_running_loop()
    try:
        async with _session(connector, user_agent) as session:
            began = loop.time()
            async with session.request(
                method,
                url,
                data=body,
                headers=list(headers),
                allow_redirects=False,
                server_hostname=server_name or None,
            ) as response:
                read, cut = await _read(response, limit)
                return Answer(
                    status=response.status,
                    body=read,
                    cut=cut,
                    seconds=loop.time() - began,
                    retry_after=response.headers.get("Retry-After", ""),
                )
    except TimeoutError:
        # An OSError by descent.
        raise
    except (aiohttp.ClientError, OSError) as error:
        raise _failure(error) from error
    except ValueError as error:
        # The library's words would quote a header's value.
        raise Refused("the request cannot be written: its path or a header holds characters that may not") from error


def no_answer(timeout: timedelta) -> NetworkFailure:
    """The failure that the end of a deadline is."""
    return NetworkFailure(f"no answer within {format_duration(timeout)}", reason="Timeout")


def _session(connector: aiohttp.TCPConnector, user_agent: str) -> aiohttp.ClientSession:
    """A session for one exchange: with its own connector there is nothing that could be reused."""
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
        # The caller's deadline covers everything.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        middlewares=(_once,),
        read_bufsize=_BUFFER,
    )


def _url(target: HttpTarget) -> URL:
    host = f"[{target.host}]" if ":" in target.host and not target.host.startswith("[") else target.host
    return URL(f"{target.scheme.lower()}://{host}:{target.port}{target.path}")


async def _read(response: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """The body up to the limit, and whether there was more; then the connection is closed, not drained."""
    body = bytearray()
    while len(body) <= limit:
        chunk = await response.content.read(limit + 1 - len(body))
        if not chunk:
            return bytes(body), False
        body += chunk
    response.close()
    return bytes(body[:limit]), True


def _failure(error: aiohttp.ClientError | OSError) -> NetworkFailure:
    """Sorts what the library raises; its own words are left out, for they may quote the target."""
    match error:
        case _Lost(__cause__=OSError() as cause):
            return from_os_error(cause)
        case _Lost():
            return NetworkFailure("the connection was closed without an answer", reason="ConnectionClosed")
        case aiohttp.ClientConnectorCertificateError():
            return from_tls_error(error.certificate_error)
        case aiohttp.ClientSSLError():
            return from_tls_error(error)
        case OSError():
            return from_os_error(error)
        case aiohttp.ClientPayloadError():
            return NetworkFailure("the answer broke off", reason="AnswerCut")
        case aiohttp.ClientResponseError():
            return NetworkFailure("the answer is not HTTP", reason="NotHttp")
        case _:
            return NetworkFailure("the request failed", reason="RequestFailed")
