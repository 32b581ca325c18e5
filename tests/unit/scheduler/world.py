"""A simulated world around the real agenda and the real store: time passes only when a test says so."""

from __future__ import annotations

from datetime import datetime, timedelta

from runtime.model import CronJob, CronRun, Overlap, RunState, Trigger
from runtime.scheduler.agenda import Agenda
from runtime.scheduler.ending import End
from runtime.scheduler.ledger import Ledger
from runtime.store import Store
from tests.cronrig import go_live

FAR = timedelta(days=400)


class World:
    """The app `shop` with jobs, a scheduler that can be stopped and started, and a clock that can be set."""

    def __init__(self, store: Store, now: datetime, *jobs: CronJob) -> None:
        self.store = store
        self.now = now
        self.tick = 0.0  # the clock that is never set
        self.highest = now  # what the wall clock has shown at most
        self.ledger = Ledger(store, "test")
        self.jobs = {job.name: job for job in jobs}
        self.number = 0
        self.deploy(*jobs)
        self.restart()

    # ---- time --------------------------------------------------------------------------------------------------

    def pass_time(self, span: timedelta) -> None:
        """The scheduler sleeps until what is due next, as its loop does."""
        end = self.now + span
        while (due := self.agenda.next()) is not None and due <= end:
            self._move_to(max(due, self.now))
            self.decide()
        self._move_to(end)

    def down_for(self, span: timedelta) -> None:
        """Nobody looks at the clock meanwhile."""
        self._move_to(self.now + span)
        self.restart()

    def set_clock(self, by: timedelta) -> None:
        """No time passes, but the clock shows another one."""
        self.now += by
        if by < timedelta(0):
            self.agenda.clock_was_set_back(self.now)
        self.decide()

    def _move_to(self, moment: datetime) -> None:
        self.tick += (moment - self.now).total_seconds()
        self.now = moment

    # ---- the scheduler -----------------------------------------------------------------------------------------

    def restart(self) -> None:
        self.agenda = Agenda(self.ledger)
        self.agenda.refresh(self.now)
        self.agenda.learn_retries()
        self.decide()

    def wake(self) -> None:
        self.agenda.refresh(self.now)
        self.decide()

    def decide(self) -> None:
        self.highest = max(self.highest, self.now)
        while (due := self.agenda.next()) is not None and due <= self.now:
            before = self.open()
            ticked = self.agenda.tick(self.now, self.tick)
            for run in ticked.claimed:
                self._check_claim(run, before)
                before.append(run)
            if ticked.asked_to_stop:
                self.obey_stops()

    def _check_claim(self, run: CronRun, before: list[CronRun]) -> None:
        with self.store.read() as tx:
            assert tx.apps.held_by("shop") is None, "claimed while a deploy holds the app"
            assert not tx.cron.suspended(["shop"]), "claimed while suspended"
            assert tx.apps.get("shop").current_release == run.release
        if self.jobs[run.job].overlap is not Overlap.ALLOW:
            assert not [other for other in before if other.job == run.job], "two runs at once"
        if run.serial is not None:
            assert not [other for other in before if other.serial == run.serial], "two runs of a serial group at once"

    # ---- runs and the app --------------------------------------------------------------------------------------

    def obey_stops(self) -> None:
        for run in self.open():
            if run.stop is not None:
                self.end(run, RunState.CANCELLED)

    def end(self, run: CronRun, state: RunState, retry_at: datetime | None = None) -> None:
        self.ledger.started(run, self.now)
        assert self.ledger.ended(run, End(state, self.now, 0), retry_at)
        self.agenda.ended(run, self.now)
        self.decide()

    def end_all(self) -> None:
        """Also those that begin because others end."""
        while runs := self.open():
            for run in runs:
                found = self.ledger.find(run.id)
                if found is not None and found.state.open:
                    self.end(run, RunState.SUCCEEDED)

    def deploy(self, *jobs: CronJob) -> None:
        self.number += 1
        go_live(self.store, "shop", self.number, *jobs, now=self.now)
        self.jobs = {job.name: job for job in jobs}

    def hold(self, deploy: int | None) -> None:
        with self.store.write() as tx:
            tx.apps.hold("shop", deploy)

    def suspend(self, *, on: bool) -> None:
        with self.store.write() as tx:
            if on:
                tx.cron.suspend("shop", "*", "ann", self.now)
            else:
                tx.cron.resume("shop", None)

    def open(self) -> list[CronRun]:
        return self.ledger.open()

    def runs(self, job: str = "tick") -> list[CronRun]:
        """Those of slots, by slot."""
        with self.store.read() as tx:
            found = tx.cron.of("shop", job, limit=100_000)
        by_slot = (Trigger.SCHEDULE, Trigger.CATCH_UP)
        return sorted((run for run in found if run.trigger in by_slot), key=lambda run: run.slot)

    def settle(self) -> None:
        """Nothing is in the way any more, and everything that is due is decided on."""
        self.hold(None)
        self.suspend(on=False)
        self.pass_time(max(timedelta(0), self.highest - self.now))
        for _ in range(3):
            self.wake()
            self.end_all()
        self.end_all()
