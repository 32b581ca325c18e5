"""What the server sees of a scheduler that does nothing: time passes only when a test says so."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from runtime.alerts.model import AlertKind
from runtime.alerts.watch import Watch
from runtime.model import CronJob, Overlap, RunState, Trigger
from runtime.store import Store
from tests.cronrig import go_live, job
from tests.unit.scheduler.world import World

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
LOOK = timedelta(seconds=20)
HOURLY = "0 * * * *"


class Tower:
    """A watch over the world of the scheduler's tests."""

    def __init__(self, store: Store, now: datetime, *jobs: CronJob) -> None:
        self.store = store
        self.world = World(store, now, *jobs)
        self.restart()

    def restart(self) -> None:
        self.watch = Watch(self.store, lambda: self.world.now)

    def pass_time(self, span: timedelta, *, scheduler: bool = False) -> None:
        """Looks while the scheduler works, or while it does nothing; fewer of them in a long time."""
        look = LOOK if span < HOUR else 15 * LOOK
        end = self.world.now + span
        while self.world.now < end:
            if scheduler:
                self.world.pass_time(look)
                self.beat()
            else:
                self.world._move_to(self.world.now + look)
            self.watch.look(self.world.now, self.world.tick)

    def beat(self) -> None:
        with self.store.write() as tx:
            tx.cron.beat("scheduler", at=self.world.now, pid=1)

    def found(self, *kinds: AlertKind) -> list[tuple[str | None, Any]]:
        """(job, slot) of the alerts, oldest first."""
        kinds = kinds or (AlertKind.MISSED,)
        with self.store.read() as tx:
            return [(one.cause.job, one.cause.slot) for one in reversed(tx.alerts.of()) if one.cause.kind in kinds]


@pytest.fixture
def tower(store: Store, noon: datetime) -> Tower:
    return Tower(store, noon, job(schedule=HOURLY))


def test_a_slot_that_nobody_dealt_with_is_alerted_of_once(tower: Tower, noon: datetime) -> None:
    tower.pass_time(HOUR)
    tower.pass_time(5 * MINUTE)
    assert tower.found() == []
    tower.pass_time(2 * MINUTE)
    assert tower.found() == [("tick", noon + HOUR)]
    tower.pass_time(10 * HOUR)
    tower.restart()
    tower.pass_time(HOUR)
    assert tower.found() == [("tick", noon + HOUR)]


def test_a_second_outage_is_another_alert(tower: Tower, noon: datetime) -> None:
    tower.pass_time(2 * HOUR)
    tower.world.restart()
    tower.world.end_all()
    tower.pass_time(2 * HOUR)
    assert tower.found() == [("tick", noon + HOUR), ("tick", noon + 3 * HOUR)]


def test_nothing_is_alerted_of_while_the_scheduler_works(tower: Tower) -> None:
    for _ in range(3):
        tower.pass_time(HOUR, scheduler=True)
        tower.world.end_all()
    assert tower.found(*AlertKind) == []


def test_a_scheduler_that_comes_up_with_the_server_has_time_to_catch_up(tower: Tower) -> None:
    tower.world._move_to(tower.world.now + 9 * HOUR)
    tower.restart()
    tower.watch.look(tower.world.now, tower.world.tick)
    tower.pass_time(LOOK)
    tower.world.restart()
    tower.pass_time(5 * MINUTE, scheduler=True)
    assert tower.found(*AlertKind) == []


def test_a_clock_that_is_set_forward_alerts_of_nothing(tower: Tower) -> None:
    tower.pass_time(MINUTE, scheduler=True)
    tower.world.now += timedelta(days=3)
    tower.watch.look(tower.world.now, tower.world.tick)
    tower.pass_time(5 * MINUTE, scheduler=True)
    assert tower.found(*AlertKind) == []


def test_suspended_jobs_held_apps_and_apps_that_are_not_live_are_left_alone(tower: Tower) -> None:
    tower.world.suspend(on=True)
    tower.pass_time(2 * HOUR)
    tower.world.suspend(on=False)
    tower.world.hold(7)
    tower.pass_time(2 * HOUR)
    tower.world.hold(None)
    with tower.store.write() as tx:
        tx.apps.set_current("shop", None)
    tower.pass_time(2 * HOUR)
    assert tower.found() == []


@pytest.mark.parametrize("overlap", [Overlap.QUEUE, Overlap.REPLACE])
def test_slots_that_wait_for_a_run_are_not_missed(store: Store, noon: datetime, overlap: Overlap) -> None:
    tower = Tower(store, noon, job(schedule=HOURLY, overlap=overlap))
    tower.world.pass_time(HOUR)
    tower.world.ledger.started(tower.world.open()[0], tower.world.now)
    tower.pass_time(2 * HOUR)
    assert tower.found() == []


def test_nor_are_those_that_wait_for_their_serial_group(store: Store, noon: datetime) -> None:
    tower = Tower(store, noon, job("one", schedule="0 13 * * *", serial="db"), job(schedule=HOURLY, serial="db"))
    tower.world.pass_time(HOUR)
    (run,) = tower.world.open()
    assert run.job == "one"
    tower.world.ledger.started(run, tower.world.now)
    tower.pass_time(2 * HOUR)
    assert tower.found() == []


def test_a_job_that_the_scheduler_has_not_learnt_is_watched_from_when_it_went_live(
    tower: Tower, store: Store, noon: datetime
) -> None:
    go_live(store, "shop", 2, job("new", schedule="*/10 * * * *"), now=noon)
    tower.pass_time(20 * MINUTE)
    assert tower.found() == [("new", noon + 10 * MINUTE)]


def test_jobs_of_an_app_that_was_destroyed_are_forgotten_though_another_has_its_name(tower: Tower) -> None:
    tower.pass_time(10 * MINUTE, scheduler=True)
    with tower.store.write() as tx:
        tx.apps.remove("shop")
    go_live(tower.store, "shop", 1, job("other", schedule="0 15 * * *"), now=tower.world.now)
    tower.pass_time(2 * HOUR)
    assert tower.found() == []


def test_a_run_that_does_not_begin_is_alerted_of(tower: Tower) -> None:
    with tower.store.write() as tx:
        run = tx.cron.open_run(
            "shop", "tick", tower.world.now, trigger=Trigger.MANUAL, state=RunState.DUE, release=1, now=tower.world.now
        )
    assert run is not None
    tower.pass_time(4 * MINUTE)
    assert tower.found() == []
    tower.pass_time(2 * MINUTE)
    assert tower.found() == [("tick", run.slot)]


def test_silence_is_alerted_of_once_each_time(tower: Tower, noon: datetime) -> None:
    tower.beat()
    tower.pass_time(MINUTE)
    assert tower.found(AlertKind.SCHEDULER) == []
    tower.pass_time(5 * MINUTE)
    tower.beat()
    tower.pass_time(5 * MINUTE)
    with tower.store.read() as tx:
        alerts, events = tx.alerts.of([None]), tx.events.of(None)
    assert [alert.cause.slot for alert in alerts] == [noon + 6 * MINUTE, noon]
    assert alerts[0].cause.error == "the scheduler gives no sign of life for 60 s: no cron job starts"
    assert [event.detail for event in events] == [alert.cause.about for alert in alerts]
