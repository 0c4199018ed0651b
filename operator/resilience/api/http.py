"""Host and headers of the operator's HTTP requests: of checks, of measuring requests and of the drain."""

from typing import Annotated

from pydantic import Field

from resilience.api.base import ApiModel, list_map, rule, rules
from resilience.api.scalars import HeaderName, HeaderValue, HttpHost

# Host has a field of its own; the others belong to one connection, or say where a request ends.
_RESERVED = (
    "host|connection|keep-alive|proxy-authenticate|proxy-authorization|proxy-connection|te|trailer|transfer-encoding"
    "|upgrade|content-length"
)
_NO_RESERVED = rule(
    f"!self.matches('(?i)^({_RESERVED})$')",
    "set host instead of a header Host; headers of a connection (Connection, Transfer-Encoding, …) cannot be set",
)
_UNIQUE = rule(
    "self.all(h, self.exists_one(g, g.name.lowerAscii() == h.name.lowerAscii()))",
    "each header can be set once; upper and lower case make no difference",
)


class HttpHeader(ApiModel):
    """A request header. Its value can be read by everybody who reads the resource: secrets go into headersFrom."""

    name: Annotated[HeaderName, Field(json_schema_extra=rules(_NO_RESERVED))] = Field(description="Name of the header.")
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
