"""Host and headers of the operator's HTTP requests: of checks, of measuring requests and of the drain."""

from pydantic import Field

from resilience.api.base import ApiModel, list_map, rule, rules
from resilience.api.scalars import HeaderName, HeaderValue, HttpHost

_UNIQUE = rule(
    "self.all(h, self.exists_one(g, g.name.lowerAscii() == h.name.lowerAscii()))",
    "each header can be set once; upper and lower case make no difference",
)


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
