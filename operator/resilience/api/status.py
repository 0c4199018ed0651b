"""Status of a `ResilientService`: what is going on, why, what blocks it and when it is looked at again.

`volatile` marks fields that ride on a write but never cause one: latencies, counts and times.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, WithJsonSchema

from resilience.api.base import ApiModel, list_map
from resilience.api.reasons import (
    FailureClass,
    FlagState,
    HealthState,
    Phase,
    ReplaceStep,
    RestartOutcome,
    RolloutOutcome,
)
from resilience.api.scalars import Duration, Text


def format_time(value: datetime) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"


def format_micro_time(value: datetime) -> str:
    """RFC 3339 in UTC with the six digits that the API's MicroTime wants."""
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


class Condition(ApiModel):
    """A condition as in the Kubernetes API conventions; True of Stalled and Reconciling means what kstatus means."""

    type: Text = Field(description="Type of the condition, in CamelCase.")
    status: Text = Field(description="True, False or Unknown.")
    observed_generation: int | None = Field(
        default=None, description="Generation of the resource that this was said about."
    )
    last_transition_time: Time = Field(description="When status last changed.")
    reason: Text = Field(description="Why, in one CamelCase word for machines.")
    message: Annotated[str, Field(max_length=4096)] = Field(default="", description="Why, in words for people.")


class ComponentStatus(ApiModel):
    """A part of the application, as its own health body tells of it."""

    name: Text = Field(description="Name of the part.")
    state: HealthState
    message: Text = volatile(default="", description="What the application says of it.")


class CheckStatus(ApiModel):
    """What a check found. For scope Pod the worst pod's state, with how many agree."""

    name: Text = Field(description="Name of the check.")
    state: HealthState
    reason: Text = Field(default="", description="Why, in one CamelCase word.")
    message: Text = Field(default="", description="What was seen.")
    since: Time | None = volatile(default=None, description="When the state was entered.")
    latency: Duration | None = volatile(default=None, description="How long the last run took.")
    failures: int | None = volatile(default=None, description="Runs that failed, since this operator knows the check.")
    reconnects: int | None = volatile(
        default=None, description="Connections that had to be made anew, for checks that keep one."
    )
    components: list[ComponentStatus] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra=list_map("name"),
        description="Parts of the application, for http checks with components.",
    )


class HealthStatus(ApiModel):
    """Health of the service."""

    state: HealthState = HealthState.UNKNOWN
    checks: list[CheckStatus] = Field(
        default_factory=list, max_length=32, json_schema_extra=list_map("name"), description="What each check found."
    )


class Requests(ApiModel):
    """Requests that the operator sent through the Service while something was replaced."""

    sent: int = Field(description="Requests sent.")
    failed: int = Field(description="Requests that failed.")
    p99: Duration | None = Field(default=None, description="Latency that 99 of 100 requests did not exceed.")


class ReplacementStatus(ApiModel):
    """One pod that is being replaced."""

    name: Text = Field(description="Name of the pod.")
    step: ReplaceStep
    since: Time = Field(description="When the step began.")
    connections: int | None = volatile(default=None, description="Connections that clients kept open, when known.")


class PodReference(ApiModel):
    """A pod that is to be replaced."""

    name: Text = Field(description="Name of the pod.")
    uid: Text = Field(description="Its uid: a StatefulSet makes the name again, but not the pod.")


class RestartStatus(ApiModel):
    """A restart in flight."""

    request: Text = Field(default="", description="Value of the request that asked for it; empty for others.")
    reason: Text = Field(default="", description="Why pods are restarted that nobody asked to restart.")
    policies: list[Text] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Policies that fired.",
    )
    only: list[PodReference] = Field(
        default_factory=list,
        max_length=50,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="The pods to replace, worst first; empty for all.",
    )
    trace_id: Text = Field(description="Identity of this restart in logs and Events.")
    started_at: Time = Field(description="When it began.")
    born_before: Time = Field(description="Pods created up to this moment, by the API server's clock, are replaced.")
    total: int = Field(description="Pods to replace.")
    done: int = Field(default=0, description="Pods replaced.")
    pods: list[ReplacementStatus] = Field(
        default_factory=list, max_length=50, json_schema_extra=list_map("name"), description="In flight now."
    )
    message: Text = Field(default="", description="What it waits for.")
    failure: Text = Field(default="", description="Why it is being given up; empty while it is not.")
    aborted: bool = Field(default=False, description="Whether a person asked to stop it.")
    requests: Requests | None = volatile(default=None)
    kept_connections_cut: int | None = Field(
        default=None, description="Connections still open when their pod was deleted; absent when nobody could say."
    )


class RestartResult(ApiModel):
    """How the last restart ended."""

    request: Text = Field(default="", description="Value of the request that asked for it; empty for others.")
    reason: Text = Field(default="", description="Why pods were restarted that nobody asked to restart.")
    trace_id: Text = Field(description="Identity of this restart in logs and Events.")
    result: RestartOutcome
    message: Text = Field(default="", description="Why it ended so, in words.")
    started_at: Time = Field(description="When it began.")
    duration: Duration = Field(description="How long it took.")
    pods: int = Field(default=0, description="Pods replaced.")
    requests: Requests | None = None
    kept_connections_cut: int | None = Field(
        default=None, description="Connections still open when their pod was deleted; absent when nobody could say."
    )


class PastRestart(ApiModel):
    """A restart by policies, as the limits and the loop breaker remember it."""

    at: Time = Field(description="When it began.")
    policies: list[Text] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Policies that fired.",
    )
    futile: list[Text] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Those of them that fired again soon for pods made since: the restart did not help.",
    )
    failed: bool = Field(default=False, description="Whether no replacement came up.")


