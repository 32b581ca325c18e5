"""What is due when: the jobs of all live releases, their cursors, and what their slots wait for.

Every moment comes from outside, so that tests can walk through years. `now` is on the wall clock; `tick` is
seconds of a clock that is never set, for how long something has waited.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from runtime.model import CronRun
from runtime.scheduler.definitions import CORRECTION, Known
from runtime.scheduler.jobs import Job, Key
from runtime.scheduler.ledger import Due, Ledger, Ticked
from runtime.scheduler.planner import Planner
from runtime.scheduler.policy import ON_TIME, WaitsFor
from runtime.scheduler.schedule import ScheduleError, Slots

log = logging.getLogger(__name__)

BATCH: Final = 100  # slots that are decided on in one transaction
AGAIN: Final = {WaitsFor.DEPLOY: timedelta(seconds=1), WaitsFor.RUN: timedelta(seconds=60)}


@dataclass(slots=True)
class Wait:
    """Since when slots of a job wait, and since when for a deploy, in ticks."""

    since: float
    held_since: float | None


class Agenda:
    """Jobs and retries, each planned for its next moment."""

    def __init__(self, ledger: Ledger, fault: Callable[[str, str], None] = lambda step, moment: None) -> None:
        self._ledger = ledger
        self._fault = fault
        self._live: dict[str, int] = {}  # app -> the release whose jobs are known
        self._keys: dict[str, set[Key]] = {}
        self._jobs: dict[Key, Known] = {}
        self._plan: Planner[Key] = Planner()
        self._waits: dict[Key, Wait] = {}
        self._failed: dict[int, CronRun] = {}
        self._retries: Planner[int] = Planner()

    def __len__(self) -> int:
        return len(self._plan)

    def next(self) -> datetime | None:
        """When something is due next."""
        moments = [moment for moment in (self._plan.next(), self._retries.next()) if moment is not None]
        return min(moments, default=None)

    # ---- definitions -------------------------------------------------------------------------------------------

    def refresh(self, now: datetime) -> None:
        """Learn what changed in the store, and look again at slots that wait.

        An app that a deploy holds is left as it is known: its release may yet be undone.
        """
        rows = self._ledger.live()
        numbers = {row.name: row.current_release for row in rows if row.current_release is not None}
        settling = {row.name for row in rows if row.held_by is not None}
        for app in self._live.keys() - numbers.keys() - settling:
            self._forget(app)
        changed = {app for app, number in numbers.items() if self._live.get(app) != number}
        changed -= settling & self._live.keys()
        self._learn(changed, numbers, now)
        for key in self._waits:
            self._plan.put(key, now)

    def learn_retries(self) -> None:
        """Runs that failed under an earlier scheduler and are to be tried again."""
        for run in self._ledger.to_retry():
            self._plan_retry(run)

    def _learn(self, apps: set[str], numbers: dict[str, int], now: datetime) -> None:
        known = self._ledger.load(apps, now) if apps else []
        for app in apps:
            self._forget(app)
            self._live[app] = numbers[app]
        for one in known:
            self._keys.setdefault(one.job.key.app, set()).add(one.job.key)
            self._jobs[one.job.key] = one
            self._plan_next(one, now)

    def _forget(self, app: str) -> None:
        self._live.pop(app, None)
        for key in self._keys.pop(app, ()):
            del self._jobs[key]
            self._plan.drop(key)

    def _plan_next(self, one: Known, now: datetime) -> None:
        key = one.job.key
        try:
            self._plan.put(key, now if key in self._waits else one.job.slots().after(one.cursor))
        except ScheduleError as error:
            log.error("%s is not scheduled: %s", key, error)
            self._plan.drop(key)

    def clock_was_set_back(self, now: datetime) -> None:
        """Cursors far ahead come from a clock that was wrong: those jobs start afresh."""
        for key, one in list(self._jobs.items()):
            if one.cursor > now + CORRECTION:
                log.warning("%s was dealt with up to %s, which is far ahead: it starts afresh", key, one.cursor)
                self._ledger.set_cursor(key, now)
                self._advance(key, now, now)

    # ---- slots -------------------------------------------------------------------------------------------------

    def tick(self, now: datetime, tick: float) -> Ticked:
        """Decide on a batch of what is due by now; call again until nothing is due."""
        due = [one for key in self._plan.take(now, BATCH) if (one := self._due(key, now, tick)) is not None]
        ticked = Ticked()
        if due:
            self._fault("insert", "before")
            ticked = self._ledger.tick(due, now)
            self._fault("insert", "after")
        for one in ticked.done:
            self._waits.pop(one.job.key, None)
            self._advance(one.job.key, one.newest.last, now, one.newest.following)
        for key, what in ticked.waiting.items():
            self._wait(key, what, now, tick)
        if ticked.stale:
            self._look_again(ticked.stale, now)
        ticked.claimed += self._retry(now)
        return ticked

    def ended(self, run: CronRun, now: datetime) -> None:
        """A run has ended: slots that waited for it are looked at, and a failed one is planned again."""
        for key in self._waits:
            if key in self._jobs and _waited_for(run, self._jobs[key].job):
                self._plan.put(key, now)
        for number, failed in self._failed.items():
            if (
                run.serial is not None
                and (failed.app, failed.serial) == (run.app, run.serial)
                and _is_past(failed, now)
            ):
                self._retries.put(number, now)
        closed = self._ledger.find(run.id)
        if closed is not None and closed.retry_at is not None:
            self._plan_retry(closed)

    def _due(self, key: Key, now: datetime, tick: float) -> Due | None:
        one, wait = self._jobs[key], self._waits.get(key)
        held_for = 0.0 if wait is None or wait.held_since is None else tick - wait.held_since
        late = now - ON_TIME - timedelta(seconds=0.0 if wait is None else tick - wait.since)
        try:
            missed, fresh = _split(one, late, now)
        except ScheduleError as error:
            log.error("%s is not scheduled any more: %s", key, error)
            return None
        if missed is None and fresh is None:
            self._waits.pop(key, None)
            self._plan_next(one, now)
            return None
        return Due(one.job, missed, fresh, timedelta(seconds=held_for))

    def _wait(self, key: Key, what: WaitsFor, now: datetime, tick: float) -> None:
        wait = self._waits.setdefault(key, Wait(tick, None))
        held = what is WaitsFor.DEPLOY
        wait.held_since = (tick if wait.held_since is None else wait.held_since) if held else None
        self._plan.put(key, now + AGAIN[what])

    def _advance(self, key: Key, cursor: datetime, now: datetime, following: datetime | None = None) -> None:
        self._jobs[key] = known = Known(self._jobs[key].job, cursor)
        if following is None:
            self._plan_next(known, now)
        else:
            self._plan.put(key, following)

    def _look_again(self, stale: Iterable[Key], now: datetime) -> None:
        self.refresh(now)
        for key in stale:
            if key in self._jobs and self._plan.moment(key) is None:
                self._plan.put(key, now + AGAIN[WaitsFor.DEPLOY])

    # ---- retries -----------------------------------------------------------------------------------------------

    def _plan_retry(self, run: CronRun) -> None:
        assert run.retry_at is not None
        self._failed[run.id] = run
        self._retries.put(run.id, run.retry_at)

    def _retry(self, now: datetime) -> list[CronRun]:
        claimed: list[CronRun] = []
        for number in self._retries.take(now, BATCH):
            found = self._ledger.retry(self._failed[number], now)
            if isinstance(found, WaitsFor):
                self._retries.put(number, now + AGAIN[found])
                continue
            del self._failed[number]
            if found is not None:
                claimed.append(found)
        return claimed


def _waited_for(run: CronRun, job: Job) -> bool:
    """Whether the run was in the way of the job's slots."""
    in_group = job.serial is not None and (run.app, run.serial) == (job.key.app, job.serial)
    return in_group or (run.app, run.job) == job.key


def _is_past(failed: CronRun, now: datetime) -> bool:
    return failed.retry_at is not None and failed.retry_at <= now


def _split(one: Known, late: datetime, now: datetime) -> tuple[Slots | None, Slots | None]:
    """The slots that are too late to be on time, and those that are not."""
    schedule = one.job.slots()
    slots = schedule.between(one.cursor, now)
    if slots is None or slots.first > late:
        return None, slots
    if slots.last <= late:
        return slots, None
    return schedule.between(one.cursor, late), schedule.between(late, now)
