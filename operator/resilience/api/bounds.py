"""Bounds of the figures that checks measure, by severity: a warning is never an outage, what is critical is."""

from typing import Annotated

from pydantic import Field

from resilience.api.base import ApiModel, rule, validated
from resilience.api.rules import at_least, compared, ordered
from resilience.api.scalars import Decimal, Duration

_NEVER = "no value would pass: what is above `above` or below `below` is out of bounds; swap the two bounds"
_FIRST = "a warning comes first: warning has to be nearer to the good values than critical"
_ANY = rule("has(self.warning) || has(self.critical)", "bounds are missing: set warning, critical or both")
_Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
# Validations of a model with `warning` and `critical` for a number.
BY_SEVERITY = (
    ordered("warning.above", "critical.above", _FIRST),
    ordered("critical.below", "warning.below", _FIRST),
    ordered("critical.below", "warning.above", _NEVER),
    ordered("warning.below", "critical.above", _NEVER),
)
# The same, of a model in which `above` and `below` are short for those of `critical`.
WITH_SHORT_FORM = (
    *BY_SEVERITY,
    rule(
        "!has(self.critical) || !(has(self.above) || has(self.below))",
        "above and below are short for critical.above and critical.below: write them in one place",
    ),
    ordered("below", "above", _NEVER),
    ordered("warning.above", "above", _FIRST),
    ordered("below", "warning.below", _FIRST),
    ordered("below", "warning.above", _NEVER),
    ordered("warning.below", "above", _NEVER),
)


class Bounds(ApiModel):
    """Bounds of a number. A number that equals a bound is within it."""

    model_config = validated(
        rule("has(self.above) || has(self.below)", "bounds are missing: set above, below or both"),
        ordered("below", "above", _NEVER),
    )

    above: Decimal | None = Field(default=None, description="A number above this is out of bounds.")
    below: Decimal | None = Field(default=None, description="A number below this is out of bounds.")


class NumberBounds(ApiModel):
    """Bounds of a number by severity."""

    model_config = validated(_ANY, *BY_SEVERITY)

    warning: Bounds | None = Field(default=None, description="Warning out of these bounds; none by default.")
    critical: Bounds | None = Field(default=None, description="Unhealthy out of these bounds; none by default.")


class DurationBounds(ApiModel):
    """Longest times by severity."""

    model_config = validated(
        _ANY, compared("warning", "<=", "critical", _FIRST), at_least("warning", "1ms"), at_least("critical", "1ms")
    )

    warning: Duration | None = Field(default=None, description="Warning above this.")
    critical: Duration | None = Field(default=None, description="Unhealthy above this.")


class CountBounds(ApiModel):
    """Largest counts by severity."""

    model_config = validated(
        _ANY, rule("!has(self.warning) || !has(self.critical) || self.warning <= self.critical", _FIRST)
    )

    warning: _Count | None = Field(default=None, description="Warning above this.")
    critical: _Count | None = Field(default=None, description="Unhealthy above this.")
