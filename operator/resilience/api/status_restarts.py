"""Status of restarts: the one in flight, the result of the last one, the policies that fire, and what blocks them."""

from pydantic import Field

from resilience.api.base import ApiModel, list_map
from resilience.api.reasons import (
    FailureClass,
    ReplaceStep,
    RestartOutcome,
)
from resilience.api.scalars import Duration, Text
from resilience.api.status_base import Requests, Time, volatile


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
