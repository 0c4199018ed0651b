"""Status of rollouts: the current step, the reason of a failure, and the result of the last one."""

from pydantic import Field

from resilience.api.base import ApiModel
from resilience.api.reasons import (
    FailureClass,
    RolloutOutcome,
)
from resilience.api.scalars import Duration, Text
from resilience.api.status_base import Requests, Time, volatile


class Version(ApiModel):
    """A pod template in short."""

    hash: Text = Field(description="Fingerprint of the pod template; the same template has the same one everywhere.")
    image: Text = Field(description="Image of the container that counts.")


class FailureStatus(ApiModel):
    """Why a release failed, and what to do."""

    class_: FailureClass = Field(alias="class")
    reason: Text = Field(description="What was seen, in one CamelCase word.")
    message: Text = Field(default="", description="What was seen, in words.")
    advice: Text = Field(default="", description="What a person can do about it.")
    version: Version = Field(description="What failed; it is not tried again until it changes or retry is asked for.")
    at: Time = Field(description="When.")


class StepTime(ApiModel):
    """A step of a release."""

    name: Text = Field(description="Name of the step.")
    since: Time = Field(description="When it began.")


class RolloutStatus(ApiModel):
    """Where the workload's rollout stands. `candidate` is there only while one is in flight."""

    step: Text = Field(default="", description="What the rollout does now.")
    progress: int = volatile(default=0, description="How far it is, in percent.")
    message: Text = Field(default="", description="What it waits for.")
    trace_id: Text | None = Field(default=None, description="Identity of this release in logs and Events.")
    started_at: Time | None = Field(default=None, description="When it began.")
    serving: Version | None = None
    candidate: Version | None = None
    failure: FailureStatus | None = None
    aborted: bool = Field(default=False, description="Whether a person asked to stop it.")
    pins_lost: int = volatile(default=0, description="How often somebody took a pin off a Service meanwhile.")
    requests: Requests | None = volatile(default=None)
    kept_connections: int | None = volatile(
        default=None, description="Connections that clients keep to what served before, when known."
    )
    kept_connections_cut: int | None = Field(
        default=None, description="Connections still open when their pods went; absent when nobody could say."
    )
    steps: list[StepTime] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="The steps so far.",
    )


class StepDuration(ApiModel):
    """How long a step of a release took."""

    name: Text = Field(description="Name of the step.")
    duration: Duration = Field(description="How long it took.")


class RolloutResult(ApiModel):
    """How the last release ended."""

    result: RolloutOutcome
    trace_id: Text = Field(description="Identity of this release in logs and Events.")
    from_: Version | None = Field(default=None, alias="from")
    to: Version
    reason: Text = Field(default="", description="Why it ended so, in one CamelCase word.")
    message: Text = Field(default="", description="Why it ended so, in words.")
    started_at: Time = Field(description="When it began.")
    duration: Duration = Field(description="How long it took.")
    requests: Requests | None = None
    kept_connections_cut: int | None = Field(
        default=None, description="Connections still open when their pods went; absent when nobody could say."
    )
    steps: list[StepDuration] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="How long each step took.",
    )
