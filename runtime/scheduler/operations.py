"""What commands do with cron: they write what is wanted into the store, wake the scheduler, and wait for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from difflib import get_close_matches
from typing import Final, TypeVar

from runtime import names
from runtime.engine.logs import LogLine, container_logs
from runtime.errors import DeadlinePassed, EngineUnreachable, LockstepError, NotFound
from runtime.model import CronJob, CronRun, Overlap, Release, RunState, Trigger
from runtime.parts import Parts
from runtime.scheduler.jobs import Key
from runtime.scheduler.policy import REPLACED
from runtime.scheduler.runlog import RunLogs
from runtime.scheduler.views import JobView, suspended_by, view_of
from runtime.store import Transaction
from runtime.store.cron import ALL_JOBS

STEP: Final = 0.1  # seconds between looks at what the scheduler makes of it
CLAIM_DEADLINE: Final = 60.0  # seconds that a run that is asked for waits for a deploy, or the run it replaces
STOP_DEADLINE: Final = 45.0  # seconds beyond the job's grace for a cancelled run to be closed

Found = TypeVar("Found")


class CronOperations:
    """Jobs and runs of apps. All raise NoSuchApp for an app that is not there."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._logs = RunLogs(parts.settings.logs)

    # ---- jobs --------------------------------------------------------------------------------------------------

    def jobs(self, app: str) -> list[JobView]:
        """The cron jobs of the live release; none when there is no live release."""
        now = self._parts.clock()
        with self._parts.store.read() as tx:
            held_by = tx.apps.held_by(tx.apps.get(app).name)
            release = tx.releases.current(app)
            suspended = tx.cron.suspended([app])
            runs = tx.cron.unfinished(app)
            last = {} if release is None else {job.name: tx.cron.last(app, job.name) for job in release.spec.crons}
        if release is None:
            return []
        open_runs = {job.name: tuple(run for run in runs if run.job == job.name) for job in release.spec.crons}
        return [
            view_of(
                release,
                job,
                suspended_by=suspended_by(suspended, app, job.name),
                held_by=held_by,
                last=last[job.name],
                runs=open_runs[job.name],
                now=now,
            )
            for job in release.spec.crons
        ]

    def suspend(self, app: str, job: str | None, who: str) -> list[str]:
        """No slot of the job, or of all jobs of the app now and later, starts a run; the names of those meant."""
        with self._parts.store.write() as tx:
            found = _jobs_meant(tx, app, job)
            tx.cron.suspend(app, job or ALL_JOBS, who, self._parts.clock())
        self._parts.wake_scheduler()
        return found

    def resume(self, app: str, job: str | None) -> list[str]:
        """Lift it; without a job also those of single jobs. Raises LockstepError when nothing was suspended."""
        with self._parts.store.write() as tx:
            found = _jobs_meant(tx, app, job)
            if job is not None and (app, ALL_JOBS) in tx.cron.suspended([app]):
                raise LockstepError(f"all jobs of {app} are suspended: resume them all with 'cron:resume {app}'")
            if not tx.cron.resume(app, job):
                raise LockstepError(f"nothing is suspended: 'cron {app}' shows the jobs and their state")
        self._parts.wake_scheduler()
        return found

    # ---- runs --------------------------------------------------------------------------------------------------

    async def run_now(self, app: str, job: str, who: str) -> CronRun:
        """A run of the job from the live release, claimed now; the scheduler starts it at once.

        A suspended job can be run so. Raises LockstepError when there is no such job, when it runs and its
        overlap policy forbids another, and DeadlinePassed while a deploy or a run to be replaced is in the way.
        """
        what = f"the end of the deploy or the run that keeps {job} from starting"
        run = await _until(what, CLAIM_DEADLINE, lambda: self._claim(app, job, who))
        self._parts.wake_scheduler()
        return run

    async def until_ended(self, app: str, number: int, seconds: float) -> CronRun:
        """The run once it has ended. Raises DeadlinePassed."""

        def ended() -> CronRun | None:
            run = self.run(app, number)
            return None if run.state.open else run

        return await _until(f"the end of run {number}", seconds, ended)

    def run(self, app: str, number: int) -> CronRun:
        """Raises LockstepError when the app has no such run."""
        with self._parts.store.read() as tx:
            run = tx.cron.find(number) if tx.apps.get(app) else None
        if run is None or run.app != app:
            raise LockstepError(f"{app} has no cron run {number}: 'cron:history {app}' lists those there are")
        return run

    def history(self, app: str, job: str | None = None, *, limit: int = 50) -> list[CronRun]:
        """The newest first; of a job that no release has any more, too."""
        with self._parts.store.read() as tx:
            tx.apps.get(app)
            found = tx.cron.of(app, job, limit=limit)
            if not found and job is not None:
                _jobs_meant(tx, app, job)
        return found

    async def cancel(self, app: str, who: str, *, number: int | None = None, job: str | None = None) -> list[CronRun]:
        """Stop one open run, or all of a job, or all of the app; the runs as they ended.

        Raises LockstepError when there is nothing to stop, DeadlinePassed when the scheduler does not end them.
        """
        with self._parts.store.write() as tx:
            tx.apps.get(app)
            runs = tx.cron.unfinished(app, job)
            if number is not None:
                runs = [run for run in runs if run.id == number]
            if not runs:
                what = "has no run under way" if number is None else f"has no open run {number}"
                raise LockstepError(f"{app} {what}: 'cron:history {app}' shows its runs")
            for run in runs:
                tx.cron.ask_stop(run.id, f"cancelled by {who}")
            grace = max(_grace(tx, run) for run in runs)
        self._parts.wake_scheduler()
        return [await self.until_ended(app, run.id, grace + STOP_DEADLINE) for run in runs]

    # ---- what runs wrote ---------------------------------------------------------------------------------------

    async def log(self, app: str, number: int, *, follow: bool = False) -> AsyncIterator[LogLine]:
        """What a run wrote, oldest first; with `follow` also what it writes until it ends."""
        seen = ""
        while (run := self.run(app, number)).state.open:
            last = seen
            async for line in self._from_container(run, follow):
                if line.moment > seen:
                    yield line
                    last = line.moment
            seen = last
            if not follow:
                return
            await asyncio.sleep(STEP)
        for line in self._logs.read(Key(app, run.job), number) or ():
            if line.moment > seen:
                yield line

    async def _from_container(self, run: CronRun, follow: bool) -> AsyncIterator[LogLine]:
        name = names.one_off(self._parts.settings.instance, run.app, run.job, f"r{run.id}")
        try:
            async for line in container_logs(self._parts.fleet.engine, name, follow=follow):
                yield line
        except (NotFound, EngineUnreachable):
            return  # not made yet, or gone by now, or its engine is: the row says which, and is looked at again

    # ---- what they are made of ---------------------------------------------------------------------------------

    def _claim(self, app: str, job: str, who: str) -> CronRun | None:
        """The row of a run that was asked for; None while something must end before it."""
        now = self._parts.clock()
        with self._parts.store.write() as tx:
            _jobs_meant(tx, app, job)
            release = tx.releases.current(app)
            assert release is not None
            if tx.apps.held_by(app) is not None:
                return None
            defined = _job(release, job)
            if self._must_wait(tx, app, defined):
                return None
            return tx.cron.open_run(
                app,
                job,
                now,
                trigger=Trigger.MANUAL,
                state=RunState.DUE,
                release=release.number,
                who=who,
                serial=defined.serial,
                now=now,
            )

    def _must_wait(self, tx: Transaction, app: str, job: CronJob) -> bool:
        """Whether runs of the job are in the way and were told to stop. Raises LockstepError when they may go on."""
        runs = tx.cron.unfinished(app, job.name)
        _refuse_beside_group(tx, app, job)
        if not runs or job.overlap is Overlap.ALLOW:
            return False
        if job.overlap is not Overlap.REPLACE:
            raise LockstepError(
                f"run {runs[-1].id} of {job.name} has not ended (overlap: {job.overlap.value}): "
                f"wait for its end or 'cron:cancel {app} {runs[-1].id}'"
            )
        for run in runs:
            tx.cron.ask_stop(run.id, REPLACED)
        self._parts.wake_scheduler()
        return True


