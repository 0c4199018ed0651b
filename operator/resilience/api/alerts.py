"""`spec.alerts`: the receivers of a service's alerts, and the pace of notifications."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from resilience.api.base import ApiModel, rule, validated
from resilience.api.matchers import MatcherText
from resilience.api.rules import at_least
from resilience.api.scalars import Duration, ObjectName
from resilience.api.schedule import Window
from resilience.api.status_base import Time

_LABEL_NAME: Final = r"^[a-zA-Z_][a-zA-Z0-9_]*$"
LabelName = Annotated[str, Field(min_length=1, max_length=63, pattern=_LABEL_NAME)]
GROUP_BY: Final = ("namespace", "service")


class Route(ApiModel):
    """Alerts that every matcher matches go to the receiver; the list is read from the top, as Alertmanager does."""

    model_config = validated(
        rule(
            "!has(self.activeTimes) || !has(self.muteTimes) || self.activeTimes.size() == 0"
            " || self.muteTimes.size() == 0",
            "a route has activeTimes or muteTimes, not both: say it with one of them",
        ),
    )

    matchers: list[MatcherText] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description='All have to match, e.g. severity="critical" or check=~"db.*"; none: every alert.',
    )
    receiver: ObjectName = Field(description="Name of an AlertReceiver in this namespace.")
    continue_: bool = Field(
        default=False, alias="continue", description="Read on after this route matched; by default the first one ends."
    )
    active_times: list[Window] = Field(
        default_factory=list,
        max_length=8,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Outside these windows this route does not notify its receiver; alerts that still fire when one"
        " opens are sent then. Other routes are not affected. Default: always active.",
    )
    mute_times: list[Window] = Field(
        default_factory=list,
        max_length=8,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Inside these windows this route does not notify its receiver; alerts that still fire when the last"
        " one closes are sent then. Other routes are not affected. Default: never muted.",
    )
    group_by: list[LabelName] = Field(
        default_factory=lambda: list(GROUP_BY),
        max_length=8,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Alerts with the same values of these labels are one conversation; default namespace and service.",
    )


def _in_utc(value: datetime) -> datetime:
    """The API server takes a time without a zone, too."""
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


class Silence(ApiModel):
    """Alerts that nobody is notified of until a time; status says which ones, by whom and why."""

    matchers: list[MatcherText] = Field(
        min_length=1,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description='All have to match, e.g. alertname="UsageHigh".',
    )
    author: Annotated[str, Field(min_length=1, max_length=253)] = Field(description="Person who asks for it.")
    reason: Annotated[str, Field(min_length=1, max_length=512)] = Field(description="Reason, for those who come later.")
    until: Annotated[Time, AfterValidator(_in_utc)] = Field(
        description="End, as 2026-12-01T08:00:00Z. Alerts that still fire are notified then."
    )


class Alerts(ApiModel):
    """Receivers of the alerts of this service, and the pace of notifications."""

    model_config = validated(at_least("groupInterval", "1s"), at_least("repeatAfter", "1m"))

    routes: list[Route] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Read from the top; the first that matches decides, unless it has continue set.",
    )
    default_receiver: ObjectName | None = Field(
        default=None,
        description="AlertReceiver in this namespace for alerts without a route; else the operator's own default.",
    )
    silences: list[Silence] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Alerts that nobody is notified of for now, whatever their severity.",
    )
    suppress_for: Duration | None = Field(
        default=None,
        description="An alert that ends and comes back within this time is counted, not notified; default by profile.",
    )
    group_wait: Duration | None = Field(
        default=None, description="Time that the first message waits for other alerts of its group; default by profile."
    )
    group_interval: Duration = Field(
        default=timedelta(minutes=1),
        description="Shortest time between two messages of a group; escalations and its end do not wait.",
    )
    repeat_after: Duration = Field(
        default=timedelta(hours=4), description="Alerts that still fire are notified again after this time."
    )
