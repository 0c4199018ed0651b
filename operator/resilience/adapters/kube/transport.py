"""Requests to the API server: raw JSON in and out, a time-out, a size limit, and the errors of the ports.

Only this module sends requests with the client library. It never retries: the queue does, after a new observation.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol, Self, TypeVar

import aiohttp
import msgspec
from kubernetes.aio import client, config

from resilience.adapters.kube import listed
from resilience.adapters.kube.listed import Json, Listed
from resilience.ports import Conflict, Invalid, NamespaceEnding, PortError, Refused, Unavailable
from resilience.ports.cluster import View

# The items of a page, and its length in bytes.
_Items = tuple[list[msgspec.Raw], int]
# A JSON patch is a list.
Body = Json | list[Json]
Kind = TypeVar("Kind")
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
PAGE_SIZE: Final = 200
_MIB: Final = 1 << 20
# For one answer. etcd takes objects of 1.5 MiB, and JSON has six bytes for a character that it escapes: any one fits.
_LARGEST_ANSWER: Final = 16 * _MIB
# For all raw items of one list.
LARGEST_LIST: Final = 64 * _MIB
# Seconds between the end of one leader's right to write and the beginning of the next one's.
LONGEST_WRITE: Final = 5.0
_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")

RequestObserver = Callable[[str, int, float], None]


class ServerClock(Protocol):
    """The API server's time, as its answers tell it."""

    def told(self, date: str) -> None:
        """Takes note of the date of an answer, as its header has it."""
        ...

    def now(self) -> datetime:
        """The current time, aware, UTC."""
        ...


class _ListMeta(msgspec.Struct):
    token: str | None = msgspec.field(name="continue", default=None)


class _Page(msgspec.Struct):
    """One page of a collection; its items are decoded one by one, by those who know their kind."""

    items: list[msgspec.Raw] | None = None
    metadata: _ListMeta | None = None


class NotFound(PortError):
    """404: the object does not exist. This error does not leave this package."""


class TooLong(Unavailable):
    """The answer is longer than the operator has memory for."""