def _jobs_meant(tx: Transaction, app: str, job: str | None) -> list[str]:
    """The job, or all of the live release. Raises LockstepError, naming the nearest, when there is no such job."""
    release = tx.releases.current(tx.apps.get(app).name)
    if release is None:
        raise LockstepError(f"nothing of {app} is live: push to it first")
    known = [one.name for one in release.spec.crons]
    if job is None:
        return known
    if job not in known:
        near = get_close_matches(job, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(known) or 'none'}"
        raise LockstepError(f"{app} {release.label} has no cron job '{job[:40]}': {hint}")
    return [job]


def _refuse_beside_group(tx: Transaction, app: str, job: CronJob) -> None:
    """Raises LockstepError while a run of another job of the serial group, or with `allow` of its own, goes on."""
    runs = [] if job.serial is None else [run for run in tx.cron.unfinished(app) if run.serial == job.serial]
    in_way = [run for run in runs if run.job != job.name or job.overlap is Overlap.ALLOW]
    if in_way:
        raise LockstepError(
            f"run {in_way[-1].id} of {in_way[-1].job} has not ended (serial: {job.serial}): "
            f"wait for its end or 'cron:cancel {app} {in_way[-1].id}'"
        )


def _job(release: Release, name: str) -> CronJob:
    return next(job for job in release.spec.crons if job.name == name)


def _grace(tx: Transaction, run: CronRun) -> float:
    release = None if run.release is None else tx.releases.find(run.app, run.release)
    return (
        0.0 if release is None else max((job.grace for job in release.spec.crons if job.name == run.job), default=0.0)
    )


async def _until(what: str, seconds: float, look: Callable[[], Found | None]) -> Found:
    """The first answer that is not None. Raises DeadlinePassed."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise DeadlinePassed(what, seconds)
        await asyncio.sleep(STEP)
    return found
