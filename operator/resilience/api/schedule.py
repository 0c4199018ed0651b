"""Windows of time: a cron schedule says when one opens, in a time zone, and a duration how long it stays open."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field

from resilience.api.base import ApiModel, rule, rules, validated
from resilience.api.rules import at_least
from resilience.api.scalars import Duration

_CRON: Final = r"^[0-9A-Za-z*/,#-]+( [0-9A-Za-z*/,#-]+){4}$"
_ZONE: Final = r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"
# Any moment will do to find out whether a schedule can be read.
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
    """A time in which policies may restart pods."""

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
    ] = Field(description="Cron schedule of its beginnings: minute hour day month weekday.")
    duration: Duration = Field(description="How long it stays open.")
    time_zone: Annotated[str, AfterValidator(_zone), Field(max_length=64, pattern=_ZONE)] = Field(
        default="UTC", description="IANA name of the time zone, e.g. Europe/London."
    )


@dataclass(frozen=True, slots=True)
class Opening:
    """Whether a window is open now; else when the next one opens (None: never again)."""

    is_open: bool
    next_at: datetime | None = None


def opening(windows: list[Window], now: datetime) -> Opening:
    """The windows together at an aware moment; without any it is always open."""
    if not windows or any(_is_open(each, now) for each in windows):
        return Opening(is_open=True)
    return Opening(is_open=False, next_at=min(filter(None, (_next(each, now) for each in windows)), default=None))


def _is_open(window: Window, now: datetime) -> bool:
    # The search excludes its own moment, and a window that opens in this very second is open.
    local = (now.replace(microsecond=0) + timedelta(seconds=1)).astimezone(ZoneInfo(window.time_zone))
    last = next(CronSim(window.schedule, local, reverse=True), None)
    return last is not None and now < last.astimezone(now.tzinfo) + window.duration


def _next(window: Window, now: datetime) -> datetime | None:
    found = next(CronSim(window.schedule, now.astimezone(ZoneInfo(window.time_zone))), None)
    return found.astimezone(now.tzinfo) if found is not None else None
