"""Objectives: the availability of a service over a period, and the time within which it has to recover."""

from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from resilience.api.base import ApiModel, rule, rules, validated
from resilience.api.rules import at_least, at_most
from resilience.api.scalars import Duration, format_duration

LONGEST_WINDOW: Final = timedelta(days=90)
_AVAILABILITY: Final = r"^[5-9][0-9](\.[0-9]{1,4})?%$"


def _below_one(text: str) -> str:
    if float(text.removesuffix("%")) >= 100:
        raise ValueError("an availability of 100% leaves no error budget; write 99.9%")
    return text


Availability = Annotated[
    str,
    AfterValidator(_below_one),
    Field(
        max_length=9,
        pattern=_AVAILABILITY,
        json_schema_extra=rules(
            rule(f"self.matches(r'{_AVAILABILITY}')", "write an availability from 50% to 99.9999%, e.g. 99.9%")
        ),
    ),
]


class Slo(ApiModel):
    """Objectives, measured by the operator's own checks; a query can measure what clients saw instead."""

    model_config = validated(
        at_least("window", "1h"), at_most("window", format_duration(LONGEST_WINDOW)), at_least("recoveryTime", "1s")
    )

    availability: Availability = Field(description="Share of the window without an outage, e.g. 99.9%.")
    window: Duration = Field(default=timedelta(hours=720), description="Sliding window; at most 90 days.")
    recovery_time: Duration | None = Field(default=None, description="Longest time that one outage may last.")
    query: Annotated[str, Field(min_length=1, max_length=2048)] | None = Field(
        default=None,
        description="PromQL for the availability over the window, 0 to 1, as clients saw it; every selector is limited"
        " to this namespace.",
    )
