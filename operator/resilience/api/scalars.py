"""Scalar types of the API: durations as Go writes them, ports by number or name, names and paths.

Each has its own CRD schema, so that the API server refuses values that the operator could not read.
"""

import re
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainSerializer, StringConstraints, WithJsonSchema

from resilience.api.base import rule, rules

_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
# The digits are bounded so that no duration overflows where it is read.
_LONGEST_MILLISECONDS: Final = 999_999 * 3_600_000
DURATION_PATTERN: Final = r"^([0-9]{1,6}(\.[0-9]{1,3})?(ms|s|m|h))+$"
# At most the characters of an RFC 6335 service name, and never digits only: those are a number in quotes.
_PORT_RULE: Final = (
    "type(self) == int ? self >= 1 && self <= 65535 : self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')"
    " && self.matches('[a-z]')"
)


def parse_duration(value: object) -> timedelta:
    """A Go duration (`90s`, `1h30m`, `500ms`) as a timedelta; a timedelta passes through.

    Raises:
        ValueError: the text is not a duration, or has a unit that is not ms, s, m or h.
    """
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.fullmatch(DURATION_PATTERN, value):
        raise ValueError(f"{value!r} is not a duration; write it as 90s, 5m or 1h30m")
    return sum((float(number) * _UNITS[unit] for number, unit in _PART.findall(value)), timedelta())


def format_duration(value: timedelta) -> str:
    """The shortest Go duration of the same length, to the millisecond: `90s` becomes `1m30s`."""
    # A clock that was set back must not give a negative duration; the longest one can still be parsed.
    milliseconds = min(max(round(value / timedelta(milliseconds=1)), 0), _LONGEST_MILLISECONDS)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    seconds, rest = divmod(milliseconds, 1000)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    fraction = f".{rest:03d}".rstrip("0") if rest else ""
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if minutes else ""
    return text + (f"{seconds}{fraction}s" if seconds or rest else "")


def _matching(pattern: str, message: str) -> dict[str, str]:
    """The CEL twin of a pattern: clients check the pattern offline, people read the message."""
    return rule(f"self.matches(r'{pattern}')", message)


def _hint(pattern: str, message: str) -> Any:
    return Field(json_schema_extra=rules(_matching(pattern, message)))


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": DURATION_PATTERN,
            "maxLength": 20,
            **rules(_matching(DURATION_PATTERN, "write a duration as 500ms, 90s, 5m or 1h30m; days as hours")),
        }
    ),
]


def _parse_port(value: Any) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{value!r} is not a port; give a number or a port's name")
    return value


Port = Annotated[
    int | str,
    BeforeValidator(_parse_port),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "maxLength": 63,
            **rules(rule(_PORT_RULE, "write a port as a number from 1 to 65535, without quotes, or as a port's name")),
        }
    ),
]

_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_LABEL_KEY: Final = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$"
_OBJECT_NAME: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
_HTTP_PATH: Final = r"^/[^\s]*$"
_SECRET_KEY: Final = r"^[-._a-zA-Z0-9]+$"
PERCENT_PATTERN: Final = r"^[0-9]{1,3}(\.[0-9]{1,2})?%$"
_AMOUNT: Final = r"^([0-9]{1,3}(\.[0-9]{1,2})?%|[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?)$"
_HOST_PORT: Final = r"^([a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$"
_HTTP_URL: Final = (
    r"^https?://([a-zA-Z0-9]([-a-zA-Z0-9_.]*[a-zA-Z0-9])?|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?([/?][^\s#]*)?$"
)
_HTTP_HOST: Final = r"^([a-zA-Z0-9_]([-a-zA-Z0-9_.]*[a-zA-Z0-9_])?|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?$"
# Host has a field of its own; the others belong to one connection, or say where a request ends.
_RESERVED_HEADERS: Final = (
    "host|connection|keep-alive|proxy-authenticate|proxy-authorization|proxy-connection|te|trailer|transfer-encoding"
    "|upgrade|content-length"
)
_NO_RESERVED_HEADER: Final = rule(
    f"!self.matches('(?i)^({_RESERVED_HEADERS})$')",
    "set host instead of a header Host; headers of a connection (Connection, Transfer-Encoding, …) cannot be set",
)
# As in kubelet probes.
_HEADER_NAME: Final = r"^[-A-Za-z0-9]+$"
_HEADER_VALUE: Final = r"^([!-~]([ -~]*[!-~])?)?$"
DECIMAL_PATTERN: Final = r"^-?[0-9]+(\.[0-9]+)?$"

# An RFC 1123 label, the form of check, flag and policy names.
Label = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63, pattern=_LABEL),
    _hint(_LABEL, "use lower-case letters, digits and '-', with a letter or digit at both ends"),
]
# A label key, with or without a prefix.
LabelKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=317, pattern=_LABEL_KEY),
    _hint(_LABEL_KEY, "give the key of a label alone, such as serve or example.com/serve, without its value"),
]
# Names of workloads and Services (RFC 1123 subdomain).
ObjectName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253, pattern=_OBJECT_NAME),
    _hint(_OBJECT_NAME, "give the object's name alone, in lower case, without kind or namespace"),
]
HttpPath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024, pattern=_HTTP_PATH),
    _hint(_HTTP_PATH, "write only the path: it begins with '/' and has no spaces"),
]
SecretKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253, pattern=_SECRET_KEY),
    _hint(_SECRET_KEY, "a key of a Secret has only letters, digits, '-', '_' and '.'"),
]
# A number as text: Kubernetes' own types have no fractions, and clients round floating point in their own ways.
Decimal = Annotated[
    str,
    StringConstraints(min_length=1, max_length=32, pattern=DECIMAL_PATTERN),
    _hint(DECIMAL_PATTERN, 'write a number as text, in quotes: "0.05"'),
]
# A share of something.
Percent = Annotated[
    str,
    StringConstraints(min_length=2, max_length=7, pattern=PERCENT_PATTERN),
    _hint(PERCENT_PATTERN, 'write a share as text with a percent sign: "80%"'),
]
# A share of something, or an amount in Kubernetes' own notation.
Amount = Annotated[
    str,
    StringConstraints(min_length=1, max_length=32, pattern=_AMOUNT),
    _hint(_AMOUNT, 'write a share ("90%") or an amount ("512Mi", "750m")'),
]
HostPort = Annotated[
    str,
    StringConstraints(min_length=3, max_length=259, pattern=_HOST_PORT),
    _hint(_HOST_PORT, "write an address as host:port, without a scheme"),
]
HttpUrl = Annotated[
    str,
    StringConstraints(min_length=8, max_length=1024, pattern=_HTTP_URL),
    _hint(_HTTP_URL, "write a whole http or https address, without user and password; those go into headersFrom"),
]
HttpHost = Annotated[
    str,
    StringConstraints(min_length=1, max_length=259, pattern=_HTTP_HOST),
    _hint(
        _HTTP_HOST,
        "write a name as clients do, without a scheme: shop.example.org, or shop.example.org:8080",
    ),
]
HeaderName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63, pattern=_HEADER_NAME),
    Field(
        json_schema_extra=rules(
            _matching(_HEADER_NAME, "the name of a header has only letters, digits and '-'"), _NO_RESERVED_HEADER
        )
    ),
]
HeaderValue = Annotated[
    str,
    StringConstraints(max_length=1024, pattern=_HEADER_VALUE),
    _hint(_HEADER_VALUE, "the value of a header is one line of ASCII, without spaces around it"),
]
Text = Annotated[str, Field(max_length=1024)]
