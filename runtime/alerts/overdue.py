"""What the scheduler should have done by now and has not: slots without a row, and rows without a container."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row

from runtime.alerts.model import GRACE, Cause
from runtime.alerts.raising import missed
from runtime.model import CronRun, Overlap
from runtime.scheduler.definitions import jobs_in
from runtime.scheduler.jobs import Job, Key
from runtime.scheduler.schedule import ScheduleError
from runtime.store import Transaction
from runtime.store.cron import ALL_JOBS

PATIENCE: Final = 60.0  # seconds, from when a slot is seen to be late, that the scheduler has to put it right
UNDONE: Final = f"it was due and for over {GRACE.total_seconds() / 60:g} minutes the scheduler has not dealt with it"
NOT_BEGUN: Final = f"its run has not begun within {GRACE.total_seconds() / 60:g} minutes"


@dataclass(frozen=True, slots=True)
class Late:
    """Something overdue, and for how many seconds it may be seen so before it is alerted of."""

    cause: Cause
    patience: float


@dataclass(frozen=True, slots=True)
class Live:
    """The jobs of a live release, and the row of the store that they were read from."""

    row: Row[Any]  # of `tx.cron.definitions`
    jobs: list[Job]


class Overdue:
    """Looks for it; remembers the jobs of live releases and their next slots, so that a look is cheap."""

    def __init__(self) -> None:
        self._live: dict[str, Live] = {}
        self._slots: dict[Key, tuple[str, datetime, datetime | None]] = {}  # timing, cursor, the slot after it

    def find(self, tx: Transaction, now: datetime) -> list[Late]:
        runs = tx.cron.unfinished()
        return [*self._slots_without_a_row(tx, runs, now), *_rows_without_a_container(runs)]

    def _slots_without_a_row(self, tx: Transaction, runs: list[CronRun], now: datetime) -> list[Late]:
        apps = {row.name: row for row in tx.cron.apps() if row.current_release is not None and row.held_by is None}
        self._learn(tx, apps)
        rows = {Key(row.app, row.job): row for row in tx.cron.jobs(apps)}
        suspended = tx.cron.suspended(apps)
        slots, found = {}, []
        for live in self._live.values():
            for job in live.jobs:
                cursor = _cursor(job, live, rows.get(job.key), now)
                slots[job.key] = job.timing, cursor, (slot := self._slot_after(job, cursor))
                if slot is None or now - slot <= GRACE or _is_suspended(job.key, suspended) or _may_wait(job, runs):
                    continue
                found.append(Late(missed(*job.key, slot, UNDONE), PATIENCE))
        self._slots = slots
        return found

    def _learn(self, tx: Transaction, apps: Mapping[str, Row[Any]]) -> None:
        """The jobs of live releases; only those that changed since the last look are read."""
        before, self._live = self._live, {}
        for row in tx.cron.definitions(apps):
            known = before.get(row.app)
            self._live[row.app] = known if known is not None and known.row == row else Live(row, jobs_in(row))

    def _slot_after(self, job: Job, cursor: datetime) -> datetime | None:
        timing, before, slot = self._slots.get(job.key, (None, None, None))
        if (timing, before) == (job.timing, cursor):
            return slot
        try:
            return job.slots().after(cursor)
        except ScheduleError:
            return None  # the scheduler says so in its log, and the job's state does


def _cursor(job: Job, live: Live, row: Row[Any] | None, now: datetime) -> datetime:
    """Up to where the job's schedule has been dealt with; of a job that the scheduler has not learnt yet, since when
    it should have."""
    if row is not None and row.timing == job.timing:
        return row.cursor  # type: ignore[no-any-return]
    since: datetime = live.row.live_at or now
    return since if row is None else max(since, row.cursor)


def _is_suspended(key: Key, suspended: Mapping[tuple[str, str], str]) -> bool:
    return key in suspended or (key.app, ALL_JOBS) in suspended


def _may_wait(job: Job, runs: Iterable[CronRun]) -> bool:
    """Whether a run is under way that slots of the job wait for."""
    queues = job.overlap in (Overlap.QUEUE, Overlap.REPLACE)
    return any(
        run.app == job.key.app
        and ((queues and run.job == job.key.job) or (job.serial is not None and run.serial == job.serial))
        for run in runs
    )


def _rows_without_a_container(runs: Iterable[CronRun]) -> list[Late]:
    return [
        Late(missed(run.app, run.job, run.slot, NOT_BEGUN, run.id), GRACE.total_seconds())
        for run in runs
        if run.started_at is None
    ]
