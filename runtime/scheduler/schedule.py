"""When a job is due: five fields, read on the wall clock of a time zone.

croniter finds times on the wall; what a wall time means while the clock is being changed is decided here. A job
that names its hours runs once for each: right after a gap that swallowed its time, and in the first of two
equal hours. A job that runs in every hour (`*`, `*/2`) follows the time that passes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from croniter import croniter

from runtime.errors import LockstepError

MOST_COUNTED: Final = 10_000  # missed slots of one job that are counted one by one
MINUTE: Final = timedelta(minutes=1)
LOOK_BACK: Final = (timedelta(hours=1), timedelta(days=1), timedelta(days=32), timedelta(days=366 * 9))
ONE_VALUE: Final = re.compile(r"\b(\w+)-\1(?:/\d+)?(?![\w/-])")  # croniter takes 5-5 for every value
EVERY: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class ScheduleError(LockstepError):
    """The schedule of a job can not be read, or never comes."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Moments at which a job was due, oldest first; beyond MOST_COUNTED `count` is the least it can be."""

    first: datetime
    last: datetime
    count: int
    following: datetime | None = field(default=None, compare=False)  # the slot after `last`, where it is known


class Schedule:
    """The slots of one job. Raises ScheduleError when there are none."""

    __slots__ = ("_cron", "_every_hour", "_zone")

    def __init__(self, text: str, timezone: str, key: str) -> None:
        """`key` names the app and the job: the minutes and hours that `H` stands for follow from it."""
        fields = ONE_VALUE.sub(r"\1", EVERY.get(text.strip().lower(), text)).split()
        self._cron = _parsed(" ".join(fields), key if any(field[0] in "hH" for field in fields) else "")
        self._every_hour = fields[1].startswith(("*", "H/", "h/"))
        self._zone = _zone(timezone)

    def after(self, moment: datetime) -> datetime:
        """The first slot after `moment`."""
        moment = moment.astimezone(UTC)
        found = self._walk(moment)
        again = self._in_second_pass(moment) if self._every_hour else None
        return found if again is None else min(found, again)

    def between(self, cursor: datetime, now: datetime) -> Slots | None:
        """The slots after `cursor` up to and including `now`."""
        first = slot = last = self.after(cursor)
        count = 0
        while slot <= now and count < MOST_COUNTED:
            count, last, slot = count + 1, slot, self.after(slot)
        if not count:
            return None
        return Slots(first, last, count, slot) if slot > now else Slots(first, self._last(now), count)

    def _last(self, now: datetime) -> datetime:
        """The last slot up to and including `now`, when there is one within LOOK_BACK."""
        for back in LOOK_BACK:
            found = slot = self.after(now - back)
            while slot <= now:
                found, slot = slot, self.after(slot)
            if found <= now:
                return found
        raise ScheduleError("the schedule has no slot in the last years")

    def _walk(self, moment: datetime) -> datetime:
        """The first slot after `moment` in the order of the wall clock."""
        wall = moment.astimezone(self._zone).replace(tzinfo=None, fold=0)
        while True:
            wall = self._next_wall(wall)
            slot = self._instant(wall, moment)
            if slot is not None and slot > moment:
                return slot

    def _instant(self, wall: datetime, moment: datetime) -> datetime | None:
        """When the wall clock shows `wall`; None when it never does and the job does not name its hours."""
        first = wall.replace(tzinfo=self._zone)
        if not _exists(first):
            earlier, later = first.replace(fold=1).astimezone(UTC), first.astimezone(UTC)
            return None if self._every_hour else self._change_between(earlier, later)
        found = first.astimezone(UTC)
        return first.replace(fold=1).astimezone(UTC) if self._every_hour and found <= moment else found

    def _in_second_pass(self, moment: datetime) -> datetime | None:
        """The first slot of the second of two equal hours, when `moment` is in the first one."""
        local = moment.astimezone(self._zone)
        twice = local.replace(fold=1).astimezone(UTC) - moment
        if local.fold or twice <= timedelta(0):
            return None
        change = self._change_between(moment, moment + twice)
        begin = change.astimezone(self._zone).replace(tzinfo=None, fold=0)
        again = self._next_wall(begin - MINUTE).replace(tzinfo=self._zone, fold=1)
        return again.astimezone(UTC) if again.replace(fold=0).utcoffset() != again.utcoffset() else None

    def _next_wall(self, wall: datetime) -> datetime:
        try:
            found: datetime = self._cron.get_next(datetime, start_time=wall)
        except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
            raise ScheduleError(f"the schedule never comes ({error})") from None
        return found.replace(tzinfo=None)

    def _change_between(self, low: datetime, high: datetime) -> datetime:
        """The second at which the zone's offset changes, after `low` and up to `high`."""
        before = low.astimezone(self._zone).utcoffset()
        first, last = int(low.timestamp()), int(high.timestamp())
        while last - first > 1:
            middle = (first + last) // 2
            moved = datetime.fromtimestamp(middle, self._zone).utcoffset() != before
            first, last = (first, middle) if moved else (middle, last)
        return datetime.fromtimestamp(last, UTC)


def _exists(local: datetime) -> bool:
    """Whether the zone's clock ever shows this time."""
    back = local.astimezone(UTC).astimezone(local.tzinfo)
    return back.replace(tzinfo=None, fold=0) == local.replace(tzinfo=None, fold=0)


@lru_cache(maxsize=1024)
def _parsed(fields: str, hash_id: str) -> croniter:
    if len(fields.split()) != 5 or any(field[0] in "rR" for field in fields.split()):
        raise ScheduleError(f"'{fields}' is not a schedule of five fields")
    try:
        return croniter(fields, datetime(2000, 1, 1), hash_id=hash_id or None)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ScheduleError(f"'{fields}' is not a schedule ({error})") from None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        raise ScheduleError(f"'{name}' is not a time zone that this machine knows") from None
