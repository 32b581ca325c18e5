"""Who writes an alert, of what, and for which address."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from runtime.alerts.model import Alert, AlertKind, AlertState
from runtime.model import CatchUp, DeployState, Overlap, RunState
from runtime.release import Progress, move
from runtime.scheduler.ending import End
from runtime.store import Store
from tests.cronrig import go_live, job
from tests.unit.gitreceive.desk import Office
from tests.unit.runtime.samples import spec
from tests.unit.scheduler.conftest import NOON
from tests.unit.scheduler.world import World

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
URL = "https://hooks.example.com/secret"


def alerts(store: Store) -> list[Alert]:
    """Oldest first."""
    with store.read() as tx:
        return list(reversed(tx.alerts.of()))


def about(store: Store) -> list[str]:
    return [alert.cause.about for alert in alerts(store)]


# ---- cron runs --------------------------------------------------------------------------------------------------


def test_a_run_that_failed_is_alerted_of_with_an_event(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule="30 12 * * *"))
    world.pass_time(30 * MINUTE)
    world.end(world.open()[0], RunState.FAILED)
    (alert,) = alerts(store)
    cause = alert.cause
    assert (cause.kind, cause.app, cause.job, cause.run, cause.status) == (AlertKind.RUN, "shop", "tick", 1, "failed")
    assert (cause.slot, cause.exit_code, alert.raised_at) == (noon + 30 * MINUTE, 0, world.now)
    assert (alert.url, alert.state, alert.next_try_at) == (None, AlertState.UNSENT, None)
    with store.read() as tx:
        (event,) = tx.events.of("shop")
    assert (event.who, event.action, event.detail) == ("alerts", "alert", "run 1")


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (End(RunState.FAILED, NOON, 3), "exited with 3"),
        (
            End(RunState.FAILED, NOON, 137, "out of memory (over 32 MiB)"),
            "exited with 137: out of memory (over 32 MiB)",
        ),
        (End(RunState.FAILED, NOON, None, "cannot start: no such image"), "cannot start: no such image"),
        (End(RunState.TIMED_OUT, NOON, 137, "did not end within 60 s"), "did not end within 60 s"),
    ],
)
def test_what_is_said_of_it(store: Store, noon: datetime, end: End, error: str) -> None:
    world = World(store, noon, job(schedule="30 12 * * *"))
    world.pass_time(30 * MINUTE)
    (run,) = world.open()
    world.ledger.started(run, world.now)
    world.ledger.ended(run, end, None)
    assert [alert.cause.error for alert in alerts(store)] == [error]


@pytest.mark.parametrize("state", [RunState.TIMED_OUT, RunState.INTERRUPTED])
def test_so_is_one_that_timed_out_or_was_interrupted(store: Store, noon: datetime, state: RunState) -> None:
    world = World(store, noon, job(schedule="30 12 * * *"))
    world.pass_time(30 * MINUTE)
    world.end(world.open()[0], state)
    assert [alert.cause.status for alert in alerts(store)] == [state.value]


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.CANCELLED])
def test_what_went_well_or_was_stopped_on_purpose_is_not(store: Store, noon: datetime, state: RunState) -> None:
    world = World(store, noon, job(schedule="30 12 * * *"))
    world.pass_time(30 * MINUTE)
    world.end(world.open()[0], state)
    assert alerts(store) == []


def test_the_address_is_that_of_the_runs_own_release(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule="30 12 * * *"))
    go_live(store, "shop", 2, *world.jobs.values(), now=noon, notify_on_failure=URL)
    world.wake()
    world.pass_time(30 * MINUTE)
    go_live(store, "shop", 3, *world.jobs.values(), now=noon)
    world.end(world.open()[0], RunState.FAILED)
    (alert,) = alerts(store)
    assert (alert.url, alert.state, alert.next_try_at) == (URL, AlertState.WAITING, world.now)


def test_a_run_is_alerted_of_after_its_last_retry(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule="0 * * * *", retries=1))
    world.pass_time(HOUR)
    world.end(world.open()[0], RunState.FAILED, retry_at=world.now + 10 * MINUTE)
    assert alerts(store) == []
    world.pass_time(10 * MINUTE)
    world.end(world.open()[0], RunState.FAILED)
    assert about(store) == ["run 2"]


def test_a_retry_that_the_next_slot_makes_needless_is_alerted_of(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule="* * * * *", retries=5))
    world.pass_time(MINUTE)
    world.end(world.open()[0], RunState.FAILED, retry_at=world.now + HOUR)
    world.pass_time(MINUTE)
    assert about(store) == ["run 1"]
    assert alerts(store)[0].cause.status == "failed"


def test_of_several_that_failed_one_is_tried_again_and_the_others_are_alerted_of(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule="1,2,3 12 * * *", retries=5, overlap=Overlap.ALLOW))
    world.pass_time(3 * MINUTE)
    for run in world.open():
        world.end(run, RunState.FAILED, retry_at=world.now + run.id * MINUTE)
    world.pass_time(MINUTE)
    assert [run.reason for run in world.open()] == ["again after run 1"]
    assert about(store) == ["run 2", "run 3"]


def test_a_retry_that_can_not_be_is_alerted_of(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule="0 * * * *", retries=5))
    world.pass_time(HOUR)
    world.end(world.open()[0], RunState.FAILED, retry_at=world.now + MINUTE)
    world.suspend(on=True)
    world.pass_time(MINUTE)
    assert about(store) == ["run 1"]


# ---- slots that did not happen ----------------------------------------------------------------------------------


def test_slots_that_were_missed_and_are_not_caught_up_are_alerted_of_once(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule="0 * * * *", catch_up=CatchUp.SKIP))
    world.down_for(5 * HOUR + 10 * MINUTE)
    (alert,) = alerts(store)
    assert (alert.cause.kind, alert.cause.slot, alert.cause.status) == (AlertKind.MISSED, noon + HOUR, "missed")
    assert alert.cause.error == "missed while the scheduler or the app was down"


def test_a_short_gap_and_slots_that_are_caught_up_are_not(store: Store, noon: datetime) -> None:
    world = World(
        store,
        noon,
        job(schedule="*/2 * * * *", catch_up=CatchUp.SKIP, overlap=Overlap.ALLOW),
        job("later", schedule="0 * * * *"),
    )
    world.down_for(4 * MINUTE)
    assert alerts(store) == []
    world.end_all()
    world.deploy(job("later", schedule="0 * * * *"))
    world.down_for(5 * HOUR)
    assert [run.stands_for for run in world.runs("later")] == [5]
    assert alerts(store) == []


def test_a_slot_that_a_deploy_held_for_too_long_is_alerted_of(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule="1 12 * * *"))
    world.hold(7)
    world.pass_time(12 * MINUTE)
    assert [alert.cause.error for alert in alerts(store)] == ["deploy 7 held the app for over 600 s"]


def test_slots_that_are_skipped_on_purpose_are_not(store: Store, noon: datetime) -> None:
    world = World(store, noon, job(schedule="* * * * *"))
    world.suspend(on=True)
    world.pass_time(20 * MINUTE)
    assert len(world.runs()) == 20
    assert alerts(store) == []


# ---- deploys ----------------------------------------------------------------------------------------------------


@pytest.fixture
def office(tmp_path: Path) -> Office:
    office = Office(tmp_path)
    office.add_app("shop", 1, 2, live=1, notify_on_failure="https://live.example.com/")
    return office


def begin(office: Office, release: int | None = None) -> Progress:
    with office.store.write() as tx:
        deploy = tx.deploys.begin("shop", "push", "anna", None, 1, office.parts.clock())
    return Progress(deploy.model_copy(update={"release": release}), time.monotonic())


def test_a_deploy_that_failed_is_alerted_of(office: Office) -> None:
    progress = begin(office)
    move(office.parts, progress, DeployState.FAILED, error="pip exited with 1")
    (alert,) = alerts(office.store)
    assert (alert.cause.about, alert.cause.error, alert.cause.status) == ("deploy 1", "pip exited with 1", "failed")
    assert alert.url == "https://live.example.com/"


def test_a_deploy_that_was_cancelled_is_not(office: Office) -> None:
    move(office.parts, begin(office), DeployState.CANCELLED, error="cancelled by anna")
    assert alerts(office.store) == []


def test_the_commits_own_address_is_told_where_its_manifest_was_read(office: Office) -> None:
    read, without, made = begin(office), begin(office), begin(office, release=2)
    read.spec, without.spec = spec(notify_on_failure=URL), spec()
    for progress in (read, without, made):
        move(office.parts, progress, DeployState.FAILED, error="no")
    assert [alert.url for alert in alerts(office.store)] == [URL, None, "https://live.example.com/"]


def test_a_first_push_that_fails_before_its_manifest_was_read_tells_nobody(office: Office) -> None:
    office.add_app("fresh")
    with office.store.write() as tx:
        deploy = tx.deploys.begin("fresh", "push", "anna", None, None, office.parts.clock())
    move(office.parts, Progress(deploy, time.monotonic()), DeployState.FAILED, error="no")
    assert [(alert.cause.app, alert.url) for alert in alerts(office.store)] == [("fresh", None)]
