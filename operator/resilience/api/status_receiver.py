"""Status of an `AlertReceiver`: the messages that it got, which is all that a new leader needs to continue."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from resilience.api.base import ApiModel, list_map
from resilience.api.reasons import Severity
from resilience.api.scalars import Duration, Text
from resilience.api.status import Condition, Handled
from resilience.api.status_base import Time, volatile


class ToldAlert(ApiModel):
    """An alert that the receiver was told of."""

    alert: Text = Field(description="namespace/service/name/subject.")
    severity: Severity = Field(description="What was told.")
    cause: Text = Field(default="", description="What it has in common with others.")
    since: Time = Field(description="When it began.")
    told_at: Time = Field(description="When it was told as firing.")
    ended_at: Time | None = Field(default=None, description="When it was seen to be over.")
    end_told: bool = Field(default=False, description="Whether its end was told.")
    end_unsure: bool = Field(default=False, description="Whether its end was about to be told, and may have been.")
    returns: int = Field(default=0, description="How often it came back without being told again.")


class GroupLabel(ApiModel):
    """A label that all alerts of a conversation have in common."""

    name: Text = Field(description="Name of the label.")
    value: Text = Field(default="", description="Its value.")


class Conversation(ApiModel):
    """What the receiver sees as one incident."""

    id: Text = Field(description="Identity of it at the receiver, e.g. PagerDuty's dedup_key.")
    title: Text = Field(default="", description="What it is about.")
    group: list[GroupLabel] = Field(
        default_factory=list,
        max_length=8,
        json_schema_extra=list_map("name"),
        description="What its alerts have in common.",
    )
    began_at: Time = Field(description="When the oldest of what it was opened for began.")
    opened_at: Time = Field(description="When it was first told.")
    sent_at: Time = Field(description="When something was last told.")
    messages: int = Field(default=1, description="How much was told.")
    suppressed: int = volatile(default=0, description="Repeats since the last message.")
    suppress_for: Duration = Field(
        default=timedelta(minutes=5), description="How long something has to be quiet to be forgotten."
    )
    handle: Text = Field(default="", description="The receiver's own name of the message that is kept up to date.")
    told: list[ToldAlert] = Field(
        default_factory=list,
        max_length=500,
        json_schema_extra=list_map("alert"),
        description="Its alerts.",
    )


class Announced(ApiModel):
    """A conversation whose first message may or may not have arrived."""

    id: Text = Field(description="Identity of it at the receiver.")
    title: Text = Field(default="", description="What it is about.")
    group: list[GroupLabel] = Field(
        default_factory=list,
        max_length=8,
        json_schema_extra=list_map("name"),
        description="What its alerts have in common.",
    )
    began_at: Time = Field(description="When the oldest of its alerts began.")
    severity: Severity
    alerts: list[Text] = Field(
        max_length=100,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="namespace/service/name/subject of each.",
    )


class DeadLetter(ApiModel):
    """An alert that the receiver could not be told of in time."""

    alert: Text = Field(description="namespace/service/name/subject.")
    severity: Severity
    since: Time = Field(description="When it began.")
    message: Text = Field(default="", description="What was seen.")
    ended_at: Time | None = Field(default=None, description="When it was over, if it is.")


class Failure(ApiModel):
    """Why the last delivery failed."""

    at: Time = volatile(description="When it was tried last.")
    since: Time = Field(description="Since when nothing gets through.")
    message: Annotated[str, Field(max_length=1024)] = Field(description="Why it failed.")
    permanent: bool = Field(default=False, description="Whether it needs a person: trying again would not help.")
    tries: int = volatile(default=1, description="Tries in a row that failed.")


class ReceiverStatus(ApiModel):
    """Written by the operator only."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the resource that this status is about."
    )
    conditions: list[Condition] = Field(
        default_factory=list, max_length=8, json_schema_extra=list_map("type"), description="Conditions."
    )
    summary: Text = Field(default="", description="Conversations that are open, in a few words.")
    last_success: Time | None = volatile(default=None, description="When a delivery last succeeded.")
    failure: Failure | None = None
    delivered: int = volatile(default=0, description="Messages delivered.")
    failed: int = volatile(default=0, description="Deliveries that failed.")
    dead: int = volatile(default=0, description="Alerts that could not be told in time.")
    conversations: list[Conversation] = Field(
        default_factory=list, max_length=100, json_schema_extra=list_map("id"), description="What goes on."
    )
    announced: list[Announced] = Field(
        default_factory=list,
        max_length=20,
        json_schema_extra=list_map("id"),
        description="What was about to be told; it stays until it is known whether that arrived.",
    )
    dead_letters: list[DeadLetter] = Field(
        default_factory=list,
        max_length=50,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="What could not be told, newest last.",
    )
    handled: list[Handled] = Field(
        default_factory=list,
        max_length=8,
        json_schema_extra=list_map("request"),
        description="Requests that have been dealt with.",
    )