class Transport:
    """Requests to one API server. `observer` receives verb, status (0 for no answer) and seconds of every request.

    The clock is told the date of each answer.
    """

    def __init__(self, *, api: client.ApiClient, timeout: float, observer: RequestObserver, clock: ServerClock) -> None:
        self._api = api
        self._seconds = timeout
        self._observer = observer
        self._clock = clock

    @classmethod
    @asynccontextmanager
    async def connect(cls, *, timeout: float, observer: RequestObserver, clock: ServerClock) -> AsyncIterator[Self]:
        """A transport with the pod's service account, or with the user's kubeconfig outside a cluster.

        Raises:
            Invalid: neither can be used.
        """
        settings = client.Configuration()
        try:
            if _SERVICE_ACCOUNT.exists():
                # Proxies of the environment are not for the cluster's own API, and looking for them costs time.
                settings.client_session_kwargs = {"trust_env": False}
                config.load_incluster_config(client_configuration=settings)
            else:
                await config.load_kube_config(client_configuration=settings)
        except config.ConfigException as error:
            raise Invalid(f"no Kubernetes configuration that can be used: {error}") from error
        async with client.ApiClient(settings) as api:
            yield cls(api=api, timeout=timeout, observer=observer, clock=clock)

    def within(self, *, seconds: float) -> "Transport":
        """A transport over the same connection, with a time-out of at most `seconds`."""
        timeout = min(seconds, self._seconds)
        return Transport(api=self._api, timeout=timeout, observer=self._observer, clock=self._clock)

    def now(self) -> datetime:
        """The API server's time, by which all times in objects are read and written."""
        return self._clock.now()

    @property
    def server(self) -> str:
        """URL of the API server."""
        return str(self._api.configuration.host)

    async def get(self, path: str, **query: str) -> Json:
        """GET one object. Raises NotFound, Unavailable or Refused."""
        return await self._request("GET", path, query=query)

    async def find(self, path: str) -> Json | None:
        """GET one object, or None when it does not exist."""
        try:
            return await self.get(path)
        except NotFound:
            return None

    async def views(self, path: str, view: Callable[[Json], View], *, labels: str = "", fields: str = "") -> list[View]:
        """The `view` of every item; the raw items of a page are dropped before the next page is read.

        Raises:
            Unavailable: an item cannot be read.
        """
        return [*(await self.listed(path, view, labels=labels, fields=fields)).all()]

    async def listed(
        self,
        path: str,
        view: Callable[[Any], View],
        *,
        shape: Any = Json,
        labels: str = "",
        fields: str = "",
        most: int | None = None,
    ) -> Listed[View]:
        """As `views`, with those apart that cannot be read. `shape`: the fields of an item that the view uses.

        Raises:
            TooLong: all of them are more than `most` bytes.
        """
        pages, length = [], 0
        async for page, size in self._pages(path, labels=labels, fields=fields):
            length += size
            if most is not None and length > most:
                raise TooLong(f"the list at {path} is longer than {most // _MIB} MiB")
            pages.append(listed.read(page, view, shape))
        return listed.joined(pages)

    async def list(self, path: str, *, labels: str = "", fields: str = "") -> list[Json]:
        """All items of a collection that match the selectors. For those of one service: they are kept whole.

        Raises:
            TooLong: all of them are more than 64 MiB.
        """
        return list((await self.listed(path, listed.as_it_is, labels=labels, fields=fields, most=LARGEST_LIST)).all())

    async def _pages(self, path: str, *, labels: str, fields: str) -> AsyncIterator[_Items]:
        """Each page of a collection. One that is too long is asked for again as smaller ones.

        A token for the next page goes with any page size: it names where to go on.
        """
        chosen = {"labelSelector": labels, "fieldSelector": fields}
        query = {key: value for key, value in chosen.items() if value}
        size = PAGE_SIZE
        while True:
            try:
                text = await self._answer("GET", path, query=query | {"limit": str(size)})
            except TooLong:
                if size == 1:
                    raise
                size = max(size // 4, 1)
                continue
            page, length = _decoded(text, _Page), len(text)
            del text
            yield page.items or [], length
            query["continue"] = (page.metadata.token if page.metadata is not None else None) or ""
            if not query["continue"]:
                return

    async def text(self, path: str, **query: str) -> str:
        """GET text that is not JSON, such as logs."""
        return (await self._answer("GET", path, query=query)).decode(errors="replace")

    async def patch(self, path: str, body: Body, *, content_type: str = MERGE_PATCH, **query: str) -> Json:
        """PATCH. Raises Conflict for an old resourceVersion in the body, Refused when another manager owns a field."""
        return await self._request("PATCH", path, query=query, body=body, content_type=content_type)

    async def post(self, path: str, body: Json) -> Json:
        """POST."""
        return await self._request("POST", path, body=body)

    async def put(self, path: str, body: Json) -> Json:
        """PUT."""
        return await self._request("PUT", path, body=body)

    async def delete(self, path: str, body: Json) -> None:
        """DELETE with options. Raises NotFound, or Conflict when a precondition is not met."""
        await self._request("DELETE", path, body=body)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        content_type: str = "application/json",
    ) -> Json:
        return _decoded(await self._answer(method, path, query=query, body=body, content_type=content_type), dict)

    async def _answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        content_type: str = "application/json",
    ) -> bytearray:
        """The body of a successful answer. Raises the errors of `_check`, TooLong, or Unavailable without an answer."""
        loop = asyncio.get_running_loop()
        began, status = loop.time(), 0
        # A write must not take effect after another leader may have started.
        seconds = self._seconds if method == "GET" else min(self._seconds, LONGEST_WRITE)
        try:
            _, url, headers, _, _ = await self._api.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json, */*", "Content-Type": content_type},
                auth_settings=["BearerToken"],
            )
            response = await self._api.call_api(
                method, url, header_params=headers, body=body, _request_timeout=aiohttp.ClientTimeout(total=seconds)
            )
            status = response.status
            self._clock.told(response.response.headers.get("Date", ""))
            text = await _body(response.response, path)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"the API server did not answer: {type(error).__name__}") from error
        finally:
            self._observer(method, status, loop.time() - began)
        _check(status, text)
        return text


async def _body(response: aiohttp.ClientResponse, path: str) -> bytearray:
    """The whole body; the connection ends with one that is too long, or cut off."""
    text = bytearray()
    try:
        async for chunk in response.content.iter_any():
            text += chunk
            if len(text) > _LARGEST_ANSWER:
                raise TooLong(f"the answer at {path} is longer than {_LARGEST_ANSWER // _MIB} MiB")
    except BaseException:
        response.close()
        raise
    return text


def _decoded(text: bytes | bytearray, kind: type[Kind]) -> Kind:
    try:
        return msgspec.json.decode(text or b"{}", type=kind)
    except msgspec.MsgspecError as error:
        raise Invalid("the API server's answer is not JSON of that kind") from error


def _check(status: int, text: bytes | bytearray) -> None:
    """Raises the error for a status of 400 or more."""
    if status < 400:
        return
    try:
        answer = _decoded(text, dict)
    except Invalid:
        answer = {}
    message = str(answer.get("message") or f"status {status}")
    match status:
        case 404:
            raise NotFound(message)
        case 409 if _has_cause(answer, "FieldManagerConflict"):
            raise Refused(message)
        case 409:
            raise Conflict(message)
        case 429 if answer.get("reason") == "TooManyRequests" and _has_cause(answer, "DisruptionBudget"):
            raise Refused(message)
        case 403 if _has_cause(answer, "NamespaceTerminating"):
            raise NamespaceEnding(message)
        case 400 | 403 | 405 | 422:
            raise Refused(message)
        case _:
            raise Unavailable(message)


def _has_cause(answer: Json, reason: str) -> bool:
    """The API names this cause: a budget behind a 429, a field's owner behind a 409, a namespace's end behind a 403."""
    causes = (answer.get("details") or {}).get("causes") or []
    return any(cause.get("reason") == reason for cause in causes)
