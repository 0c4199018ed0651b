"""Status of a service's alerts: those that fire, their receivers, and those that could not be delivered."""

from pydantic import Field

from resilience.api.base import ApiModel
from resilience.api.reasons import AlertName, Severity
from resilience.api.scalars import Text
from resilience.api.status_base import Time, volatile


class FiringAlert(ApiModel):
    """Something that is wrong now."""

    name: AlertName
    subject: Text = Field(default="", description="The check, flag, policy or pod that it is about.")
    severity: Severity
    since: Time = Field(description="Since when.")
    message: Text = volatile(default="", description="What is seen.")
    cause: Text = Field(default="", description="What it has in common with the alerts of other services.")
    trace_id: Text = Field(default="", description="Identity of it in logs and in what receivers are told.")
    held: Text = Field(default="", description="Why nobody is told; empty when somebody is.")
    receivers: list[Text] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="AlertReceivers that it goes to.",
    )


class AlertsStatus(ApiModel):
    """Alerts of the service."""

    firing: list[FiringAlert] = Field(
        default_factory=list,
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="What is wrong now.",
    )
    suppressed: int = volatile(default=0, description="Repeats that nobody was told of, in conversations that go on.")
    undelivered: int = Field(default=0, description="Alerts that could not be told.")
    last_error: Text = volatile(default="", description="Why they could not.")
