"""A cron job as the scheduler keeps it in memory: small, because there may be thousands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from runtime.model import CatchUp, CronJob, Overlap
from runtime.scheduler.schedule import Schedule


class Key(NamedTuple):
    """What names a job."""

    app: str
    job: str

    def __str__(self) -> str:
        return f"{self.app}/{self.job}"


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a live release."""

    key: Key
    release: int
    schedule: str
    timezone: str
    overlap: Overlap
    catch_up: CatchUp
    serial: str | None = None  # of the app's jobs with the same word here one runs at a time

    @property
    def timing(self) -> str:
        """A change of this starts the schedule afresh."""
        return f"{self.schedule} {self.timezone}"

    def slots(self) -> Schedule:
        """Raises ScheduleError."""
        return Schedule(self.schedule, self.timezone, str(self.key))


def job_of(app: str, release: int, job: CronJob) -> Job:
    return Job(Key(app, job.name), release, job.schedule, job.timezone, job.overlap, job.catch_up, job.serial)
