"""The agenda between the store and the clock."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from runtime.model import CatchUp, Overlap, RunState, Trigger
from runtime.scheduler.ledger import MOVES, move
from runtime.store import Store
from tests.cronrig import job
from tests.unit.scheduler.world import World

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
EACH_MINUTE = "* * * * *"
HOURLY = "0 * * * *"


def test_a_slot_is_claimed_when_it_is_due(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule="30 12 * * *"))
    assert world.agenda.next() == noon + 30 * MINUTE
    world.pass_time(29 * MINUTE)
    assert world.runs() == []
    world.pass_time(MINUTE)
    (run,) = world.runs()
    assert (run.slot, run.state, run.trigger, run.release) == (noon + 30 * MINUTE, RunState.DUE, Trigger.SCHEDULE, 1)


def test_a_slot_is_claimed_once_even_by_two_schedulers(store: Store, noon: datetime) -> None:
    first = World(store, noon, job(schedule=EACH_MINUTE, overlap=Overlap.ALLOW))
    second = World.__new__(World)
    second.__dict__.update(first.__dict__)
    second.restart()
    for _ in range(5):
        first.pass_time(MINUTE)
        second.pass_time(MINUTE)
    assert [run.slot for run in first.runs()] == [noon + number * MINUTE for number in range(1, 6)]


def test_a_new_job_has_nothing_to_catch_up(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule=HOURLY))
    world.pass_time(10 * HOUR)
    world.end_all()
    world.deploy(job(schedule=HOURLY), job("new", schedule=EACH_MINUTE))
    world.wake()
    assert world.runs("new") == []


def test_slots_since_the_release_went_live_are_caught_up(store: Store, noon: datetime) -> None:
    world = World(store, noon, job())
    world.deploy(job("new", schedule=HOURLY))
    world.down_for(5 * HOUR)
    (run,) = world.runs("new")
    assert (run.slot, run.stands_for, run.trigger) == (noon + 5 * HOUR, 5, Trigger.CATCH_UP)


def test_another_schedule_starts_afresh_and_another_command_does_not(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule=HOURLY))
    world.now += 3 * HOUR  # nobody looks
    world.deploy(job(schedule=HOURLY, command="false"))
    world.wake()
    (run,) = world.runs()
    assert (run.stands_for, run.release) == (3, 2)
    world.end_all()
    world.now += 3 * HOUR
    world.deploy(job(schedule="5 * * * *"))
    world.wake()
    assert len(world.runs()) == 1
    world.pass_time(5 * MINUTE)
    assert world.runs()[-1].stands_for == 1


def test_a_job_that_is_gone_is_not_run_and_starts_afresh_when_it_is_back(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule=HOURLY), job("other"))
    world.deploy(job("other"))
    world.wake()
    world.pass_time(5 * HOUR)
    world.deploy(job(schedule=HOURLY), job("other"))
    world.wake()
    assert world.runs() == []
    world.pass_time(HOUR)
    assert [run.stands_for for run in world.runs()] == [1]


def test_an_app_without_a_live_release_catches_up_when_it_has_one(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule=HOURLY))
    with store.write() as tx:
        tx.apps.set_current("shop", None)
    world.wake()
    world.pass_time(4 * HOUR)
    assert world.runs() == []
    world.deploy(job(schedule=HOURLY))
    world.wake()
    assert [run.stands_for for run in world.runs()] == [4]


def test_a_slot_during_a_deploy_runs_from_the_release_that_is_live_then(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule="1 12 * * *"))
    world.hold(7)
    world.pass_time(MINUTE + timedelta(seconds=20))
    assert world.runs() == []
    world.deploy(job(schedule="1 12 * * *"))
    world.pass_time(timedelta(seconds=20))
    assert world.runs() == []
    world.hold(None)
    world.wake()
    (run,) = world.runs()
    assert (run.release, run.stands_for, run.trigger) == (2, 1, Trigger.SCHEDULE)


def test_a_deploy_that_is_undone_changes_nothing(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule="1 12 * * *"))
    world.hold(7)
    world.deploy(job(schedule="2 12 * * *"))
    world.wake()
    world.pass_time(MINUTE)
    with store.write() as tx:
        tx.apps.set_current("shop", 1)
        tx.apps.hold("shop", None)
    world.wake()
    assert [run.release for run in world.runs()] == [1]


def test_a_deploy_that_holds_too_long_is_said(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule="1 12 * * *"))
    world.hold(7)
    world.pass_time(12 * MINUTE)
    (run,) = world.runs()
    assert (run.state, run.reason) == (RunState.SKIPPED, "deploy 7 held the app for over 600 s")


def test_slots_while_suspended_are_recorded(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule=EACH_MINUTE))
    world.suspend(on=True)
    world.pass_time(3 * MINUTE)
    assert {(run.state, run.reason) for run in world.runs()} == {(RunState.SKIPPED, "suspended by ann")}
    world.suspend(on=False)
    world.pass_time(MINUTE)
    assert [run.state for run in world.runs()] == [*3 * [RunState.SKIPPED], RunState.DUE]


def test_a_suspension_outlives_a_release_without_the_job(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule=HOURLY))
    with store.write() as tx:
        tx.cron.suspend("shop", "tick", "ann", noon)
    for jobs in ((), (job(schedule=HOURLY),)):
        world.deploy(*jobs)
        world.wake()
    world.pass_time(HOUR)
    assert [run.reason for run in world.runs()] == ["suspended by ann"]


def test_a_queue_is_one_run_for_all_that_waited(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule=EACH_MINUTE, overlap=Overlap.QUEUE, catch_up=CatchUp.SKIP))
    world.pass_time(MINUTE)
    (running,) = world.open()
    world.pass_time(10 * MINUTE)
    assert len(world.runs()) == 1
    world.end(running, RunState.SUCCEEDED)
    _, second = world.runs()
    assert (second.stands_for, second.trigger, second.state) == (10, Trigger.SCHEDULE, RunState.DUE)


def test_a_serial_group_runs_one_at_a_time_first_come_first_served(store: Store, noon: datetime) -> None:
    names = ("c", "b", "a")
    jobs = [job(name, schedule=f"{minute} 12 * * *", serial="db") for minute, name in enumerate(names, 1)]
    world = World(store, noon, *jobs, job("free", schedule="2 12 * * *"))
    world.pass_time(10 * MINUTE)
    assert sorted(run.job for run in world.open()) == ["c", "free"]
    order = []
    while busy := [run for run in world.open() if run.serial == "db"]:
        assert len(busy) == 1
        order.append(busy[0].job)
        world.restart()
        world.end(busy[0], RunState.SUCCEEDED)
    assert order == ["c", "b", "a"]
    assert [world.runs(name)[0].stands_for for name in names] == [1, 1, 1]


def test_jobs_of_a_serial_group_that_are_due_at_once_start_one_after_the_other(store: Store, noon: datetime) -> None:
    world = World(store, noon, *(job(name, schedule="1 12 * * *", serial="db") for name in ("a", "b", "c")))
    world.pass_time(5 * MINUTE)
    for _ in range(3):
        (run,) = world.open()
        world.end(run, RunState.FAILED)
    assert world.open() == []
    assert [len(world.runs(name)) for name in ("a", "b", "c")] == [1, 1, 1]


def test_a_serial_group_outlives_a_deploy(store: Store, noon: datetime) -> None:
    """The run of an older release counts, also when the new one has no such job."""
    world = World(store, noon, job("old", schedule="1 12 * * *", serial="db"))
    world.pass_time(MINUTE)
    (old,) = world.open()
    world.deploy(job(schedule="3 12 * * *", serial="db"))
    world.wake()
    world.pass_time(5 * MINUTE)
    assert world.open() == [old]
    world.end(old, RunState.SUCCEEDED)
    assert [run.job for run in world.open()] == ["tick"]


def test_a_retry_waits_for_its_serial_group(store: Store, noon: datetime) -> None:
    world = World(
        store, noon, job("a", schedule="1 12 * * *", serial="db", retries=1), job(schedule="2 12 * * *", serial="db")
    )
    world.pass_time(MINUTE)
    world.end(world.open()[0], RunState.FAILED, retry_at=world.now + 2 * MINUTE)
    world.pass_time(4 * MINUTE)
    (run,) = world.open()
    assert run.job == "tick"
    world.end(run, RunState.SUCCEEDED)
    (again,) = world.open()
    assert (again.job, again.attempt, again.serial) == ("a", 2, "db")


def test_replace_stops_the_run_and_then_starts(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule=EACH_MINUTE, overlap=Overlap.REPLACE))
    world.pass_time(2 * MINUTE)
    first, second = world.runs()
    assert (first.state, first.stop, second.state) == (RunState.CANCELLED, "replaced by the next run", RunState.DUE)


def test_a_clock_that_is_set_back_a_little_repeats_nothing(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule=EACH_MINUTE, overlap=Overlap.ALLOW))
    world.pass_time(90 * MINUTE)
    world.set_clock(-2 * HOUR)
    world.pass_time(120 * MINUTE)
    assert [run.slot for run in world.runs()] == [noon + number * MINUTE for number in range(1, 91)]
    world.pass_time(MINUTE)
    assert len(world.runs()) == 91


@pytest.mark.parametrize("restart", [False, True])
def test_a_clock_that_was_far_ahead_does_not_wedge_a_job(store: Store, noon: datetime, restart: bool) -> None:
    world = World(store, noon, job(schedule=HOURLY, overlap=Overlap.ALLOW))
    world.set_clock(timedelta(days=1500))
    world.set_clock(timedelta(days=-1500))
    if restart:
        world.restart()
    world.pass_time(2 * HOUR)
    assert [run.slot for run in world.runs()][:2] == [noon + HOUR, noon + 2 * HOUR]


def test_a_failed_run_is_tried_again_from_the_live_release(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule=HOURLY, retries=1))
    world.pass_time(HOUR)
    world.end(world.open()[0], RunState.FAILED, retry_at=world.now + timedelta(seconds=10))
    world.deploy(job(schedule=HOURLY, retries=1))
    world.restart()
    world.pass_time(timedelta(seconds=9))
    assert world.open() == []
    world.pass_time(timedelta(seconds=2))
    (again,) = world.open()
    assert (again.trigger, again.attempt, again.release, again.reason) == (Trigger.RETRY, 2, 2, "again after run 1")
    world.restart()
    world.pass_time(MINUTE)
    assert len(world.open()) == 1


def test_a_retry_waits_for_a_deploy_and_is_dropped_for_the_next_slot(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule=EACH_MINUTE, retries=5))
    world.pass_time(MINUTE)
    world.end(world.open()[0], RunState.FAILED, retry_at=world.now + timedelta(seconds=10))
    world.hold(7)
    world.pass_time(timedelta(seconds=30))
    assert world.open() == []
    world.hold(None)
    world.pass_time(timedelta(seconds=1))
    (again,) = world.open()
    world.end(again, RunState.FAILED, retry_at=world.now + HOUR)
    world.pass_time(MINUTE)
    assert world.ledger.to_retry() == []


def test_a_schedule_that_never_comes_harms_no_other(store: Store, noon: datetime) -> None:
    world = World(store, noon, job("never", schedule="0 0 31 2 *"), job(schedule=EACH_MINUTE))
    world.pass_time(MINUTE)
    assert len(world.runs()) == 1


def test_a_run_changes_its_state_only_as_it_may(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule=EACH_MINUTE))
    world.pass_time(MINUTE)
    (run,) = world.open()
    for state in RunState:
        if state is RunState.DUE:
            assert state not in MOVES
            continue
        with store.write() as tx:
            moved = move(tx, run, state)
            assert moved is (RunState.DUE in MOVES[state])
            tx.cron.change(run.id, tuple(RunState), state="due")
