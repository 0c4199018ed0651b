"""Status of degradation flags, and of replays of dead letters."""

from pydantic import Field

from resilience.api.base import ApiModel
from resilience.api.reasons import (
    FlagState,
)
from resilience.api.scalars import Text
from resilience.api.status_base import Time, volatile


class OverrideStatus(ApiModel):
    """What a person set a flag to."""

    on: bool = Field(description="The value.")
    until: Time = Field(description="When it ends.")


class FlagStatus(ApiModel):
    """A degradation flag."""

    name: Text = Field(description="Name of the flag.")
    state: FlagState = FlagState.NORMAL
    on: bool = Field(default=False, description="What applications are told.")
    mode: Text = Field(default="", description="What they fall back to while it is on.")
    since: Time = Field(description="Since when they are told so.")
    reason: Text = Field(default="", description="Why, in one CamelCase word.")
    message: Text = volatile(default="", description="Why it stands where it stands, in words.")
    problem: Text = Field(default="", description="What is wrong with its override; empty when nothing is.")
    degraded_since: Time | None = Field(default=None, description="When what it depends on was lost.")
    override: OverrideStatus | None = None


class FlagsStatus(ApiModel):
    """What is published of the flags, the same in every channel."""

    version: int = Field(description="Grows with every change.")
    updated_at: Time = Field(description="When it last changed.")
    config_map: Text = Field(description="Name of the ConfigMap.")
    problem: Text = Field(default="", description="Why it cannot be published; empty when it is.")


class ReplayStatus(ApiModel):
    """Dead letters that go back to their stream, or went."""

    check: Text = Field(description="Name of the redisStream check.")
    request: Text = Field(
        default="", description="Value of the request that asked for it; empty when it began by itself."
    )
    started_at: Time = Field(description="When it began.")
    finished_at: Time | None = Field(default=None, description="When it ended; absent while it runs.")
    replayed: int = volatile(
        default=0, description="Entries put back, as far as they are known: the answer to a batch may be lost."
    )
    left: int = volatile(
        default=0, description="Entries still in the dead-letter stream: at the end those that are older than maxAge."
    )
    returns: int = Field(
        default=0, description="Automatic replays in a row of which entries came back; each waits longer."
    )
    message: Text = Field(default="", description="How it went, or what it waits for.")
