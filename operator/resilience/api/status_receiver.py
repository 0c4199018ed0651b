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
    """An alert of which the receiver was notified."""

    alert: Text = Field(description="namespace/service/name/subject.")
    severity: Severity = Field(description="Severity that was last sent.")
    cause: Text = Field(default="", description="Cause that it shares with others.")
    since: Time = Field(description="Time at which the alert started.")
    told_at: Time = Field(description="Time at which it was sent as firing.")
    ended_at: Time | None = Field(default=None, description="Time at which the alert was observed to be over.")
    end_told: bool = Field(default=False, description="True once its end was sent.")
    end_unsure: bool = Field(default=False, description="True when its end was about to be sent, and may have arrived.")
    returns: int = Field(default=0, description="Number of times that it came back without a notification.")


class GroupLabel(ApiModel):
    """A label that all alerts of a conversation have in common."""

    name: Text = Field(description="Name of the label.")
    value: Text = Field(default="", description="Its value.")


class Conversation(ApiModel):
    """A group of alerts that the receiver shows as one incident."""

    id: Text = Field(description="Identity of the conversation at the receiver, e.g. PagerDuty's dedup_key.")
    title: Text = Field(default="", description="Subject of the conversation.")
    group: list[GroupLabel] = Field(
        default_factory=list,
        max_length=8,
        json_schema_extra=list_map("name"),
        description="Labels that its alerts have in common.",
    )
    began_at: Time = Field(description="Start of the oldest alert that it was opened for.")
    opened_at: Time = Field(description="Time of the first message.")
    sent_at: Time = Field(description="Time of the last message.")
    messages: int = Field(default=1, description="Number of messages that were delivered.")
    suppressed: int = volatile(default=0, description="Repeats since the last message.")
    suppress_for: Duration = Field(
        default=timedelta(minutes=5), description="Time after which an alert that does not come back is forgotten."
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

    id: Text = Field(description="Identity of the conversation at the receiver.")
    title: Text = Field(default="", description="Subject of the conversation.")
    group: list[GroupLabel] = Field(
        default_factory=list,
        max_length=8,
        json_schema_extra=list_map("name"),
        description="Labels that its alerts have in common.",
    )
    began_at: Time = Field(description="Start of the oldest of its alerts.")
    severity: Severity
    alerts: list[Text] = Field(
        max_length=100,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="namespace/service/name/subject of each.",
    )


class DeadLetter(ApiModel):
    """An alert that could not be delivered to the receiver in time."""

    alert: Text = Field(description="namespace/service/name/subject.")
    severity: Severity
    since: Time = Field(description="Time at which the alert started.")
    message: Text = Field(default="", description="Observation, in words.")
    ended_at: Time | None = Field(default=None, description="Time at which the alert was over, if it is.")


class Failure(ApiModel):
    """Failure of the last delivery."""

    at: Time = volatile(description="Time of the last try.")
    since: Time = Field(description="Time since which no delivery succeeds.")
    message: Annotated[str, Field(max_length=1024)] = Field(description="Reason of the failure.")
    permanent: bool = Field(default=False, description="True when only a person can help: a retry would not.")
    tries: int = volatile(default=1, description="Failed tries in a row.")


class ReceiverStatus(ApiModel):
    """Written by the operator only."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the resource that this status is about."
    )
    conditions: list[Condition] = Field(
        default_factory=list, max_length=8, json_schema_extra=list_map("type"), description="Conditions."
    )
    summary: Text = Field(default="", description="Conversations that are open, in a few words.")
    last_success: Time | None = volatile(default=None, description="Time of the last successful delivery.")
    failure: Failure | None = None
    delivered: int = volatile(default=0, description="Messages delivered.")
    failed: int = volatile(default=0, description="Deliveries that failed.")
    dead: int = volatile(default=0, description="Alerts that could not be delivered in time.")
    conversations: list[Conversation] = Field(
        default_factory=list,
        max_length=100,
        json_schema_extra=list_map("id"),
        description="Conversations that are open.",
    )
    announced: list[Announced] = Field(
        default_factory=list,
        max_length=20,
        json_schema_extra=list_map("id"),
        description="Messages that were about to be sent; they stay until it is known whether they arrived.",
    )
    dead_letters: list[DeadLetter] = Field(
        default_factory=list,
        max_length=50,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Alerts that could not be delivered, newest last.",
    )
    handled: list[Handled] = Field(
        default_factory=list,
        max_length=8,
        json_schema_extra=list_map("request"),
        description="Requests that have been handled.",
    )
