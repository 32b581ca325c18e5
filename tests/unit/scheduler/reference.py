"""Slots the slow way: every minute is looked at. Shares no code with what it is compared with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

MINUTE = timedelta(minutes=1)
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
ZONES = (
    "UTC",
    "Europe/Zurich",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour of summer time
    "Africa/Casablanca",  # four changes a year
    "Asia/Kathmandu",  # +05:45
    "Pacific/Chatham",
    "America/St_Johns",
)


def slots(fields: str, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """The slots after `begin` up to and including `end`."""
    matching = [_values(text, *limits) for text, limits in zip(fields.split(), RANGES, strict=True)]
    every_hour = fields.split()[1].startswith("*")
    clock = ZoneInfo(zone)
    found = []
    moment = begin.astimezone(UTC).replace(second=0, microsecond=0)
    while (moment := moment + MINUTE) <= end:
        local = moment.astimezone(clock)
        due = _matches(matching, fields, local) and (every_hour or not local.fold)
        if due or (not every_hour and _swallowed(matching, fields, moment, local)):
            found.append(moment)
    return [slot for slot in found if slot > begin]


def _swallowed(matching: list[set[int]], fields: str, moment: datetime, local: datetime) -> bool:
    """Whether the clock was set forward to this minute, over one that matches."""
    before = (moment - MINUTE).astimezone(local.tzinfo)
    gap = (local.utcoffset() or timedelta()) - (before.utcoffset() or timedelta())
    if not gap:
        return False
    wall = local.replace(tzinfo=None)
    return any(_matches(matching, fields, wall - MINUTE * back) for back in range(1, gap // MINUTE + 1))


def _matches(matching: list[set[int]], fields: str, at: datetime) -> bool:
    minutes, hours, days, months, weekdays = matching
    if at.minute not in minutes or at.hour not in hours or at.month not in months:
        return False
    by_day, by_weekday = at.day in days, at.isoweekday() % 7 in {day % 7 for day in weekdays}
    _, _, day_text, _, weekday_text = fields.split()
    if day_text == "*" or weekday_text == "*":
        return by_day and by_weekday
    return by_day or by_weekday


def _values(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin, end = (low, high) if span == "*" else (int(first), int(last or first))
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def _field(low: int, high: int, *, stepped: bool = True) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    single = number.map(str)
    pair = st.tuples(number, number).map(lambda two: f"{min(two)}-{max(two)}")
    several = st.lists(number, min_size=2, max_size=4, unique=True).map(lambda some: ",".join(map(str, sorted(some))))
    step = st.integers(2, max(2, high // 2)).map(lambda size: f"*/{size}")
    return st.one_of(single, pair, several, *([step] if stepped else []))


def any_fields() -> st.SearchStrategy[str]:
    """Schedules that come at least once in a few days, most of them."""
    star = st.just("*")
    return st.tuples(
        st.one_of(star, _field(0, 59)),
        st.one_of(star, star, _field(0, 23), st.sampled_from(["1", "2", "1-3", "0,2", "23"])),
        st.one_of(star, star, star, _field(1, 31, stepped=False)),
        st.one_of(star, star, star, _field(1, 12, stepped=False)),
        st.one_of(star, star, star, _field(0, 6, stepped=False)),
    ).map(" ".join)


def near_changes() -> st.SearchStrategy[datetime]:
    """Moments, many of them a day or less before some zone's clock is changed."""
    changes = (
        datetime(2026, 3, 29, 1, tzinfo=UTC),  # Zurich
        datetime(2026, 10, 25, 1, tzinfo=UTC),
        datetime(2026, 3, 8, 7, tzinfo=UTC),  # New York
        datetime(2026, 11, 1, 6, tzinfo=UTC),
        datetime(2026, 4, 4, 15, tzinfo=UTC),  # Lord Howe
        datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
        datetime(2026, 2, 15, 2, tzinfo=UTC),  # Casablanca
        datetime(2026, 3, 22, 2, tzinfo=UTC),
        datetime(2028, 2, 28, 12, tzinfo=UTC),  # leap day
        datetime(2026, 12, 31, 12, tzinfo=UTC),
    )
    offsets = st.timedeltas(timedelta(hours=-20), timedelta(hours=3))
    anywhere = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
    return st.one_of(st.builds(lambda at, by: at + by, st.sampled_from(changes), offsets), anywhere)
