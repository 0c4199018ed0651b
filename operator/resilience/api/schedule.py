"""Windows of time: a cron schedule in a time zone gives their beginnings, and a duration their length."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field

from resilience.api.base import ApiModel, rule, rules, validated
from resilience.api.rules import at_least
from resilience.api.scalars import Duration

_CRON: Final = r"^[0-9A-Za-z*/,#-]+( [0-9A-Za-z*/,#-]+){4}$"
_ZONE: Final = r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"
# Any time serves to test a schedule.
_SOME_MOMENT: Final = datetime(2026, 1, 1)


def _schedule(text: str) -> str:
    try:
        CronSim(text, _SOME_MOMENT)
    except CronSimError as error:
        raise ValueError(f"{text!r} is not a cron schedule ({error}); write minute hour day month weekday") from error
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not a time zone; write Europe/London, or UTC") from error
    return name


class Window(ApiModel):
    """A time that comes again and again: it opens by a cron schedule and stays open for a duration."""

    model_config = validated(at_least("duration", "1m"))

    schedule: Annotated[
        str,
        AfterValidator(_schedule),
        Field(
            min_length=9,
            max_length=100,
            pattern=_CRON,
            json_schema_extra=rules(
                rule(f"self.matches(r'{_CRON}')", "write a cron schedule: minute hour day month weekday")
            ),
        ),
    ] = Field(description="Cron schedule of its starts: minute hour day month weekday.")
    duration: Duration = Field(description="Time that the window stays open.")
    time_zone: Annotated[str, AfterValidator(_zone), Field(max_length=64, pattern=_ZONE)] = Field(
        default="UTC", description="IANA name of the time zone, e.g. Europe/London."
    )


@dataclass(frozen=True, slots=True)
class Opening:
    """State of the windows: open now, or else the time at which the next one opens (None: never again)."""

    is_open: bool
    next_at: datetime | None = None


def opening(windows: list[Window], now: datetime) -> Opening:
    """State of all windows together at an aware time; without any window it is always open."""
    if not windows or any(_is_open(window, now) for window in windows):
        return Opening(is_open=True)
    return Opening(is_open=False, next_at=min(filter(None, (_next(window, now) for window in windows)), default=None))


def _is_open(window: Window, now: datetime) -> bool:
    opened_at = _next(window, now - window.duration)
    return opened_at is not None and opened_at <= now


def _next(window: Window, moment: datetime) -> datetime | None:
    """The first start after the moment; None when there is none within 50 years.

    A fixed hour that the clocks repeat starts a window the first time. In the repetition the library gives that start
    again, which is over.
    """
    starts = CronSim(window.schedule, moment.astimezone(ZoneInfo(window.time_zone)))
    return next((start for local in starts if (start := local.astimezone(moment.tzinfo)) > moment), None)
