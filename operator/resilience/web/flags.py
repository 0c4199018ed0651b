"""Degradation flags over HTTP, on every replica, leading or not: OFREP, a JSON document and a stream of changes.

It reads the board and must not decide or write. A client presents a token of a ServiceAccount for the audience
`resilience.dev`, and reads the flags of its own namespace.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from aiohttp import web

from resilience.core.model.flags import Publication
from resilience.core.model.observation import Key
from resilience.ports import Unavailable
from resilience.runtime.flag_cache import FlagCache
from resilience.web import flag_bodies as bodies
from resilience.web.app import hide_server

BODY_LIMIT: Final = 16 * 1024
HEARTBEAT_SECONDS: Final = 15.0
_READ_SECONDS: Final = 5.0
_WRITE_SECONDS: Final = 5.0
_PREFIX: Final = "/flags/{namespace}/{service}"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Tokens(Protocol):
    """Identifies the ServiceAccount of a token."""

    async def account(self, token: str) -> str | None:
        """The user name, `system:serviceaccount:<namespace>:<name>`; None for a token that is not valid.

        Raises Unavailable when the token cannot be verified now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Maximum numbers of concurrent readers. A stream costs some 15 KiB (benchmarks/flag_readers.py)."""

    streams: int = 2000
    streams_per_namespace: int = 500
    requests: int = 256


@dataclass(slots=True)
class _Load:
    """Current numbers of readers."""

    limits: Limits
    requests: int = 0
    streams: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def request(self) -> Iterator[None]:
        if self.requests >= self.limits.requests:
            raise _busy("too many requests at once")
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    @contextmanager
    def stream(self, namespace: str) -> Iterator[None]:
        is_full = self.streams.total() >= self.limits.streams
        if is_full or self.streams[namespace] >= self.limits.streams_per_namespace:
            raise _busy("too many streams; poll instead, with If-None-Match")
        self.streams[namespace] += 1
        try:
            yield
        finally:
            self.streams[namespace] -= 1
            if not self.streams[namespace]:
                del self.streams[namespace]


def create_app(
    *, board: FlagCache, tokens: Tokens, readers: Collection[str] = (), limits: Limits | None = None
) -> web.Application:
    """The application. `readers` are ServiceAccounts that may read the flags of every namespace."""
    load = _Load(limits or Limits())
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_guarded(tokens, frozenset(readers), load)])
    app.on_response_prepare.append(hide_server)
    flags = _Flags(board, load)
    app.router.add_get("/flags/{namespace}/{service}.json", flags.document)
    app.router.add_post(f"{_PREFIX}/ofrep/v1/evaluate/flags", flags.bulk)
    app.router.add_post(f"{_PREFIX}/ofrep/v1/evaluate/flags/{{key}}", flags.single)
    app.router.add_get(f"{_PREFIX}/events", flags.events)

    async def end_streams(_app: web.Application) -> None:
        board.close()

    app.on_shutdown.append(end_streams)
    return app


class _Flags:
    """Handlers of the endpoints."""

    def __init__(self, board: FlagCache, load: _Load) -> None:
        self._board = board
        self._load = load

    async def document(self, request: web.Request) -> web.StreamResponse:
        """All flags in plain JSON."""
        publication, stale = self._publication(request), self._board.stale
        return _cached(
            request,
            bodies.document(publication, stale=stale, as_of=self._board.confirmed_at),
            etag=bodies.etag(publication, stale=stale),
        )

    async def bulk(self, request: web.Request) -> web.StreamResponse:
        """OFREP: all flags."""
        await _context(request)
        publication, stale = self._publication(request), self._board.stale
        where = request.match_info
        stream = f"/flags/{where['namespace']}/{where['service']}/events"
        return _cached(
            request,
            bodies.bulk(publication, stale=stale, stream=stream),
            etag=bodies.etag(publication, stale=stale),
        )

    async def single(self, request: web.Request) -> web.StreamResponse:
        """OFREP: one flag."""
        name = request.match_info["key"]
        await _context(request, key=name)
        publication = self._publication(request, key=name)
        flag = publication.flag(name)
        if flag is None:
            raise _error(
                web.HTTPNotFound, "FLAG_NOT_FOUND", f"{publication.service} has no flag {name[:63]!r}", key=name
            )
        return web.json_response(bodies.evaluation(publication, flag, stale=self._board.stale))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """OFREP: a stream of events that request a new evaluation; the first event carries the current state."""
        where = Key(request.match_info["namespace"], request.match_info["service"])
        self._publication(request)
        with self._load.stream(where.namespace), self._board.reading(where) as news:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
            await response.prepare(request)
            known = request.headers.get("Last-Event-ID", "")
            try:
                while True:
                    known = await self._announce(response, where, known)
                    if not await news.wait(seconds=HEARTBEAT_SECONDS):
                        await _write(response, b": still here\n\n")
            except (ConnectionError, TimeoutError):
                return response

    async def _announce(self, response: web.StreamResponse, where: Key, known: str) -> str:
        publication, stale = self._board.get(where), self._board.stale
        if publication is None or self._board.closed:
            raise ConnectionResetError("nothing more will be sent")
        tag = bodies.etag(publication, stale=stale)
        if tag != known:
            text = json.dumps(bodies.change(publication, stale=stale))
            await _write(response, f"event: message\nid: {tag}\ndata: {text}\n\n".encode())
        return tag

    def _publication(self, request: web.Request, *, key: str | None = None) -> Publication:
        where = Key(request.match_info["namespace"], request.match_info["service"])
        publication = self._board.get(where)
        if publication is None:
            details = f"there are no flags of a ResilientService {where.name[:253]!r} in this namespace"
            raise _error(web.HTTPNotFound, "FLAG_NOT_FOUND", details, key=key)
        return publication


def _guarded(tokens: Tokens, readers: frozenset[str], load: _Load) -> Any:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.endswith("/events"):
            await _authorize(request, tokens, readers)
            return await handler(request)
        with load.request():
            await _authorize(request, tokens, readers)
            return await handler(request)

    return middleware


async def _authorize(request: web.Request, tokens: Tokens, readers: frozenset[str]) -> None:
    """Raises 401, 403 or 503. A namespace that does not exist is refused like one that the account may not read."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _unauthorized("show a ServiceAccount token for the audience resilience.dev: Authorization: Bearer ...")
    try:
        account = await tokens.account(token.strip())
    except Unavailable:
        details = "the owner of the token cannot be determined now: the API server does not answer"
        raise _error(web.HTTPServiceUnavailable, "GENERAL", details, headers={"Retry-After": "5"}) from None
    if account is None:
        raise _unauthorized("the token is not valid, or not for the audience resilience.dev")
    namespace = request.match_info.get("namespace", "")
    if account not in readers and not account.startswith(f"system:serviceaccount:{namespace}:"):
        raise _error(web.HTTPForbidden, "GENERAL", "a ServiceAccount reads the flags of its own namespace only")


