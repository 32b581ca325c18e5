"""Slots on the wall clock of any zone, compared with a walk through every minute."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.scheduler.schedule import MOST_COUNTED, Schedule, ScheduleError
from tests.unit.scheduler import reference

ZURICH = "Europe/Zurich"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def first(fields: str, zone: str, begin: str, count: int = 1) -> list[str]:
    schedule, moment, found = Schedule(fields, zone, "shop/tick"), at(begin), []
    for _ in range(count):
        moment = schedule.after(moment)
        found.append(f"{moment:%m-%d %H:%M}")
    return found


@settings(max_examples=200)
@given(reference.any_fields(), st.sampled_from(reference.ZONES), reference.near_changes())
def test_every_slot_is_found(fields: str, zone: str, begin: datetime) -> None:
    end = begin + timedelta(hours=30)
    expected = reference.slots(fields, zone, begin, end)
    schedule, moment, found = Schedule(fields, zone, "shop/tick"), begin, []
    try:
        while (moment := schedule.after(moment)) <= end:
            found.append(moment)
    except ScheduleError:
        pass  # e.g. the 31st of a month that has 30 days
    assert found == expected


@settings(max_examples=100)
@given(reference.any_fields(), st.sampled_from(reference.ZONES), reference.near_changes(), st.integers(0, 60 * 30))
def test_counting_slots(fields: str, zone: str, begin: datetime, minutes: int) -> None:
    end = begin + timedelta(minutes=minutes)
    expected = reference.slots(fields, zone, begin, end)
    try:
        slots = Schedule(fields, zone, "shop/tick").between(begin, end)
    except ScheduleError:
        assert not expected
        return
    found = [] if slots is None else [slots.first, slots.last, slots.count]
    assert found == ([expected[0], expected[-1], len(expected)] if expected else [])


def test_an_hour_that_is_left_out_does_not_lose_the_job() -> None:
    # 2026-03-29: 02:00 becomes 03:00 in Zurich, which is 01:00 UTC.
    assert first("30 2 * * *", ZURICH, "2026-03-28T12:00", 2) == ["03-29 01:00", "03-30 00:30"]
    assert first("*/30 2 * * *", ZURICH, "2026-03-28T12:00", 2) == ["03-29 01:00", "03-30 00:00"]
    assert first("30 * * * *", ZURICH, "2026-03-29T00:00", 2) == ["03-29 00:30", "03-29 01:30"]


def test_an_hour_that_comes_twice_does_not_run_the_job_twice() -> None:
    # 2026-10-25: 03:00 becomes 02:00 in Zurich, which is 01:00 UTC.
    assert first("30 2 * * *", ZURICH, "2026-10-24T12:00", 2) == ["10-25 00:30", "10-26 01:30"]
    assert first("30 * * * *", ZURICH, "2026-10-25T00:00", 3) == ["10-25 00:30", "10-25 01:30", "10-25 02:30"]
    assert first("*/20 * * * *", ZURICH, "2026-10-25T00:30", 4) == [
        "10-25 00:40", "10-25 01:00", "10-25 01:20", "10-25 01:40",
    ]  # fmt: skip


def test_leap_days_and_month_ends() -> None:
    assert first("0 0 29 2 *", "UTC", "2026-01-01T00:00") == ["02-29 00:00"]
    assert first("0 0 31 * *", "UTC", "2026-01-31T00:00", 2) == ["03-31 00:00", "05-31 00:00"]
    assert first("0 0 L * *", "UTC", "2028-02-01T00:00") == ["02-29 00:00"]


def test_a_zone_that_skipped_a_day() -> None:
    assert first("0 12 * * *", "Pacific/Apia", "2011-12-29T23:00", 2) == ["12-30 10:00", "12-30 22:00"]


def test_h_is_the_same_each_time_and_another_for_another_job() -> None:
    begin = at("2026-01-01T00:00")
    times = {Schedule("H H * * *", "UTC", f"shop/{name}").after(begin) for name in "abcdefgh"}
    assert times == {Schedule("H H * * *", "UTC", f"shop/{name}").after(begin) for name in "abcdefgh"}
    assert len(times) > 4


def test_a_range_of_one_value_is_that_value() -> None:
    assert first("5-5 3-3/2 * * mon-mon", "UTC", "2026-01-01T00:00", 2) == ["01-05 03:05", "01-12 03:05"]


def test_daily_and_its_like() -> None:
    assert first("@daily", "UTC", "2026-01-01T00:00") == ["01-02 00:00"]
    assert first("@hourly", "UTC", "2026-01-01T00:00") == ["01-01 01:00"]


@pytest.mark.parametrize("fields", ["", "* * * *", "61 * * * *", "R R * * *", "0 0 31 2 *", "a b c d e", "* * * * * *"])
def test_what_is_not_a_schedule_is_said(fields: str) -> None:
    with pytest.raises(ScheduleError):
        Schedule(fields, "UTC", "shop/tick").after(at("2026-01-01T00:00"))


def test_a_zone_that_is_not_there() -> None:
    with pytest.raises(ScheduleError, match="'Mars/North' is not a time zone"):
        Schedule("* * * * *", "Mars/North", "shop/tick")


def test_years_of_missed_minutes_are_counted_in_bounded_time() -> None:
    began = time.monotonic()
    slots = Schedule("* * * * *", ZURICH, "shop/tick").between(at("2020-01-01T00:00"), at("2026-01-01T00:00"))
    assert slots is not None
    assert (slots.last, slots.count) == (at("2026-01-01T00:00"), MOST_COUNTED)
    assert time.monotonic() - began < 5
