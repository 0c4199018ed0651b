"""Instant queries to the Prometheus server of the operator's settings, each limited to one namespace before it leaves.

Whoever installs the operator sets the server's address, so the AddressGuard allows every address here. The server's
certificate is verified. This module must not offer a way to send an unlimited query, and must not judge the answer.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field, ValidationError
from yarl import URL

from resilience.adapters.checks.prometheus.files import FileSecrets
from resilience.adapters.checks.prometheus.refusal import QueryRefused
from resilience.adapters.lazy import Lazy
from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.http import HttpClient
from resilience.adapters.net.http_wire import Answer
from resilience.adapters.net.login import NO_LOGIN, Logins, with_login
from resilience.adapters.net.proxy import Proxies
from resilience.adapters.net.threads import SharedThreads
from resilience.api.http import ProxyUse
from resilience.core.model.headers import parse_headers
from resilience.core.model.probes import HttpLogin, HttpTarget
from resilience.ports import Invalid, Unavailable

ANSWER_LIMIT: Final = 1024 * 1024
_SHOWN: Final = 200
_KNOWN_QUERIES: Final = 1024
_EVERYWHERE: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))
# Marks of advice about the query. Prometheus lists `info` among the warnings from 2.48 to 2.53 and by itself later;
# Thanos may put the name of a store before them.
_ADVICE: Final = ("PromQL info:", "PromQL warning:")


class TooLong(Unavailable):
    """The answer is longer than ANSWER_LIMIT bytes."""


@dataclass(frozen=True, slots=True)
class Values:
    """The result of a query. `partial`: the server itself is not sure that the result is complete."""

    values: tuple[float, ...]
    partial: bool
    seconds: float


class _Sample(BaseModel):
    value: tuple[float, float] | None = None


class _Vector(BaseModel):
    kind: Literal["vector"] = Field(alias="resultType")
    result: list[_Sample]


class _Scalar(BaseModel):
    kind: Literal["scalar"] = Field(alias="resultType")
    result: tuple[float, float]


class _Other(BaseModel):
    kind: Literal["matrix", "string"] = Field(alias="resultType")


class _Success(BaseModel):
    status: Literal["success"]
    data: Annotated[_Vector | _Scalar | _Other, Field(discriminator="kind")]
    warnings: list[str] = Field(default_factory=list)
    # VictoriaMetrics
    partial: bool = Field(default=False, alias="isPartial")


class _Failure(BaseModel):
    status: Literal["error"]
    error: str


@dataclass(frozen=True, slots=True)
class _Limited:
    """A query that is limited to its namespace, or the reason why it may not be sent."""

    query: str = ""
    refusal: str = ""


class PrometheusClient:
    """Queries one server. `token_file`, `ca_file` and `headers_file` are paths, and `login` refers to files.

    Empty: no token, the system's authorities, and no further headers.

    Raises:
        Invalid: the authorities cannot be read.
    """

    def __init__(
        self,
        *,
        url: str,
        version: str,
        token_file: str = "",
        ca_file: str = "",
        headers_file: str = "",
        login: HttpLogin = NO_LOGIN,
        proxies: Proxies | None = None,
    ) -> None:
        self._url = URL(f"{url.rstrip('/')}/api/v1/query")
        self._client = HttpClient(guard=AddressGuard(allowed=_EVERYWHERE), version=version, proxies=proxies)
        self._logins = Logins(self._client, Credentials(FileSecrets(), time.monotonic))
        self._token_file, self._headers_file, self._login = token_file, headers_file, login
        self._tls = _authorities(ca_file)
        self._limiter = Lazy(_limiter)
        # One, for the parser holds the interpreter's lock: more threads would only stand still more often.
        self._parsing = SharedThreads("promql", total=1, share=1)
        # By query and namespace, in the order of their first use.
        self._known: dict[tuple[str, str], _Limited] = {}

    async def query(self, query: str, *, namespace: str, timeout: timedelta) -> Values:
        """The query's current values, of series of this namespace only. Redirects are not followed.

        It is sent once, and once more if a login is refused that has changed meanwhile.

        Raises:
            QueryRefused: the query may not be sent, the server rejects it, or its result has no values.
            TooLong: the answer is longer than ANSWER_LIMIT.
            Unavailable: no readable answer within `timeout`.
            Refused: the request cannot be written.
        """
        began = asyncio.get_running_loop().time()
        limited = await self._limited(query, namespace, timeout=timeout)
        if limited.refusal:
            raise QueryRefused(limited.refusal)
        url = self._url.with_query(query=limited.query, timeout=f"{timeout.total_seconds():.3f}")
        target = HttpTarget.at(str(url))
        headers = await self._headers(timeout / 2)
        answer = await self._ask(target, headers, timeout, began)
        if answer.status in (401, 403) and self._login != NO_LOGIN:
            renewed = await self._headers(timeout / 2, fresh=True)
            if renewed != headers:
                answer = await self._ask(target, renewed, timeout, began)
        return _read(answer)

    async def _ask(
        self, target: HttpTarget, headers: Sequence[tuple[str, str]], timeout: timedelta, began: float
    ) -> Answer:
        return await self._client.request(
            "GET",
            target,
            timeout=timeout,
            began=began,
            headers=headers,
            tls=self._tls,
            limit=ANSWER_LIMIT,
            proxy=ProxyUse.OUTSIDE,
        )

    async def _headers(self, timeout: timedelta, *, fresh: bool = False) -> list[tuple[str, str]]:
        """The headers of the file, and who asks."""
        given = await self._logins.headers(self._login, timeout=timeout, fresh=fresh)
        if self._token_file:
            given = (("Authorization", f"Bearer {self._token()}"),)
        return with_login(self._from_file(), given)

    def _from_file(self) -> list[tuple[str, str]]:
        # Read for each query, for whoever rotates a Secret expects it to be in force.
        if not self._headers_file:
            return []
        try:
            return parse_headers(Path(self._headers_file).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            words = f"{self._headers_file} must hold one `Name: value` a line"
            raise Unavailable(f"{words}; it could not be read: {type(error).__name__}") from error

    async def _limited(self, query: str, namespace: str, *, timeout: timedelta) -> _Limited:
        key = query, namespace
        if key not in self._known:
            force = await self._limiter.get()
            try:
                async with asyncio.timeout(timeout.total_seconds()):
                    limited = await self._parsing.run(key, lambda: _limit(force, query, namespace))
            except TimeoutError as error:
                raise Unavailable("the operator could not read the query in time") from error
            if len(self._known) >= _KNOWN_QUERIES:
                del self._known[next(iter(self._known))]
            self._known[key] = limited
        return self._known[key]

    def _token(self) -> str:
        # Read for each query, because Kubernetes renews it in place.
        try:
            return Path(self._token_file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"the token in {self._token_file} cannot be read: {type(error).__name__}") from error


def _authorities(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise Invalid(f"RESILIENCE_PROMETHEUS_CA_FILE: {ca_file} holds no certificates that can be read") from error


def _limiter() -> Callable[[str, str], str]:
    from resilience.adapters.checks.prometheus.promql import force_namespace

    return lambda query, namespace: force_namespace(query, namespace=namespace)


def _limit(force: Callable[[str, str], str], query: str, namespace: str) -> _Limited:
    try:
        return _Limited(query=force(query, namespace))
    except QueryRefused as refusal:
        # Its words alone: an exception that is raised again and again keeps the frames of each time.
        return _Limited(refusal=str(refusal))


def _read(answer: Answer) -> Values:
    if answer.cut:
        raise TooLong(f"the answer is longer than {ANSWER_LIMIT // 1024} KiB")
    try:
        match answer.status:
            case 200:
                return _values(_Success.model_validate_json(answer.body), seconds=answer.seconds)
            case 400 | 422:
                raise QueryRefused(_words(_Failure.model_validate_json(answer.body).error))
    except ValidationError as error:
        raise Unavailable(f"the server that answered {answer.status} is not Prometheus") from error
    match answer.status:
        case 401 | 403:
            hint = "; check prometheus.token and prometheus.headers in the operator's values"
        case status if 300 <= status < 400:
            hint = ", a redirect, which is not followed; correct prometheus.url in the operator's values"
        case _:
            hint = ""
    raise Unavailable(f"the Prometheus server answered {answer.status}{hint}")


def _values(success: _Success, *, seconds: float) -> Values:
    match success.data:
        case _Vector(result=samples):
            points = [sample.value for sample in samples]
        case _Scalar(result=value):
            points = [value]
        case _Other(kind=kind):
            raise QueryRefused(f"the query returns a {kind}; a check needs one value for each series")
    numbers = tuple(point[1] for point in points if point is not None)
    if len(numbers) < len(points):
        raise QueryRefused("the query returns native histograms; compute a number from them with histogram_quantile")
    doubts = [warning for warning in success.warnings if not any(mark in warning for mark in _ADVICE)]
    return Values(numbers, success.partial or bool(doubts), seconds)


def _words(text: str) -> str:
    """The server's text on one line, shortened."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
