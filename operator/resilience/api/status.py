"""Status of a `ResilientService`: the work in flight, its reason, its blockers and the time of the next pass.

`volatile` marks fields that are written along with others but never cause a write: latencies, counts and times.
"""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from resilience.api.base import ApiModel, list_map
from resilience.api.reasons import (
    HealthState,
    Phase,
)
from resilience.api.scalars import Duration, Text
from resilience.api.status_alerts import AlertsStatus
from resilience.api.status_base import Time, volatile
from resilience.api.status_flags import FlagsStatus, FlagStatus, ReplayStatus
from resilience.api.status_restarts import Attention, RestartResult, RestartsStatus, RestartStatus
from resilience.api.status_rollout import RolloutResult, RolloutStatus, StepDuration
from resilience.api.status_slo import SloStatus


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
    suppress_for: Duration = Field(
        default=timedelta(minutes=5), description="An alert that comes back within this time is not told again."
    )
    group_wait: Duration = Field(
        default=timedelta(seconds=10), description="How long the first message of a group waits for others."
    )


class Status(ApiModel):
    """Written by the operator only."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the resource that this status is about."
    )
    phase: Phase = Phase.INITIALIZING
    first_healthy_at: Time | None = Field(
        default=None, description="When it served and its checks passed for the first time; absent before that."
    )
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
    alerts: AlertsStatus = Field(default_factory=AlertsStatus)
    slo: SloStatus | None = None
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
