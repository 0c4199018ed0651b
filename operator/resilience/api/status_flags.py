"""Status of degradation flags, and of replays of dead letters."""

from typing import Any

from pydantic import Field

from resilience.api.base import ApiModel
from resilience.api.reasons import (
    FlagState,
)
from resilience.api.scalars import Text
from resilience.api.status_base import Time, volatile


def _former_name() -> Any:
    """The field `on` of the version before, which its own status and this version still read and no longer write.

    In YAML 1.1 the key is a boolean. `active` takes its value, for a model is also filled by the names of its fields.
    """
    return volatile(default=None, alias="on", exclude=True, description="Former name of active; no longer written.")


class OverrideStatus(ApiModel):
    """Value of a flag that a person set."""

    on: bool = Field(default=False, alias="active", description="The value.")
    former_on: bool | None = _former_name()
    until: Time = Field(description="Time at which the override ends.")


class FlagStatus(ApiModel):
    """A degradation flag."""

    name: Text = Field(description="Name of the flag.")
    state: FlagState = FlagState.NORMAL
    on: bool = Field(default=False, alias="active", description="True while applications are told to degrade.")
    former_on: bool | None = _former_name()
    mode: Text = Field(default="", description="Fallback of applications while the flag is on.")
    since: Time = Field(description="Time since which this state is published.")
    reason: Text = Field(default="", description="Reason, as one CamelCase word.")
    message: Text = volatile(default="", description="Explanation of the state.")
    problem: Text = Field(default="", description="Error in its override; empty when there is none.")
    degraded_since: Time | None = Field(default=None, description="Time at which its dependency was lost.")
    override: OverrideStatus | None = None


class FlagsStatus(ApiModel):
    """Published content of the flags, the same in every channel."""

    version: int = Field(description="Version that grows with every change.")
    updated_at: Time = Field(description="Time of the last change.")
    config_map: Text = Field(description="Name of the ConfigMap.")
    problem: Text = Field(default="", description="Reason for which it cannot be published; empty when it is.")


class ReplayStatus(ApiModel):
    """A running or ended replay of dead letters."""

    check: Text = Field(description="Name of the redisStream check.")
    request: Text = Field(
        default="", description="Value of the request that started it; empty when it started by itself."
    )
    started_at: Time = Field(description="Time of the start.")
    finished_at: Time | None = Field(default=None, description="Time of the end; absent while it runs.")
    replayed: int = volatile(
        default=0, description="Entries put back, as far as they are known: the answer to a batch may be lost."
    )
    left: int = volatile(
        default=0, description="Entries still in the dead-letter stream: at the end those that are older than maxAge."
    )
    returns: int = Field(
        default=0, description="Automatic replays in a row of which entries came back; each waits longer."
    )
    message: Text = Field(default="", description="Result, or what the replay waits for.")
