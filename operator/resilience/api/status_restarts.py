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
    since: Time = Field(description="Time at which the step started.")
    connections: int | None = volatile(default=None, description="Connections that clients kept open, when known.")


class PodReference(ApiModel):
    """A pod that is to be replaced."""

    name: Text = Field(description="Name of the pod.")
    uid: Text = Field(description="Its uid: a StatefulSet makes the name again, but not the pod.")


class RestartStatus(ApiModel):
    """A restart in flight."""

    request: Text = Field(default="", description="Value of the request that started it; empty for others.")
    reason: Text = Field(default="", description="Reason of a restart that nobody requested.")
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
    trace_id: Text = Field(description="Trace id of this restart in logs and Events.")
    started_at: Time = Field(description="Time of the start.")
    born_before: Time = Field(description="Pods created up to this moment, by the API server's clock, are replaced.")
    total: int = Field(description="Pods to replace.")
    done: int = Field(default=0, description="Pods replaced.")
    pods: list[ReplacementStatus] = Field(
        default_factory=list, max_length=50, json_schema_extra=list_map("name"), description="In flight now."
    )
    message: Text = Field(default="", description="Cause of the current wait.")
    failure: Text = Field(default="", description="Reason for which it is aborted; empty while it is not.")
    aborted: bool = Field(default=False, description="True once a person requested to abort it.")
    requests: Requests | None = volatile(default=None)
    kept_connections_cut: int | None = Field(
        default=None, description="Connections still open when their pod was deleted; absent when unknown."
    )


class RestartResult(ApiModel):
    """Result of the last restart."""

    request: Text = Field(default="", description="Value of the request that started it; empty for others.")
    reason: Text = Field(default="", description="Reason of a restart that nobody requested.")
    trace_id: Text = Field(description="Trace id of this restart in logs and Events.")
    result: RestartOutcome
    message: Text = Field(default="", description="Explanation of the outcome.")
    started_at: Time = Field(description="Time of the start.")
    duration: Duration = Field(description="Duration of the restart.")
    pods: int = Field(default=0, description="Pods replaced.")
    requests: Requests | None = None
    kept_connections_cut: int | None = Field(
        default=None, description="Connections still open when their pod was deleted; absent when unknown."
    )


class PastRestart(ApiModel):
    """A restart by policies, as the limits and the loop breaker remember it."""

    at: Time = Field(description="Time of the start.")
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
        description="Those of them that soon fired again for pods created since: the restart did not help.",
    )
    failed: bool = Field(default=False, description="True when no replacement came up.")


class FiringPolicy(ApiModel):
    """A policy that fires."""

    name: Text = Field(description="Name of the policy.")
    pods: int = Field(description="Pods that it fires for.")
    message: Text = volatile(default="", description="The rule, the value and the threshold, for the worst pod.")
    dry_run: bool = Field(default=False, description="True when it only reports the restarts that it would make.")


class ConfigStatus(ApiModel):
    """One hash of all objects of restart.onChange, as the version before wrote it; nothing is compared with it."""

    fingerprint: Text = Field(description="Hash of the content.")
    changed_at: Time = Field(description="Time at which it was first observed.")


class ContentStatus(ApiModel):
    """Content of one object of restart.onChange that the pods have."""

    kind: Text = Field(description="ConfigMap or Secret.")
    name: Text = Field(description="Name of the object.")
    fingerprint: Text = Field(description="Keyed hash of the content; it ends with absent when there was no object.")
    changed_at: Time = Field(description="Time at which this content was first observed.")


class Attention(ApiModel):
    """A pod that needs attention from a person."""

    pod: Text = Field(description="Name of the pod.")
    class_: FailureClass = Field(alias="class")
    reason: Text = Field(description="Observation, as one CamelCase word.")
    message: Text = Field(default="", description="Observation, in words.")
    advice: Text = Field(default="", description="Action that a person can take.")


class RestartsStatus(ApiModel):
    """Summary of restarts: policies that fire, what blocks them, and what the budget still allows."""

    summary: Text = Field(default="", description="Restarts in a few words.")
    firing: list[FiringPolicy] = Field(
        default_factory=list, max_length=16, json_schema_extra=list_map("name"), description="Policies that fire."
    )
    blocked_by: Text = Field(default="", description="Reason for which they are blocked, as one CamelCase word.")
    message: Text = Field(default="", description="Explanation of what blocks them.")
    next_allowed_at: Time | None = volatile(
        default=None, description="Time from which a policy may restart pods again."
    )
    ahead: int | None = volatile(default=None, description="Services that restart pods before it, while it is Queued.")
    recent: list[PastRestart] = Field(
        default_factory=list,
        max_length=100,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Restarts by policies that cool-down, budget and loop breaker count.",
    )
    contents: list[ContentStatus] = Field(
        default_factory=list,
        max_length=48,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["kind", "name"]},
        description="Content of the objects of restart.onChange that the pods have.",
    )
    config: ConfigStatus | None = None
