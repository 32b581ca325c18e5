"""Cron runs, what each job's schedule has been dealt with up to, and the scheduler's heartbeat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, Select, bindparam, delete, func, insert, select, text, update
from sqlalchemy.dialects.sqlite import insert as upsert

from runtime.errors import LockstepError
from runtime.model import CronRun, RunState, Trigger
from runtime.store import schema
from runtime.store.rows import Rows

RUN = schema.cron_runs.c
JOB = schema.cron_jobs.c
APP = schema.apps.c
RELEASE = schema.releases.c
IS_OPEN: Final = text("state in ('due', 'running')")  # literal, so that the index of open runs serves it
ALL_JOBS: Final = "*"  # the row of the app itself; no job can have that name

# Built once, because a thousand slots may be due in the same second.
CLAIM: Final = upsert(schema.cron_runs).on_conflict_do_nothing(index_elements=["app", "job", "slot"]).returning(*RUN)
SET_CURSOR: Final = (
    update(schema.cron_jobs)
    .where(JOB.app == bindparam("of_app"), JOB.job == bindparam("of_job"))
    .values(cursor=bindparam("moment"))
)


class Cron(Rows):
    # ---- jobs --------------------------------------------------------------------------------------------------

    def apps(self, names: Iterable[str] | None = None) -> list[Row[Any]]:
        """(name, current_release, held_by) of these apps, or of all."""
        query = select(APP.name, APP.current_release, APP.held_by)
        return self._all(query if names is None else query.where(APP.name.in_(list(names))))

    def definitions(self, names: Iterable[str]) -> list[Row[Any]]:
        """(app, number, live_at, crons) of the live releases of these apps; `crons` is JSON."""
        crons = func.json_extract(RELEASE.spec, "$.crons").label("crons")
        is_live = (APP.name == RELEASE.app) & (APP.current_release == RELEASE.number)
        query = select(RELEASE.app, RELEASE.number, RELEASE.live_at, crons)
        return self._all(query.join(schema.apps, is_live).where(RELEASE.app.in_(list(names))))

    def jobs(self, names: Iterable[str] | None = None) -> list[Row[Any]]:
        """The rows of these apps' jobs, or of all."""
        query = select(schema.cron_jobs)
        return self._all(query if names is None else query.where(JOB.app.in_(list(names))))

    def put_jobs(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write (app, job, cursor, timing) of jobs; suspensions stay."""
        if rows:
            new = upsert(schema.cron_jobs)
            changed = {"cursor": new.excluded.cursor, "timing": new.excluded.timing}
            statement = new.on_conflict_do_update(index_elements=["app", "job"], set_=changed)
            self._connection.execute(statement, list(rows))

    def set_cursors(self, moved: Sequence[tuple[str, str, datetime]]) -> None:
        if moved:
            rows = [{"of_app": app, "of_job": job, "moment": moment} for app, job, moment in moved]
            self._connection.execute(SET_CURSOR, rows)

    def forget_job(self, app: str, job: str) -> None:
        """The live release does not have the job; that it is suspended is remembered."""
        where = (JOB.app == app, JOB.job == job)
        self._change(delete(schema.cron_jobs).where(*where, JOB.suspended_at.is_(None)))
        self._change(update(schema.cron_jobs).where(*where).values(timing=None))

    def suspend(self, app: str, job: str, who: str, now: datetime) -> None:
        changed = {"suspended_at": now, "suspended_by": who}
        statement = upsert(schema.cron_jobs).values(app=app, job=job, cursor=now, **changed)
        self._change(statement.on_conflict_do_update(index_elements=["app", "job"], set_=changed))

    def resume(self, app: str, job: str | None) -> int:
        """Lift the suspension of one job, or of the app and all its jobs; how many were lifted."""
        where = [JOB.app == app, JOB.suspended_at.is_not(None)]
        where += [] if job is None else [JOB.job == job]
        return self._change(update(schema.cron_jobs).where(*where).values(suspended_at=None, suspended_by=None))

    def suspended(self, names: Iterable[str]) -> dict[tuple[str, str], str]:
        """(app, job) -> who suspended it, ALL_JOBS for a whole app."""
        query = select(JOB.app, JOB.job, JOB.suspended_by)
        rows = self._all(query.where(JOB.app.in_(list(names)), JOB.suspended_at.is_not(None)))
        return {(row.app, row.job): row.suspended_by for row in rows}

    # ---- runs --------------------------------------------------------------------------------------------------

    def open_run(
        self,
        app: str,
        job: str,
        slot: datetime,
        *,
        trigger: Trigger,
        state: RunState,
        release: int | None,
        stands_for: int = 1,
        attempt: int = 1,
        reason: str | None = None,
        who: str | None = None,
        serial: str | None = None,
        now: datetime,
    ) -> CronRun | None:
        """Claim the slot; None when it has been claimed before."""
        values = {
            "app": app,
            "job": job,
            "slot": slot,
            "trigger": trigger.value,
            "state": state.value,
            "release": release,
            "stands_for": stands_for,
            "attempt": attempt,
            "reason": reason,
            "who": who,
            "serial": serial,
            "ended_at": None if state.open else now,
        }
        row = self._connection.execute(CLAIM, values).one_or_none()
        return None if row is None else _run(row)

    def find(self, number: int) -> CronRun | None:
        row = self._one(select(schema.cron_runs).where(RUN.id == number))
        return None if row is None else _run(row)

    def get(self, number: int) -> CronRun:
        run = self.find(number)
        if run is None:
            raise LockstepError(f"there is no cron run {number}: 'cron:history APP' lists those there are")
        return run

    def of(self, app: str, job: str | None = None, *, limit: int = 50) -> list[CronRun]:
        query = select(schema.cron_runs).where(RUN.app == app).order_by(RUN.id.desc()).limit(limit)
        return self._runs(query if job is None else query.where(RUN.job == job))

    def last(self, app: str, job: str) -> CronRun | None:
        runs = self.of(app, job, limit=1)
        return runs[0] if runs else None

    def unfinished(self, app: str | None = None, job: str | None = None) -> list[CronRun]:
        query = select(schema.cron_runs).where(IS_OPEN).order_by(RUN.id)
        if app is not None:
            query = query.where(RUN.app == app)
        if job is not None:
            query = query.where(RUN.job == job)
        return self._runs(query)

    def unfinished_of(self, names: Iterable[str]) -> list[CronRun]:
        """The open runs of these apps."""
        return self._runs(select(schema.cron_runs).where(IS_OPEN, RUN.app.in_(list(names))).order_by(RUN.id))

    def to_retry(self) -> list[CronRun]:
        return self._runs(select(schema.cron_runs).where(RUN.retry_at.is_not(None)).order_by(RUN.id))

    def change(self, number: int, before: Sequence[RunState], **values: Any) -> bool:
        """Write these columns; False when the run is not in one of the states `before`, or is gone."""
        states = [state.value for state in before]
        statement = update(schema.cron_runs).where(RUN.id == number, RUN.state.in_(states)).values(**values)
        return self._change(statement) == 1

    def ask_stop(self, number: int, why: str) -> bool:
        """Ask the scheduler to stop the run; False when it has ended, or was asked before."""
        where = (RUN.id == number, IS_OPEN, RUN.stop.is_(None))
        return self._change(update(schema.cron_runs).where(*where).values(stop=why)) == 1

    def drop_retries(self, app: str, job: str) -> None:
        """Nothing of the job waits to be tried again."""
        where = (RUN.retry_at.is_not(None), RUN.app == app, RUN.job == job)
        self._change(update(schema.cron_runs).where(*where).values(retry_at=None))

    def jobs_with_old_runs(self, keep: int, before: datetime) -> list[tuple[str, str]]:
        """(app, job) of those that have more than `keep` runs, or one that ended before a moment."""
        too_many, too_old = func.count() > keep, func.min(RUN.ended_at) < before
        query = select(RUN.app, RUN.job).group_by(RUN.app, RUN.job).having(too_many | too_old)
        return [(row.app, row.job) for row in self._all(query)]

    def prune(self, app: str, job: str, *, keep: int, before: datetime) -> list[int]:
        """Remove ended runs beyond the `keep` newest, of those that ran and of those that were skipped, and all
        that ended before a moment; the numbers of those removed."""
        ended = select(RUN.id).where(RUN.app == app, RUN.job == job, RUN.ended_at.is_not(None), RUN.retry_at.is_(None))
        newest = ended.order_by(RUN.id.desc()).limit(-1).offset(keep)
        was_skipped = RUN.state == RunState.SKIPPED.value
        queries = (newest.where(was_skipped), newest.where(~was_skipped), ended.where(RUN.ended_at < before))
        old = {row[0] for query in queries for row in self._all(query)}
        self._change(delete(schema.cron_runs).where(RUN.id.in_(old)))
        return sorted(old)

    def _runs(self, query: Select[Any]) -> list[CronRun]:
        return [_run(row) for row in self._all(query)]

    # ---- the sign of life --------------------------------------------------------------------------------------

    def heartbeat(self, name: str) -> Row[Any] | None:
        """(at, pid, next_due, jobs, running) of the scheduler, once it has run."""
        return self._one(select(schema.heartbeats).where(schema.heartbeats.c.name == name))

    def beat(self, name: str, **values: Any) -> None:
        self._change(delete(schema.heartbeats).where(schema.heartbeats.c.name == name))
        self._change(insert(schema.heartbeats).values(name=name, **values))


def _run(row: Row[Any]) -> CronRun:
    return CronRun(
        id=row.id,
        app=row.app,
        job=row.job,
        slot=row.slot,
        trigger=Trigger(row.trigger),
        state=RunState(row.state),
        release=row.release,
        stands_for=row.stands_for,
        started_at=row.started_at,
        ended_at=row.ended_at,
        exit_code=row.exit_code,
        reason=row.reason,
        who=row.who,
        attempt=row.attempt,
        stop=row.stop,
        retry_at=row.retry_at,
        serial=row.serial,
    )
