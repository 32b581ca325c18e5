"""What the scheduler reads and writes in the store, one transaction each."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row

from runtime.alerts.model import GRACE
from runtime.alerts.raising import missed, raise_alert, run_failed
from runtime.engine.specs import Place
from runtime.errors import LockstepError
from runtime.model import CronJob, CronRun, Release, RunState, Trigger
from runtime.place import place_in
from runtime.scheduler.definitions import Known, load_jobs
from runtime.scheduler.ending import End
from runtime.scheduler.jobs import Job, Key
from runtime.scheduler.policy import REPLACED, Decision, Entry, Facts, WaitsFor, decide
from runtime.scheduler.schedule import Slots
from runtime.store import Store, Transaction
from runtime.store.cron import ALL_JOBS

log = logging.getLogger(__name__)

CHUNK: Final = 500  # apps whose definitions are read at once

# The states that each state of a run may be reached from.
MOVES: Final[dict[RunState, tuple[RunState, ...]]] = {
    RunState.RUNNING: (RunState.DUE,),
    RunState.SUCCEEDED: (RunState.RUNNING,),
    RunState.TIMED_OUT: (RunState.RUNNING,),
    RunState.FAILED: (RunState.DUE, RunState.RUNNING),
    RunState.CANCELLED: (RunState.DUE, RunState.RUNNING),
    RunState.INTERRUPTED: (RunState.DUE, RunState.RUNNING),
    RunState.SKIPPED: (RunState.DUE,),
}
FAILURES: Final = frozenset({RunState.FAILED, RunState.TIMED_OUT, RunState.INTERRUPTED})  # that are alerted of


def move(tx: Transaction, run: CronRun, state: RunState, **values: Any) -> bool:
    """The only function that changes a run's state; False when the run has gone elsewhere, or is gone."""
    moved = tx.cron.change(run.id, MOVES[state], state=state.value, **values)
    how = "" if moved else " refused"
    log.info("run %d of %s/%s: %s%s", run.id, run.app, run.job, state.value, how)
    return moved


@dataclass(frozen=True, slots=True)
class Due:
    """A job with slots to decide on; `held_for` is how long they have waited for a deploy."""

    job: Job
    missed: Slots | None
    fresh: Slots | None
    held_for: timedelta = timedelta(0)

    @property
    def newest(self) -> Slots:
        found = self.fresh or self.missed
        assert found is not None
        return found

    @property
    def oldest(self) -> Slots:
        return self.missed or self.newest


@dataclass
class Ticked:
    """What a transaction made of due slots."""

    claimed: list[CronRun] = field(default_factory=list)
    waiting: dict[Key, WaitsFor] = field(default_factory=dict)
    done: list[Due] = field(default_factory=list)  # of which the cursor moved
    stale: set[Key] = field(default_factory=set)  # jobs whose app has another live release by now
    asked_to_stop: bool = False


class NotStarted(LockstepError):
    """The run ends without having run to its end; `state` is what it is recorded as."""

    def __init__(self, state: RunState, message: str) -> None:
        super().__init__(message)
        self.state = state


