"""Status of a service's objectives: outages, their cost, and the rest of the budget."""

from pydantic import Field

from resilience.api.base import ApiModel, list_map
from resilience.api.scalars import Duration, Text
from resilience.api.status_base import Time, volatile


class Outage(ApiModel):
    """A time in which the service did not serve, or its checks failed."""

    began: Time = Field(description="Time of the start.")
    ended: Time | None = Field(default=None, description="Time of the end; absent while it lasts.")
    reason: Text = Field(default="", description="First observation.")
    replication_lag: Duration | None = Field(
        default=None, description="Lag of the replicas at its start: the data that a failover would have lost."
    )


class DayOfOutages(ApiModel):
    """Outages of a day that are too many to keep one by one."""

    day: Text = Field(description="The day, in UTC, as 2006-01-02.")
    down: Duration = Field(description="Total duration of these outages.")


class SloStatus(ApiModel):
    """Results of spec.slo so far. A time without an observation does not count as an outage."""

    since: Time = Field(description="Time since which outages are counted.")
    summary: Text = Field(default="", description="Availability and the remaining error budget.")
    availability: Text = volatile(default="", description="Availability over the window, so far.")
    measured: Text = volatile(default="", description="Availability by spec.slo.query; empty without it.")
    budget_left: Text = volatile(default="", description="Share of the error budget that is left.")
    burn_rate: Text = volatile(
        default="", description="Burn rate of the last hour: at 1 the budget would last exactly for the window."
    )
    last_recovery: Duration | None = Field(default=None, description="Duration of the last outage.")
    outages: list[Outage] = Field(
        default_factory=list,
        max_length=50,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Outages within the window, newest last.",
    )
    days: list[DayOfOutages] = Field(
        default_factory=list,
        max_length=100,
        json_schema_extra=list_map("day"),
        description="Older outages, by day.",
    )
