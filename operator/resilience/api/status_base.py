"""Parts of every status: times, and fields that never cause a write by themselves."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, WithJsonSchema

from resilience.api.base import ApiModel
from resilience.api.scalars import Duration


def format_time(value: datetime) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def format_micro_time(value: datetime) -> str:
    """RFC 3339 in UTC with the six digits that the API's MicroTime requires."""
    return format_time(value).replace("Z", "000Z")


Time = Annotated[
    datetime,
    PlainSerializer(format_time, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


_VOLATILE: dict[str, Any] = {"volatile": True}


def volatile(**kwargs: Any) -> Any:
    """A field whose change alone is no reason to write status."""
    return Field(json_schema_extra=_VOLATILE, **kwargs)


class Requests(ApiModel):
    """Requests that the operator sent through the Service while pods were replaced."""

    sent: int = Field(description="Requests sent.")
    failed: int = Field(description="Requests that failed.")
    p99: Duration | None = Field(default=None, description="Latency that 99 of 100 requests did not exceed.")