class Ledger:
    """The store as the scheduler uses it."""

    def __init__(self, store: Store, instance: str) -> None:
        self._store = store
        self._instance = instance

    # ---- definitions -------------------------------------------------------------------------------------------

    def live(self) -> list[Row[Any]]:
        """(name, current_release, held_by) of every app."""
        with self._store.read() as tx:
            return tx.cron.apps()

    def load(self, apps: Iterable[str], now: datetime) -> list[Known]:
        """The jobs of the live releases of these apps, with new ones and changed ones written down."""
        names = sorted(apps)
        found: list[Known] = []
        for start in range(0, len(names), CHUNK):
            with self._store.write() as tx:
                found += load_jobs(tx, names[start : start + CHUNK], now)
        return found

    # ---- slots -------------------------------------------------------------------------------------------------

    def tick(self, due: list[Due], now: datetime) -> Ticked:
        """Decide on due slots, and write what was decided, against what the store says in the same moment."""
        ticked = Ticked()
        names = {one.job.key.app for one in due}
        with self._store.write() as tx:
            apps = {row.name: row for row in tx.cron.apps(names)}
            suspended = tx.cron.suspended(names)
            open_runs = _OpenRuns(tx.cron.unfinished_of(names))
            failed = {Key(run.app, run.job) for run in tx.cron.to_retry()}
            for one in sorted(due, key=lambda one: one.oldest.first):  # a serial group's queue is first in, first out
                key = one.job.key
                app = apps.get(key.app)
                if app is None or (app.held_by is None and app.current_release not in (None, one.job.release)):
                    ticked.stale.add(key)
                    continue
                facts = _facts(one, app, suspended, open_runs)
                for run in self._act(tx, one, decide(one.job, one.missed, one.fresh, facts), ticked, now):
                    open_runs.add(run)
            for key in failed & {Key(run.app, run.job) for run in ticked.claimed}:
                _drop_retries(tx, key, now)
            tx.cron.set_cursors([(*one.job.key, one.newest.last) for one in ticked.done])
        return ticked

    def _act(self, tx: Transaction, due: Due, decision: Decision, ticked: Ticked, now: datetime) -> list[CronRun]:
        """Write what was decided; the runs that were claimed."""
        for number in decision.stop:
            ticked.asked_to_stop |= tx.cron.ask_stop(number, REPLACED)
        if decision.wait is not None:
            ticked.waiting[due.job.key] = decision.wait
            return []
        written = [_write(tx, due.job, entry, now) for entry in decision.entries]
        claimed = [run for run in written if run is not None and run.state.open]
        ticked.claimed += claimed
        ticked.done.append(due)
        return claimed

    def retry(self, run: CronRun, now: datetime) -> CronRun | WaitsFor | None:
        """Claim the next attempt of a failed run; None when nothing is to be tried any more."""
        with self._store.write() as tx:
            known = tx.cron.find(run.id)
            if known is None or known.retry_at is None:
                return None
            run = known
            app = tx.cron.apps([run.app])[0]
            if app.held_by is not None:
                return WaitsFor.DEPLOY
            job = _live_job(tx, run.app, run.job)
            suspended = _suspended_by(Key(run.app, run.job), tx.cron.suspended([run.app]))
            if job is None or suspended or tx.cron.unfinished(run.app, run.job):
                _drop_retries(tx, Key(run.app, run.job), now)
                return None
            serial = job.get("serial")
            if serial is not None and any(other.serial == serial for other in tx.cron.unfinished(run.app)):
                return WaitsFor.RUN
            _drop_retries(tx, Key(run.app, run.job), now, but=run.id)
            return tx.cron.open_run(
                run.app,
                run.job,
                now,
                trigger=Trigger.RETRY,
                state=RunState.DUE,
                release=app.current_release,
                attempt=run.attempt + 1,
                reason=f"again after run {run.id}",
                serial=serial,
                now=now,
            )

    def set_cursor(self, key: Key, moment: datetime) -> None:
        with self._store.write() as tx:
            tx.cron.set_cursors([(*key, moment)])

    # ---- runs --------------------------------------------------------------------------------------------------

    def open(self) -> list[CronRun]:
        with self._store.read() as tx:
            return tx.cron.unfinished()

    def to_retry(self) -> list[CronRun]:
        with self._store.read() as tx:
            return tx.cron.to_retry()

    def startable(self, run: CronRun) -> tuple[Release, Place] | None:
        """What to run and where; None when the run is gone, with its app. Raises NotStarted when it must not start."""
        with self._store.read() as tx:
            found = tx.cron.find(run.id)
            if found is None or not found.state.open:
                return None
            current = tx.releases.current(run.app)
            if current is None or current.number != run.release:
                raise NotStarted(RunState.SKIPPED, f"v{run.release} was not live any more")
            return current, place_in(tx, self._instance, current)

    def held(self, apps: set[str]) -> set[str]:
        """Those of the apps that a deploy holds."""
        with self._store.read() as tx:
            return {row.name for row in tx.cron.apps(apps) if row.held_by is not None}

    def job(self, run: CronRun) -> CronJob | None:
        """The job as the run's release defines it."""
        with self._store.read() as tx:
            release = None if run.release is None else tx.releases.find(run.app, run.release)
        return None if release is None else _job_in(release, run.job)

    def stop_reason(self, run: CronRun) -> str | None:
        with self._store.read() as tx:
            found = tx.cron.find(run.id)
        return None if found is None else found.stop

    def started(self, run: CronRun, at: datetime) -> bool:
        with self._store.write() as tx:
            return move(tx, run, RunState.RUNNING, started_at=at)

    def ended(self, run: CronRun, end: End, retry_at: datetime | None) -> bool:
        values = {"ended_at": end.at, "exit_code": end.exit_code, "retry_at": retry_at}
        reason = end.reason if end.reason is not None else run.reason
        with self._store.write() as tx:
            moved = move(tx, run, end.state, reason=reason, **values)
            if moved and retry_at is None and end.state in FAILURES:
                run_failed(tx, run.model_copy(update={"state": end.state, "reason": reason, **values}), end.at)
        return moved

    # ---- keeping house -----------------------------------------------------------------------------------------

    def with_old_runs(self, keep: int, before: datetime) -> list[Key]:
        """Jobs of which `prune` may remove runs."""
        with self._store.read() as tx:
            return [Key(*names) for names in tx.cron.jobs_with_old_runs(keep, before)]

    def prune(self, key: Key, keep: int, before: datetime) -> list[int]:
        """Remove old runs of one job; their numbers."""
        with self._store.write() as tx:
            return tx.cron.prune(*key, keep=keep, before=before)

    def app_names(self) -> set[str]:
        """Of all apps, also those by which the folders of a renamed one may still be called."""
        with self._store.read() as tx:
            return {row.name for row in tx.cron.apps()} | set(tx.apps.moving().values())

    def find(self, number: int) -> CronRun | None:
        with self._store.read() as tx:
            return tx.cron.find(number)


