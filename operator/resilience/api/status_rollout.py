"""Status of rollouts: the current step, the reason of a failure, and the result of the last one."""

from pydantic import Field

from resilience.api.base import ApiModel, list_map
from resilience.api.reasons import (
    FailureClass,
    RolloutOutcome,
)
from resilience.api.scalars import Duration, Text
from resilience.api.status_base import Requests, Time, volatile


class Version(ApiModel):
    """A pod template in short."""

    hash: Text = Field(description="Fingerprint of the pod template; the same template has the same one everywhere.")
    image: Text = Field(description="Image of the main container.")


class FailureStatus(ApiModel):
    """Failure of a release, and the action to take."""

    class_: FailureClass = Field(alias="class")
    reason: Text = Field(description="Observation, as one CamelCase word.")
    message: Text = Field(default="", description="Observation, in words.")
    advice: Text = Field(default="", description="Action that a person can take.")
    version: Version = Field(
        description="Version that failed; it is not retried until it changes or a retry is requested."
    )
    at: Time = Field(description="When.")


class StepTime(ApiModel):
    """A step of a release."""

    name: Text = Field(description="Name of the step.")
    since: Time = Field(description="Time of the start.")


class FailingCheck(ApiModel):
    """A check of the gate `after` that failed before the candidate got traffic."""

    name: Text = Field(description="Name of the check.")
    reason: Text = Field(description="Reason, as one CamelCase word.")
    figure: Text | None = Field(default=None, description="Number that it measured, if it measures one.")
    components: list[Text] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Components that were unhealthy, if it reads components.",
    )


class FailedBefore(ApiModel):
    """Failures just before the candidate got traffic. The same ones afterwards do not roll it back."""

    requests: Text = Field(default="", description="Failure of the measured requests; empty when they passed.")
    checks: list[FailingCheck] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra=list_map("name"),
        description="Checks of the gate `after` that were Unhealthy.",
    )


class RolloutStatus(ApiModel):
    """State of the workload's rollout. `candidate` is set only while one is in flight."""

    step: Text = Field(default="", description="Current step of the rollout.")
    progress: int = volatile(default=0, description="Progress, in percent.")
    message: Text = Field(default="", description="Cause of the current wait.")
    trace_id: Text | None = Field(default=None, description="Trace id of this release in logs and Events.")
    started_at: Time | None = Field(default=None, description="Time of the start.")
    serving: Version | None = None
    candidate: Version | None = None
    failure: FailureStatus | None = None
    aborted: bool = Field(default=False, description="True once a person requested to abort it.")
    pins_lost: int = volatile(
        default=0, description="Number of times that a pin was removed from a Service during this release."
    )
    failed_before: FailedBefore | None = Field(
        default=None, description="Failures just before the candidate got traffic, which do not roll it back."
    )
    resumed_by: Text | None = Field(
        default=None,
        description="Field manager that resumed the Deployment during this release, as far as it is known.",
    )
    pods_ended: int = Field(
        default=0,
        description="Old pods that the Deployment controller ended by itself, because somebody resumed the Deployment.",
    )
    requests: Requests | None = volatile(default=None)
    kept_connections: int | None = volatile(
        default=None, description="Connections that clients keep to the previous version, when known."
    )
    kept_connections_cut: int | None = Field(
        default=None, description="Connections still open when their pods ended; absent when unknown."
    )
    steps: list[StepTime] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="The steps so far.",
    )


class StepDuration(ApiModel):
    """Duration of a step of a release."""

    name: Text = Field(description="Name of the step.")
    duration: Duration = Field(description="Duration of the step.")


class RolloutResult(ApiModel):
    """Result of the last release."""

    result: RolloutOutcome
    trace_id: Text = Field(description="Trace id of this release in logs and Events.")
    from_: Version | None = Field(default=None, alias="from")
    to: Version
    reason: Text = Field(default="", description="Reason of the outcome, as one CamelCase word.")
    message: Text = Field(default="", description="Explanation of the outcome.")
    pods_ended: int = Field(
        default=0,
        description="Old pods that the Deployment controller ended by itself, because somebody resumed the Deployment.",
    )
    started_at: Time = Field(description="Time of the start.")
    duration: Duration = Field(description="Duration of the release.")
    requests: Requests | None = None
    kept_connections_cut: int | None = Field(
        default=None, description="Connections still open when their pods ended; absent when unknown."
    )
    steps: list[StepDuration] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Duration of each step.",
    )
