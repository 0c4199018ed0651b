"""Degradation flags: notices to an application that one of its dependencies is lost."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from resilience.api.base import ApiModel, list_map, validated
from resilience.api.rules import at_least
from resilience.api.scalars import Duration, Label


class Preset(StrEnum):
    """A named set of thresholds; see docs/concepts/degradation.md."""

    CIRCUIT_BREAKER = "CircuitBreaker"


class Flag(ApiModel):
    """On while a dependency is lost. Unset values come from the preset, else from the defaults."""

    model_config = validated(at_least("minDegraded", "1s"))

    name: Label = Field(description="Unique name; the key by which the application reads it.")
    check: Label = Field(description="Name of a check of scope Dependency.")
    mode: Label = Field(
        default="degraded", description="Fallback of the application while the flag is on, e.g. memory."
    )
    preset: Preset | None = Field(default=None, description="CircuitBreaker: 5 failures, at least 60s, 2 successes.")
    failure_threshold: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None, description="Failures in a row that turn it on; default 3."
    )
    success_threshold: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None, description="Successes in a row that turn it off; default 5."
    )
    min_degraded: Duration | None = Field(default=None, description="Shortest time that it stays on; default 30s.")


class Degradation(ApiModel):
    """Degradation flags that are published to the application."""

    flags: list[Flag] = Field(
        default_factory=list, max_length=16, json_schema_extra=list_map("name"), description="The flags."
    )
