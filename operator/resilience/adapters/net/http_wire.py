"""One request as bytes, and the reader of its answer, which turns llhttp's events (httptools) into one future.

This module must not connect, judge a status or wait: the caller gives it a connection and waits with a deadline.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import httptools
from yarl import URL

from resilience.adapters.net.failures import NetworkFailure, from_os_error
from resilience.ports import Refused

BODY_LIMIT: Final = 64 * 1024
# Bytes of a header; a longer one is no meaningful answer.
HEADER_LIMIT: Final = 64 * 1024
# A body sent in chunks of one byte is six times as long on the wire.
_CHUNKED: Final = 8
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_UNWRITABLE: Final = re.compile(rb"[\r\n\0]")
_WITH_BODY: Final = ("POST", "PUT", "PATCH")
# Only the operator sets the headers that say where a request ends.
_OURS: Final = frozenset({b"connection", b"content-length", b"transfer-encoding"})
_SWITCHED: Final = 101


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `body` holds at most the requested number of bytes; `cut` is true when there were more.

    `seconds` is the time from connecting to the last byte that was read. `retry_after` is the header of that name.
    """

    status: int
    body: bytes
    cut: bool
    seconds: float
    retry_after: str = ""


def request_bytes(
    method: str,
    url: URL,
    *,
    user_agent: str,
    headers: Sequence[tuple[str, str]],
    body: bytes | None,
    to_proxy: bool = False,
) -> bytes:
    """The request as bytes; `headers` replace our default headers with the same name.

    `to_proxy`: for a proxy, which has to be told the whole URL (RFC 9112, 3.2.2).

    Raises:
        Refused: a header cannot be written, or only the operator may set it. The message quotes no value.
    """
    given = [(name.encode(), value.encode()) for name, value in headers]
    for name, value in given:
        if _TOKEN.fullmatch(name) is None or _UNWRITABLE.search(value) is not None:
            raise unwritable()
        if name.lower() in _OURS:
            raise Refused(f"the header {name.decode()} is written by the operator: remove it")
    usual = [
        (b"Host", (url.host_port_subcomponent or "").encode()),
        (b"User-Agent", user_agent.encode()),
        (b"Accept", b"*/*"),
        (b"Accept-Encoding", b"identity"),
    ]
    named = {name.lower() for name, _ in given}
    framing = [(b"Connection", b"close")]
    if body is not None or method in _WITH_BODY:
        framing.append((b"Content-Length", b"%d" % len(body or b"")))
    lines = [header for header in usual if header[0].lower() not in named] + given + framing
    # Host comes first (RFC 9110, 7.2), whoever sets it.
    lines.sort(key=lambda header: header[0].lower() != b"host")
    head = b"".join(b"%s: %s\r\n" % line for line in lines)
    path = f"{url.scheme}://{url.host_port_subcomponent}{url.raw_path_qs}" if to_proxy else url.raw_path_qs
    return b"%s %s HTTP/1.1\r\n%s\r\n%s" % (method.encode(), path.encode(), head, body or b"")


def unwritable() -> Refused:
    """The refusal of a request that would mean something else than intended. It quotes nothing."""
    return Refused("the request cannot be written: its path or a header holds characters that may not")


class AnswerReader(asyncio.Protocol):
    """Sends `request` as soon as it is connected, and reads one answer with at most `limit` bytes of its body.

    The future `answer` gets that answer, or the NetworkFailure that came instead.
    """

    def __init__(self, request: bytes, *, limit: int) -> None:
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        self._began = loop.time()
        self.answer: asyncio.Future[Answer] = loop.create_future()
        self._request = request
        self._limit = limit
        self._parser = httptools.HttpResponseParser(self)
        # Real servers send such answers, and other clients read them. One request per connection rules out smuggling.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_data_after_close=True
        )
        self.sent = False
        self._status = 0
        self._framed = False
        self._retry_after = ""
        self._received = 0
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the request."""
        cast(asyncio.Transport, transport).write(self._request)
        self.sent = True

    def data_received(self, data: bytes) -> None:
        """Feeds the parser until there is an answer."""
        if self.answer.done():
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end()
        except httptools.HttpParserError:
            self._fail(_broken_off() if self._status else _not_http())
        if not self._status and self._received > HEADER_LIMIT:
            self._fail(_not_http())
        elif len(self._body) > self._limit or self._received > HEADER_LIMIT + _CHUNKED * self._limit:
            self._end(cut=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Completes an answer that does not state its length, and fails any other."""
        if self._status:
            if exc is None and not self._framed:
                self._end()
            self._fail(_broken_off())
        elif isinstance(exc, OSError):
            self._fail(from_os_error(exc))
        else:
            self._fail(NetworkFailure("the connection was closed without an answer", reason="ConnectionClosed"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Records that the length of the body is stated, and the value of Retry-After."""
        known = name.lower()
        if known in (b"content-length", b"transfer-encoding"):
            self._framed = True
        elif known == b"retry-after":
            self._retry_after = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        """Stores the status, unless it is informational: then another one follows."""
        status = self._parser.get_status_code()
        if status >= 200 or status == _SWITCHED:
            self._status = status
        else:
            self._framed, self._retry_after = False, ""

    def on_body(self, body: bytes) -> None:
        """Stores a part of the body, up to one byte more than the limit, which shows that there is more."""
        self._body += body[: max(self._limit + 1 - len(self._body), 0)]

    def on_message_complete(self) -> None:
        """Completes the answer, unless it was informational."""
        if self._status:
            self._end()

    def _end(self, *, cut: bool = False) -> None:
        if self.answer.done():
            return
        self.answer.set_result(
            Answer(
                status=self._status,
                body=bytes(self._body[: self._limit]),
                cut=cut or len(self._body) > self._limit,
                seconds=self._clock() - self._began,
                retry_after=self._retry_after,
            )
        )

    def _fail(self, failure: NetworkFailure) -> None:
        if not self.answer.done():
            self.answer.set_exception(failure)


def _broken_off() -> NetworkFailure:
    return NetworkFailure("the answer broke off", reason="AnswerCut", taken=True)


def _not_http() -> NetworkFailure:
    return NetworkFailure("the answer is not HTTP", reason="NotHttp")
