"""Status of a `ResilientService`: the work in flight, its reason, its blockers and the time of the next pass.

`volatile` marks fields that are written along with others but never cause a write: latencies, counts and times.
"""

from datetime import timedelta
from typing import Annotated, Final

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

# Longest JSON of a part of the specification in status.
LONGEST_SETTINGS: Final = 8192
_Settings = Annotated[str, Field(max_length=LONGEST_SETTINGS)]


class Condition(ApiModel):
    """A condition as in the Kubernetes API conventions; True of Stalled and Reconciling means what kstatus means."""

    type: Text = Field(description="Type of the condition, in CamelCase.")
    status: Text = Field(description="True, False or Unknown.")
    observed_generation: int | None = Field(
        default=None, description="Generation of the resource that this condition is about."
    )
    last_transition_time: Time = Field(description="Time of the last change of status.")
    reason: Text = Field(description="Reason, as one CamelCase word for machines.")
    message: Annotated[str, Field(max_length=4096)] = Field(default="", description="Explanation for people.")


class ComponentStatus(ApiModel):
    """A component of the application, as its own health body reports it."""

    name: Text = Field(description="Name of the component.")
    state: HealthState
    message: Text = volatile(default="", description="Message of the application about it.")


class CheckStatus(ApiModel):
    """Result of a check. For scope Pod the worst pod's state, with the number of pods in it."""

    name: Text = Field(description="Name of the check.")
    asks: Text = Field(default="", description="Hash of the type and address that it asks pods or the Service for.")
    state: HealthState
    reason: Text = Field(default="", description="Reason, as one CamelCase word.")
    message: Text = Field(default="", description="Observation, in words.")
    since: Time | None = volatile(default=None, description="Time at which the state was entered.")
    latency: Duration | None = volatile(default=None, description="Duration of the last run.")
    failures: int | None = volatile(default=None, description="Failed runs since this operator knows the check.")
    reconnects: int | None = volatile(default=None, description="Reconnects, for checks that keep a connection.")
    components: list[ComponentStatus] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra=list_map("name"),
        description="Components of the application, for http checks with components.",
    )


class HealthStatus(ApiModel):
    """Health of the service."""

    state: HealthState = HealthState.UNKNOWN
    checks: list[CheckStatus] = Field(
        default_factory=list, max_length=32, json_schema_extra=list_map("name"), description="Result of each check."
    )
    passed: list[Text] | None = Field(
        default=None,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Checks that have passed since they ask what they ask now, as name or name@asks: only these can "
        "show that something broke. A check that was never answered is Unknown, reason Unreachable.",
    )


class HistoryEntry(ApiModel):
    """An operation of the operator."""

    at: Time = Field(description="When.")
    kind: Text = Field(description="Kind of the operation.")
    result: Text = Field(description="Outcome of the operation.")
    message: Text = Field(default="", description="Details, in words.")
    trace_id: Text = Field(default="", description="Trace id of the operation in logs and Events.")
    duration: Duration | None = Field(default=None, description="Duration of the operation.")
    steps: list[StepDuration] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Duration of each step.",
    )


class Handled(ApiModel):
    """The last value of a request that has been handled; it is never executed again."""

    request: Text = Field(description="Name of the request.")
    value: Text = Field(description="The value that has been handled.")
    at: Time = Field(description="When.")
    note: Text = Field(default="", description="Result of the request.")


class Effective(ApiModel):
    """Effective values, with the profile's defaults resolved."""

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
        default=timedelta(minutes=10), description="Shortest time between two restarts by policies."
    )
    budget_max: int = Field(default=10, description="Restarts that policies may make within budgetPer.")
    budget_per: Duration = Field(default=timedelta(hours=1), description="Span of the budget.")
    suppress_for: Duration = Field(
        default=timedelta(minutes=5), description="An alert that comes back within this time is not notified again."
    )
    group_wait: Duration = Field(
        default=timedelta(seconds=10), description="Time that the first message of a group waits for others."
    )


class LastReadable(ApiModel):
    """Parts of the specification as they could last be read, as JSON; in force while they cannot be."""

    rollout: _Settings = Field(default="", description="spec.rollout.")
    drain: _Settings = Field(default="", description="spec.drain.")


class Status(ApiModel):
    """Written by the operator only."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the resource that this status is about."
    )
    phase: Phase = Phase.INITIALIZING
    first_healthy_at: Time | None = Field(
        default=None, description="Time at which it first served and its checks passed; absent before that."
    )
    explanation: Annotated[str, Field(max_length=4096)] = Field(
        default="", description="Current work, its reason, what blocks it and the time of the next pass."
    )
    effective: Effective | None = None
    last_readable: LastReadable | None = volatile(default=None)
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
        description="Pods that need attention from a person.",
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
        description="Recent operations, newest last.",
    )
    handled: list[Handled] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra=list_map("request"),
        description="Requests that have been handled.",
    )
