"""Parts of the operator's HTTP requests: host and headers of checks and of the drain, and the use of proxies."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from resilience.api.base import ApiModel, list_map, rule, rules
from resilience.api.scalars import HeaderName, HeaderValue, HttpHost, HttpUrl
from resilience.api.secrets import FromSecret, Tls

_UNIQUE = rule(
    "self.all(h, self.exists_one(g, g.name.lowerAscii() == h.name.lowerAscii()))",
    "each header can be set once; upper and lower case make no difference",
)


class ProxyUse(StrEnum):
    """Requests that go through the proxy of the operator's settings; what those except never does."""

    OUTSIDE = "Outside"
    ALWAYS = "Always"
    NEVER = "Never"


class Proxied(ApiModel):
    """A destination that may be behind a proxy."""

    proxy: ProxyUse | None = Field(
        default=None,
        description="Use of the operator's proxy, if its settings have one. Outside (default): unless the host is in"
        " the cluster or has a private address. Always: even then. Never: connect directly.",
    )


_VISIBLE: Final = r"^[!-~]+$"
ONE_LOGIN: Final = rule(
    "!has(self.basicAuthFrom) || !has(self.oauth2)", "there is one way to log in: set basicAuthFrom or oauth2, not both"
)


class EndpointParam(ApiModel):
    """A parameter that a token server wants besides those of the standard, such as audience or resource."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[-._a-zA-Z0-9]+$")] = Field(
        description="Name of the parameter."
    )
    value: Annotated[str, Field(max_length=1024)] = Field(description="Its value.")


class OAuth2Client(ApiModel):
    """A client of an OAuth2 server. Its token (client credentials grant) is sent along, and kept until it expires."""

    token_url: HttpUrl = Field(description="Address of the token endpoint.")
    client_id: Annotated[str, Field(min_length=1, max_length=253, pattern=_VISIBLE)] = Field(
        description="Identifier of the client."
    )
    client_secret_from: FromSecret = Field(description="Secret of the client.")
    scopes: list[Annotated[str, Field(min_length=1, max_length=253, pattern=_VISIBLE)]] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Scopes of the token.",
    )
    endpoint_params: list[EndpointParam] = Field(
        default_factory=list,
        max_length=8,
        json_schema_extra=list_map("name"),
        description="Further parameters of the request for a token.",
    )
    tls: Tls | None = Field(default=None, description="Verification of the token server's certificate.")


class Authenticated(ApiModel):
    """A destination that wants to know who asks."""

    basic_auth_from: FromSecret | None = Field(default=None, description="`user:password`, for basic authentication.")
    oauth2: OAuth2Client | None = Field(default=None, description="A token of an OAuth2 server.")


class HttpHeader(ApiModel):
    """A request header. Its value can be read by everybody who reads the resource: secrets go into headersFrom."""

    name: HeaderName = Field(description="Name of the header.")
    value: HeaderValue = Field(description="Its value.")


class HttpRequest(ApiModel):
    """Settings that every HTTP request has. Neither changes the address that is connected to."""

    host: HttpHost | None = Field(
        default=None,
        description="Host header. Default: through a Service its name, as in shop.namespace.svc; else the address.",
    )
    headers: list[HttpHeader] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={**list_map("name"), **rules(_UNIQUE)},
        description="Further headers.",
    )
