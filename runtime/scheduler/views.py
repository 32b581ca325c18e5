"""A job as a command shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from runtime.model import CronJob, CronRun, Overlap, Release
from runtime.scheduler.jobs import job_of
from runtime.scheduler.schedule import ScheduleError
from runtime.store.cron import ALL_JOBS


@dataclass(frozen=True)
class JobView:
    """A job of the live release and where it stands."""

    name: str
    schedule: str
    timezone: str
    command: str
    overlap: Overlap
    state: str  # "scheduled", "running", "suspended by NAME", "held by deploy N", "never due: why"
    next_due: datetime | None
    last: CronRun | None  # the newest, also when it was skipped
    open: tuple[CronRun, ...]  # those that have not ended


def view_of(
    release: Release,
    job: CronJob,
    *,
    suspended_by: str | None,
    held_by: int | None,
    last: CronRun | None,
    runs: tuple[CronRun, ...],
    now: datetime,
) -> JobView:
    """How the job stands at `now`."""
    next_due: datetime | None = None
    state = "scheduled" if not runs else "running"
    try:
        next_due = job_of(release.app, release.number, job).slots().after(now)
    except ScheduleError as error:
        state = f"never due: {error}"
    if held_by is not None:
        state = f"held by deploy {held_by}"
    if suspended_by is not None:
        state, next_due = f"suspended by {suspended_by}", None
    return JobView(job.name, job.schedule, job.timezone, job.command, job.overlap, state, next_due, last, runs)


def suspended_by(suspended: dict[tuple[str, str], str], app: str, job: str) -> str | None:
    """Who suspended the job, or its app."""
    return suspended.get((app, job)) or suspended.get((app, ALL_JOBS))
