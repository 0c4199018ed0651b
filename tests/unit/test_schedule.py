"""Windows of time: when they are open, and when the next one opens, in their own time zone."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.api.schedule import Opening, Window, opening

HOUR = timedelta(hours=1)


def window(schedule: str, duration: str = "1h", zone: str = "UTC") -> Window:
    return Window.model_validate({"schedule": schedule, "duration": duration, "timeZone": zone})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("windows", "now", "next_at"),
    [
        ([], "2026-03-01T12:00:00", None),
        ([("0 2 * * *",)], "2026-03-01T01:59:59", "2026-03-01T02:00:00"),
        ([("0 2 * * *",)], "2026-03-01T01:59:59.999", "2026-03-01T02:00:00"),
        ([("0 2 * * *",)], "2026-03-01T02:00:00", None),
        ([("0 2 * * *",)], "2026-03-01T02:00:00.001", None),
        ([("0 2 * * *",)], "2026-03-01T02:59:59.999", None),
        ([("0 2 * * *",)], "2026-03-01T03:00:00", "2026-03-02T02:00:00"),
        # Over midnight, and longer than a day.
        ([("30 23 * * *", "2h")], "2026-03-02T01:29:59", None),
        ([("30 23 * * *", "2h")], "2026-03-02T01:30:00", "2026-03-02T23:30:00"),
        ([("0 0 * * SAT", "48h")], "2026-03-01T23:59:59", None),
        ([("0 0 * * SAT", "48h")], "2026-03-02T00:00:00", "2026-03-07T00:00:00"),
        # Any of them is enough, and the next of them counts.
        ([("0 2 * * *",), ("0 12 * * *",)], "2026-03-01T12:30:00", None),
        ([("0 2 * * *",), ("0 20 * * *",)], "2026-03-01T12:30:00", "2026-03-01T20:00:00"),
        # It ends and begins again at once.
        ([("*/30 * * * *", "30m")], "2026-03-01T12:30:00", None),
        ([("*/30 * * * *", "1m")], "2026-03-01T12:31:00", "2026-03-01T13:00:00"),
    ],
)
def test_when_windows_are_open(windows: list[Any], now: str, next_at: str | None) -> None:
    found = opening([window(*each) for each in windows], at(now))

    assert found == (Opening(is_open=True) if next_at is None else Opening(is_open=False, next_at=at(next_at)))


@pytest.mark.parametrize(
    ("now", "next_at"),
    [
        # Winter is UTC+1, summer UTC+2.
        ("2026-01-10T00:59:59", "2026-01-10T01:00:00"),
        ("2026-01-10T01:00:00", None),
        ("2026-07-10T00:00:00", None),
        ("2026-07-10T01:00:00", "2026-07-11T00:00:00"),
        # There is no 02:00 on that night: it opens when the clocks have been put forward.
        ("2026-03-29T00:59:00", "2026-03-29T01:00:00"),
        ("2026-03-29T01:00:00", None),
        ("2026-03-29T01:59:00", None),
        ("2026-03-29T02:00:00", "2026-03-30T00:00:00"),
        # There are two on that one: the first opens.
        ("2026-10-25T00:00:00", None),
        ("2026-10-25T01:30:00", "2026-10-26T01:00:00"),
    ],
)
def test_a_window_keeps_its_hour_when_the_clocks_change(now: str, next_at: str | None) -> None:
    found = opening([window("0 2 * * *", zone="Europe/Berlin")], at(now))

    assert found == (Opening(is_open=True) if next_at is None else Opening(is_open=False, next_at=at(next_at)))


@pytest.mark.parametrize(
    ("schedule", "zone", "now", "next_at"),
    [
        # The hour after one o'clock comes twice: the window opened the first time.
        ("30 1 * * *", "Europe/London", "2026-10-25T00:29:00", "2026-10-25T00:30:00"),
        ("30 1 * * *", "Europe/London", "2026-10-25T01:10:00", "2026-10-26T01:30:00"),
        ("30 1 * * *", "Europe/London", "2026-10-25T01:40:00", "2026-10-26T01:30:00"),
        ("30 1 * * *", "America/New_York", "2026-11-01T06:10:00", "2026-11-02T06:30:00"),
        ("0,20,40 1 * * *", "America/New_York", "2026-11-01T06:10:00", "2026-11-02T06:00:00"),
        # Every half hour stays every half hour.
        ("*/30 * * * *", "Europe/London", "2026-10-25T01:10:00", "2026-10-25T01:30:00"),
        # Two hours are repeated at once.
        ("30 1 * * *", "Antarctica/Troll", "2026-10-25T01:10:00", "2026-10-26T01:30:00"),
    ],
)
def test_in_the_repeated_hour_the_next_opening_is_ahead(schedule: str, zone: str, now: str, next_at: str) -> None:
    found = opening([window(schedule, "1m", zone)], at(now))

    assert found == Opening(is_open=False, next_at=at(next_at))


def test_a_window_stays_open_over_midnight_in_the_repeated_hour() -> None:
    # given: in Santiago the hour before midnight comes twice
    late = window("*/10 23 * * SAT", "30m", "America/Santiago")

    # then
    assert opening([late], at("2026-04-05T04:05:00")).is_open
    assert not opening([late], at("2026-04-05T04:20:00")).is_open


@pytest.mark.parametrize(
    "fields",
    [
        {"schedule": "0 2 * *"},
        {"schedule": "0 25 * * *"},
        {"schedule": "0 0 30 2 *"},
        {"schedule": "nightly at 2"},
        {"schedule": "@daily"},
        {"schedule": "0 0 2 * * *"},
        {"timeZone": "Europe/Londom"},
        {"timeZone": "../../etc/passwd"},
        {"timeZone": ""},
        {"duration": "a while"},
    ],
)
def test_what_is_no_window_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        Window.model_validate({"schedule": "0 2 * * *", "duration": "1h"} | fields)


ZONES = (
    "UTC",
    "Africa/Casablanca",
    "America/Havana",
    "America/New_York",
    "America/Santiago",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Europe/London",
)


@cache
def changes_of_clocks(zone: str) -> list[datetime]:
    """The hours of 2025 to 2027 in which the zone's clocks change."""
    hours = (datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=number) for number in range(3 * 365 * 24))
    local = ZoneInfo(zone)
    return [hour for hour in hours if hour.astimezone(local).utcoffset() != (hour + HOUR).astimezone(local).utcoffset()]


