"""The jobs of live releases as the store has them, and how far each has been dealt with."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Row

from runtime.model import CronJob
from runtime.scheduler.jobs import Job, Key, job_of
from runtime.store import Transaction
from runtime.store.cron import ALL_JOBS

log = logging.getLogger(__name__)

CRONS: Final = TypeAdapter(tuple[CronJob, ...])
CORRECTION: Final = timedelta(hours=3)  # a clock that is set back by more was wrong: the schedule starts afresh


@dataclass(frozen=True, slots=True)
class Known:
    """A job and how far its schedule has been dealt with."""

    job: Job
    cursor: datetime


def load_jobs(tx: Transaction, apps: Iterable[str], now: datetime) -> list[Known]:
    """The jobs of the live releases of these apps; new and changed ones are written down, those gone are forgotten."""
    names = list(apps)
    before = {Key(row.app, row.job): row for row in tx.cron.jobs(names) if row.job != ALL_JOBS}
    rows = tx.cron.definitions(names)
    known = [_known(job, row.live_at, before.get(job.key), now) for row in rows for job in jobs_in(row)]
    tx.cron.put_jobs([_row(one) for one in known if _differs(one, before.get(one.job.key))])
    with_release = {row.app for row in rows}
    for key in before.keys() - {one.job.key for one in known}:
        if key.app in with_release:
            tx.cron.forget_job(*key)
    return known


def jobs_in(row: Row[Any]) -> list[Job]:
    """The jobs of a row of `tx.cron.definitions`."""
    try:
        jobs = CRONS.validate_json(row.crons)
    except ValidationError as error:
        log.error("the cron jobs of %s v%d can not be read: %s", row.app, row.number, error)
        return []
    return [job_of(row.app, row.number, job) for job in jobs]


def _known(job: Job, live_at: datetime | None, row: Row[Any] | None, now: datetime) -> Known:
    """With the cursor of the row; a new job's is when its release went live, a changed one's is now."""
    if row is None:
        return Known(job, min(live_at or now, now))
    if row.timing != job.timing or row.cursor > now + CORRECTION:
        return Known(job, now)
    return Known(job, row.cursor)


def _differs(one: Known, row: Row[Any] | None) -> bool:
    return row is None or row.timing != one.job.timing or row.cursor != one.cursor


def _row(one: Known) -> dict[str, Any]:
    app, job = one.job.key
    return {"app": app, "job": job, "cursor": one.cursor, "timing": one.job.timing}
