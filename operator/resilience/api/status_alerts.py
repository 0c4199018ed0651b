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
    since: Time = Field(description="Time at which the alert started.")
    message: Text = volatile(default="", description="Observation, in words.")
    cause: Text = Field(default="", description="Cause that it shares with alerts of other services.")
    trace_id: Text = Field(default="", description="Trace id of the alert in logs and in messages to receivers.")
    held: Text = Field(default="", description="Reason for which nobody is notified; empty when somebody is.")
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
        description="Alerts that fire now.",
    )
    suppressed: int = volatile(default=0, description="Repeats that were not sent, in open conversations.")
    undelivered: int = Field(default=0, description="Alerts that could not be delivered.")
    last_error: Text = volatile(default="", description="Reason for which they could not be delivered.")