async def _context(request: web.Request, *, key: str | None = None) -> None:
    """Reads the evaluation context, which has no effect here, but has to be valid."""
    try:
        async with asyncio.timeout(_READ_SECONDS):
            body = await request.json()
    except (ValueError, UnicodeDecodeError):
        raise _error(web.HTTPBadRequest, "PARSE_ERROR", "the body is not JSON", key=key) from None
    except TimeoutError:
        raise _error(web.HTTPRequestTimeout, "GENERAL", "the body did not come in time", key=key) from None
    if not isinstance(body, dict) or not isinstance(body.get("context", {}), dict):
        raise _error(web.HTTPBadRequest, "INVALID_CONTEXT", "context has to be an object", key=key)


def _cached(request: web.Request, body: dict[str, Any], *, etag: str) -> web.Response:
    headers = {"ETag": f'"{etag}"', "Cache-Control": "no-cache"}
    known = {tag.value for tag in request.if_none_match or ()}
    if etag in known:
        return web.Response(status=304, headers=headers)
    return web.json_response(body, headers=headers)


async def _write(response: web.StreamResponse, text: bytes) -> None:
    """Writes to the stream. Raises TimeoutError when the client does not read."""
    async with asyncio.timeout(_WRITE_SECONDS):
        await response.write(text)


def _busy(details: str) -> web.HTTPException:
    return _error(web.HTTPTooManyRequests, "GENERAL", details, headers={"Retry-After": "5"})


def _unauthorized(details: str) -> web.HTTPException:
    return _error(web.HTTPUnauthorized, "GENERAL", details, headers={"WWW-Authenticate": "Bearer"})


def _error(
    kind: type[web.HTTPException],
    code: str,
    details: str,
    *,
    key: str | None = None,
    headers: dict[str, str] | None = None,
) -> web.HTTPException:
    text = json.dumps(bodies.failure(code, details, key=key))
    return kind(text=text, content_type="application/json", headers=headers)
