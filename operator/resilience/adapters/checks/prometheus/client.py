"""Instant queries to the Prometheus server of the operator's settings, each limited to one namespace before it leaves.

The server's address comes from whoever installs the operator, so the AddressGuard has no say; its certificate is
verified. Must not offer a way to send a query that is not limited, nor judge what
comes back.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field, ValidationError
from yarl import URL

from resilience.adapters.checks.prometheus.promql import QueryRefused, force_namespace
from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.http import HttpClient
from resilience.adapters.net.http_wire import Answer
from resilience.core.model.probes import HttpTarget
from resilience.ports import Invalid, Unavailable

ANSWER_LIMIT: Final = 1024 * 1024
_SHOWN: Final = 200
_KNOWN_QUERIES: Final = 1024
_EVERYWHERE: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))
# Words of Prometheus 2.48 to 2.53 among the warnings, later on in a list of their own: advice about the query.
_ADVICE: Final = "PromQL info:"


class TooLong(Unavailable):
    """The answer is longer than ANSWER_LIMIT bytes."""


@dataclass(frozen=True, slots=True)
class Values:
    """What a query gave. `partial` says that the server itself was not sure that this is all."""

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


class _Failure(BaseModel):
    status: Literal["error"]
    error: str


class PrometheusClient:
    """Asks one server. `token_file` and `ca_file` are paths, or empty: without token, with the system's authorities.

    Raises:
        Invalid: the authorities cannot be read.
    """

    def __init__(self, *, url: str, version: str, token_file: str = "", ca_file: str = "") -> None:
        self._url = URL(f"{url.rstrip('/')}/api/v1/query")
        self._client = HttpClient(guard=AddressGuard(allowed=_EVERYWHERE), version=version)
        self._token_file = token_file
        self._tls = _authorities(ca_file)
        # Parsing takes a millisecond, with a wicked query some hundred; the event loop waits meanwhile.
        self._limited: Callable[[str, str], str | QueryRefused] = lru_cache(maxsize=_KNOWN_QUERIES)(_limit)

    async def query(self, query: str, *, namespace: str, timeout: timedelta) -> Values:
        """The query's values now, of series of this namespace only. Sent once; redirects are not followed.

        Raises:
            QueryRefused: the query may not be sent, the server does not take it, or it gives something without values.
            TooLong: the answer is longer than ANSWER_LIMIT.
            Unavailable: no answer that could be read within `timeout`.
            Refused: the request cannot be written.
        """
        limited = self._limited(query, namespace)
        if isinstance(limited, QueryRefused):
            raise limited
        url = self._url.with_query(query=limited, timeout=f"{timeout.total_seconds():.3f}")
        headers = [("Authorization", f"Bearer {self._token()}")] if self._token_file else []
        target = HttpTarget.at(str(url))
        answer = await self._client.request(
            "GET", target, timeout=timeout, headers=headers, tls=self._tls, limit=ANSWER_LIMIT
        )
        return _read(answer)

    def _token(self) -> str:
        # Read each time, for Kubernetes renews it in place.
        try:
            return Path(self._token_file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"the token in {self._token_file} cannot be read: {type(error).__name__}") from error


def _authorities(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise Invalid(f"RESILIENCE_PROMETHEUS_CA_FILE: {ca_file} holds no certificates that can be read") from error


def _limit(query: str, namespace: str) -> str | QueryRefused:
    """The limited query or why not: a refusal is worth remembering too."""
    try:
        return force_namespace(query, namespace=namespace)
    except QueryRefused as refusal:
        return refusal


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
        raise Unavailable(f"what answered {answer.status} is no Prometheus server") from error
    match answer.status:
        case 401 | 403:
            hint = "; look at prometheus.token in the operator's values"
        case status if 300 <= status < 400:
            hint = ", a redirect, which is not followed; correct prometheus.url in the operator's values"
        case _:
            hint = ""
    raise Unavailable(f"the Prometheus server answered {answer.status}{hint}")


def _values(success: _Success, *, seconds: float) -> Values:
    match success.data:
        case _Vector(result=samples):
            found = [sample.value for sample in samples]
        case _Scalar(result=value):
            found = [value]
        case _Other(kind=kind):
            raise QueryRefused(f"the query gives a {kind}; a check needs one value for each series")
    numbers = tuple(each[1] for each in found if each is not None)
    if len(numbers) < len(found):
        raise QueryRefused("the query gives native histograms; get a number out of them by histogram_quantile")
    return Values(numbers, any(not each.startswith(_ADVICE) for each in success.warnings), seconds)


def _words(text: str) -> str:
    """The server's own words on one line, shortened."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