class _OpenRuns:
    """Runs that have not ended, by job and by serial group."""

    def __init__(self, runs: list[CronRun]) -> None:
        self._of_job: dict[Key, list[CronRun]] = {}
        self._of_group: dict[tuple[str, str], list[CronRun]] = {}
        for run in runs:
            self.add(run)

    def add(self, run: CronRun) -> None:
        self._of_job.setdefault(Key(run.app, run.job), []).append(run)
        if run.serial is not None:
            self._of_group.setdefault((run.app, run.serial), []).append(run)

    def of_job(self, job: Job) -> tuple[CronRun, ...]:
        return tuple(self._of_job.get(job.key, ()))

    def of_group(self, job: Job) -> tuple[CronRun, ...]:
        return () if job.serial is None else tuple(self._of_group.get((job.key.app, job.serial), ()))


def _facts(due: Due, app: Row[Any], suspended: dict[tuple[str, str], str], open_runs: _OpenRuns) -> Facts:
    return Facts(
        live=app.current_release is not None,
        held_by=app.held_by,
        held_for=due.held_for,
        suspended_by=_suspended_by(due.job.key, suspended),
        open=open_runs.of_job(due.job),
        group=open_runs.of_group(due.job),
    )


def _suspended_by(key: Key, suspended: dict[tuple[str, str], str]) -> str | None:
    return suspended.get(key) or suspended.get((key.app, ALL_JOBS))


def _write(tx: Transaction, job: Job, entry: Entry, now: datetime) -> CronRun | None:
    run = tx.cron.open_run(
        *job.key,
        entry.slots.last,
        trigger=entry.trigger,
        state=entry.state,
        release=job.release,
        stands_for=entry.slots.count,
        reason=entry.reason,
        serial=job.serial,
        now=now,
    )
    if run is None:
        log.warning("%s: the slot of %s had been dealt with before", job.key, entry.slots.last)
    elif not run.state.open:
        log.info("run %d of %s: skipped, %s", run.id, job.key, run.reason)
        if entry.missed and now - entry.slots.first > GRACE:
            raise_alert(tx, missed(*job.key, entry.slots.first, entry.reason or "", run.id), now)
    return run


def _drop_retries(tx: Transaction, key: Key, now: datetime, but: int | None = None) -> None:
    """What failed of the job is not tried again, and is alerted of; but one, whose next attempt begins."""
    for run in tx.cron.to_retry():
        if (run.app, run.job) == key and run.id != but:
            run_failed(tx, run, now)
    tx.cron.drop_retries(*key)


def _job_in(release: Release, name: str) -> CronJob | None:
    return next((job for job in release.spec.crons if job.name == name), None)


def _live_job(tx: Transaction, app: str, name: str) -> dict[str, Any] | None:
    """The job as the live release defines it, in JSON; None when there is none."""
    rows = tx.cron.definitions([app])
    return next((item for row in rows for item in json.loads(row.crons) if item["name"] == name), None)