NUMBERS = st.sets(st.integers(0, 59), min_size=1, max_size=4).map(lambda found: ",".join(map(str, sorted(found))))
MINUTES = st.one_of(NUMBERS, st.sampled_from(["*", "*/7", "*/30", "30"]))
HOURS = st.sampled_from(["*", "*/2", "0", "1", "2", "23", "0-3", "1,2,23"])
DAYS = st.sampled_from(["* * *", "* * SUN", "* * SAT,SUN", "1-7 * SUN", "25 10 *", "L * *", "* * 0L"])


@given(data=st.data(), minute=MINUTES, hour=HOURS, day=DAYS, zone=st.sampled_from(ZONES))
def test_the_next_opening_is_always_ahead(data: st.DataObject, minute: str, hour: str, day: str, zone: str) -> None:
    # given: any moment, most of all those near a change of clocks
    near = changes_of_clocks(zone) or [datetime(2026, 1, 1, tzinfo=UTC)]
    seconds = st.integers(-5 * 3600, 5 * 3600).map(lambda number: timedelta(seconds=number))
    anywhere = st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))
    moment = data.draw(st.one_of(st.builds(lambda change, by: change + by, st.sampled_from(near), seconds), anywhere))
    made = window(f"{minute} {hour} {day}", "1m", zone)

    # when
    found = opening([made], moment)

    # then
    if not found.is_open:
        assert found.next_at is not None and found.next_at > moment
        assert opening([made], found.next_at).is_open


@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    day=st.sampled_from(["*", "1-5", "SUN", "SAT#1"]),
    zone=st.sampled_from(["UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    minutes=st.integers(1, 48 * 60),
    now=st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1)),
)
def test_it_opens_when_it_was_said_to_open_and_not_before(
    minute: int, hour: int, day: str, zone: str, minutes: int, now: datetime
) -> None:
    made, moment = window(f"{minute} {hour} * * {day}", f"{minutes}m", zone), now.replace(tzinfo=UTC)

    found = opening([made], moment)

    if not found.is_open:
        assert found.next_at is not None and found.next_at > moment
        assert opening([made], found.next_at).is_open
        before = opening([made], found.next_at - timedelta(seconds=1))
        assert not before.is_open and before.next_at == found.next_at