class FiringPolicy(ApiModel):
    """A policy that fires."""

    name: Text = Field(description="Name of the policy.")
    pods: int = Field(description="Pods that it fires for.")
    message: Text = volatile(default="", description="The rule, the value and the line, for the worst pod.")
    dry_run: bool = Field(default=False, description="Whether it only says what it would do.")


class ConfigStatus(ApiModel):
    """Content of the objects of restart.onChange that the pods have."""

    fingerprint: Text = Field(description="Hash of the content.")
    changed_at: Time = Field(description="When it was first seen.")


class Attention(ApiModel):
    """A pod that needs somebody's attention."""

    pod: Text = Field(description="Name of the pod.")
    class_: FailureClass = Field(alias="class")
    reason: Text = Field(description="What was seen, in one CamelCase word.")
    message: Text = Field(default="", description="What was seen, in words.")
    advice: Text = Field(default="", description="What a person can do about it.")


class RestartsStatus(ApiModel):
    """Restarts in short: what fires, what holds it back, and what the budget still allows."""

    summary: Text = Field(default="", description="Restarts in a few words.")
    firing: list[FiringPolicy] = Field(
        default_factory=list, max_length=16, json_schema_extra=list_map("name"), description="Policies that fire."
    )
    blocked_by: Text = Field(default="", description="What holds them back, in one CamelCase word.")
    message: Text = Field(default="", description="What holds them back, in words.")
    next_allowed_at: Time | None = volatile(default=None, description="When a policy may restart something again.")
    ahead: int | None = volatile(default=None, description="Services that restart pods before it, while it is Queued.")
    recent: list[PastRestart] = Field(
        default_factory=list,
        max_length=100,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Restarts by policies that cool-down, budget and loop breaker count.",
    )
    config: ConfigStatus | None = None


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
    replayed: int = volatile(default=0, description="Entries put back.")
    left: int = volatile(
        default=0, description="Entries still in the dead-letter stream: at the end those that are older than maxAge."
    )
    returns: int = Field(
        default=0, description="Automatic replays in a row of which entries came back; each waits longer."
    )
    message: Text = Field(default="", description="How it went, or what it waits for.")


class HistoryEntry(ApiModel):
    """Something the operator did."""

    at: Time = Field(description="When.")
    kind: Text = Field(description="What kind of thing was done.")
    result: Text = Field(description="How it ended.")
    message: Text = Field(default="", description="Details, in words.")
    trace_id: Text = Field(default="", description="Identity of it in logs and Events.")
    duration: Duration | None = Field(default=None, description="How long it took.")
    steps: list[StepDuration] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="How long each step took.",
    )


class Handled(ApiModel):
    """The last value of a request that has been dealt with; it is never executed again."""

    request: Text = Field(description="Name of the request.")
    value: Text = Field(description="The value that has been dealt with.")
    at: Time = Field(description="When.")
    note: Text = Field(default="", description="What was done with it.")


class Effective(ApiModel):
    """The profile's defaults resolved: what is in force."""

    interval: Duration = Field(description="Time between two runs of a check.")
    timeout: Duration = Field(description="A run that takes longer has failed.")
    pre_stop: Duration = Field(description="preStop sleep.")
    grace_period: Duration = Field(description="Grace period of the operator's own deletions.")
    propagation_delay: Duration = Field(
        description="Time from a change of a Service's endpoints to every node's rules."
    )
    memory_warning: Text = Field(default="80%", description="Memory of a usage check above this is a warning.")
    memory_critical: Text = Field(default="95%", description="Memory of a usage check above this is unhealthy.")
    uptime: Duration = Field(
        default=timedelta(hours=168), description="Age at which an uptime policy without a value fires."
    )
    cool_down: Duration = Field(
        default=timedelta(minutes=10), description="Least time between two restarts by policies."
    )
    budget_max: int = Field(default=10, description="Restarts that policies may make within budgetPer.")
    budget_per: Duration = Field(default=timedelta(hours=1), description="Span of the budget.")


class Status(ApiModel):
    """Written by the operator only."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the resource that this status is about."
    )
    phase: Phase = Phase.INITIALIZING
    explanation: Annotated[str, Field(max_length=4096)] = Field(
        default="", description="What is going on, why, what blocks it and when it is looked at again."
    )
    effective: Effective | None = None
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra=list_map("type"),
        description="Conditions, as kstatus reads them.",
    )
    health: HealthStatus = Field(default_factory=HealthStatus)
    rollout: RolloutStatus = Field(default_factory=RolloutStatus)
    last_rollout: RolloutResult | None = None
    restart: RestartStatus | None = None
    restarts: RestartsStatus = Field(default_factory=RestartsStatus)
    attention: list[Attention] = Field(
        default_factory=list,
        max_length=20,
        json_schema_extra=list_map("pod"),
        description="Pods that need somebody's attention.",
    )
    last_restart: RestartResult | None = None
    degradation: list[FlagStatus] = Field(
        default_factory=list, max_length=16, json_schema_extra=list_map("name"), description="The degradation flags."
    )
    flags: FlagsStatus | None = None
    replays: list[ReplayStatus] = Field(
        default_factory=list, max_length=32, json_schema_extra=list_map("check"), description="Replays of dead letters."
    )
    history: list[HistoryEntry] = Field(
        default_factory=list,
        max_length=20,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="What was done lately, newest last.",
    )
    handled: list[Handled] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra=list_map("request"),
        description="Requests that have been dealt with.",
    )
