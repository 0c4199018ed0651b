"""Rules by which the operator restarts pods by itself, and the limits of such restarts."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from resilience.api.base import ApiModel, list_map, rule, validated
from resilience.api.rules import at_least
from resilience.api.scalars import Amount, Duration, Label, ObjectName
from resilience.api.schedule import Window

POLICY_KINDS = ("memory", "memorySlope", "cpu", "uptime", "check", "containerRestarts")


class Of(StrEnum):
    """Base of a percentage of usage."""

    LIMIT = "Limit"
    REQUEST = "Request"


class UsageAbove(ApiModel):
    """Usage of the main container stays above a threshold."""

    above: Amount = Field(description='A share of the limit or request ("90%"), or an amount ("512Mi", "750m").')
    for_: Duration = Field(
        default=timedelta(minutes=5), alias="for", description="Time that usage stays above, without a break."
    )
    of: Of = Field(default=Of.LIMIT, description="Base of percentages: Limit or Request.")


class MemorySlope(ApiModel):
    """Memory grows so that its limit will be reached soon: the pod is replaced before it is killed."""

    model_config = validated(at_least("limitWithin", "1m"))

    limit_within: Duration = Field(
        default=timedelta(hours=2), description="Fires when the limit will be reached within this time."
    )


class Uptime(ApiModel):
    """A pod is old."""

    above: Duration | None = Field(default=None, description="Age of the pod; the default is the profile's.")


class CheckFails(ApiModel):
    """A check of scope Pod fails at a pod."""

    name: Label = Field(description="Name of a check of scope Pod.")
    failures: Annotated[int, Field(ge=1, le=1000)] = Field(default=5, description="Failures in a row.")


class ContainerRestarts(ApiModel):
    """The kubelet keeps restarting containers of a pod."""

    model_config = validated(at_least("within", "1m"))

    above: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=5, description="The policy fires with more restarts than this."
    )
    within: Duration = Field(default=timedelta(hours=1), description="Span in which they are counted.")


class Policy(ApiModel):
    """A reason to restart a pod."""

    model_config = validated(
        rule(
            f"[{', '.join(f'has(self.{kind})' for kind in POLICY_KINDS)}].filter(x, x).size() == 1",
            f"a policy has exactly one rule: set one of {', '.join(POLICY_KINDS[:-1])} or {POLICY_KINDS[-1]}",
        ),
    )

    name: Label = Field(description="Unique name of the policy.")
    dry_run: bool = Field(default=False, description="True: the policy only reports the restarts that it would make.")
    memory: UsageAbove | None = None
    memory_slope: MemorySlope | None = None
    cpu: UsageAbove | None = None
    uptime: Uptime | None = None
    check: CheckFails | None = None
    container_restarts: ContainerRestarts | None = None


class Budget(ApiModel):
    """Limit on restarts by policies."""

    model_config = validated(at_least("per", "1m"))

    # As many as status records.
    max: Annotated[int, Field(ge=1, le=100)] = Field(description="Restarts.")
    per: Duration = Field(default=timedelta(hours=1), description="Span in which they are counted.")


class ConfigKind(StrEnum):
    """Kinds of object whose content pods read when they start."""

    CONFIG_MAP = "ConfigMap"
    SECRET = "Secret"


class OnChange(ApiModel):
    """Pods are restarted when the content of this object changes, or of those that they mount."""

    model_config = validated(
        rule(
            "has(self.mounted) && self.mounted ? !has(self.kind) && !has(self.name) : has(self.kind) && has(self.name)",
            "name one object by kind and name, or set mounted: true without them",
        ),
        rule(
            "!has(self.ignore) || self.ignore.size() == 0 || (has(self.mounted) && self.mounted)",
            "ignore is about the objects that mounted finds: set mounted: true, or remove ignore",
        ),
    )

    kind: ConfigKind | None = Field(
        default=None,
        description="ConfigMap, or Secret (which needs the label resilience.dev/readable=true).",
    )
    name: ObjectName | None = Field(default=None, description="Name of the object, in the namespace of this resource.")
    optional: bool = Field(
        default=False,
        description="True: the object may be absent, and pods are restarted when it comes or goes. Objects that are "
        "mounted have it from the pod template.",
    )
    mounted: bool = Field(
        default=False,
        description="True, instead of kind and name: all ConfigMaps and Secrets that the pod template mounts or reads "
        "into the environment, at most 32. Secrets without the label resilience.dev/readable=true are left out.",
    )
    ignore: list[ObjectName] = Field(
        default_factory=list,
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Names of objects that mounted leaves out.",
    )


class Restart(ApiModel):
    """Pace of restarts, and the policies that restart pods without a request."""

    surge: Annotated[int, Field(ge=1, le=50)] = Field(default=1, description="Replacements at once.")
    cool_down: Duration | None = Field(
        default=None, description="Shortest time between two restarts by policies; the default is the profile's."
    )
    budget: Budget | None = Field(
        default=None, description="Limit on restarts by policies; the default is the profile's."
    )
    windows: list[Window] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Times in which policies may restart pods; without one always. Requests by hand are not bound.",
    )
    priority: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=100, description="Priority when policies of many services fire together; lower numbers go first."
    )
    on_change: list[OnChange] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Restart all pods when the content of one of these changes.",
    )
    policies: list[Policy] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra=list_map("name"),
        description="Reasons to restart a pod.",
    )
