"""What commands do with cron, on a real store; nothing here starts a container."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from runtime.engine.logs import LogLine
from runtime.errors import DeadlinePassed, LockstepError, NoSuchApp
from runtime.model import Overlap, RunState, Trigger
from runtime.parts import Parts
from runtime.scheduler import operations
from runtime.scheduler.jobs import Key
from runtime.scheduler.operations import CronOperations
from runtime.scheduler.runlog import RunLogs
from runtime.settings import Settings
from runtime.store import Store
from tests.cronrig import go_live, job


class Bench:
    """Operations whose scheduler is the test."""

    def __init__(self, settings: Settings, store: Store, now: datetime) -> None:
        self.settings, self.store, self.now, self.woken = settings, store, now, 0
        none = cast(Any, None)
        self.cron = CronOperations(Parts(settings, store, none, none, none, "", self._wake, clock=lambda: self.now))
        go_live(store, "shop", 1, job("tidy", schedule="0 3 * * *"), job("report", overlap=Overlap.REPLACE), now=now)

    def _wake(self) -> None:
        self.woken += 1

    def close(self, number: int, state: RunState = RunState.CANCELLED) -> None:
        with self.store.write() as tx:
            tx.cron.change(number, tuple(RunState), state=state.value, ended_at=self.now)


@pytest.fixture
def bench(home: Settings, store: Store, noon: datetime) -> Bench:
    return Bench(home, store, noon)


def test_listing_jobs(bench: Bench) -> None:
    tidy, report = bench.cron.jobs("shop")
    assert (tidy.name, tidy.schedule, tidy.timezone, tidy.command) == ("tidy", "0 3 * * *", "UTC", "true")
    assert (tidy.state, tidy.last, tidy.open) == ("scheduled", None, ())
    assert tidy.next_due == bench.now.replace(hour=3) + timedelta(days=1)
    assert report.overlap is Overlap.REPLACE


def test_listing_the_jobs_of_what_is_not_there(bench: Bench) -> None:
    with pytest.raises(NoSuchApp):
        bench.cron.jobs("nothing")
    with bench.store.write() as tx:
        tx.apps.create("empty", bench.now)
    assert bench.cron.jobs("empty") == []


async def test_running_now(bench: Bench) -> None:
    run = await bench.cron.run_now("shop", "tidy", "ann")
    assert (run.slot, run.trigger, run.who, run.release, run.state) == (
        bench.now,
        Trigger.MANUAL,
        "ann",
        1,
        RunState.DUE,
    )
    assert bench.woken == 1
    assert bench.cron.jobs("shop")[0].state == "running"
    with pytest.raises(LockstepError, match=f"run {run.id} of tidy has not ended .overlap: forbid.: wait for its end"):
        await bench.cron.run_now("shop", "tidy", "ann")
    assert bench.cron.history("shop") == bench.cron.history("shop", "tidy") == [run]


async def test_running_a_job_that_is_not_there_names_the_nearest(bench: Bench) -> None:
    with pytest.raises(LockstepError, match=r"shop v1 has no cron job 'tydy': did you mean 'tidy'\?"):
        await bench.cron.run_now("shop", "tydy", "ann")
    with pytest.raises(LockstepError, match="it has tidy, report"):
        await bench.cron.run_now("shop", "x", "ann")
    with bench.store.write() as tx:
        tx.apps.set_current("shop", None)
    with pytest.raises(LockstepError, match="nothing of shop is live: push to it first"):
        await bench.cron.run_now("shop", "tidy", "ann")


async def test_running_now_waits_for_a_deploy_and_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "CLAIM_DEADLINE", 0.2)
    with bench.store.write() as tx:
        tx.apps.hold("shop", 7)
    with pytest.raises(DeadlinePassed, match="the end of the deploy or the run that keeps tidy from starting"):
        await bench.cron.run_now("shop", "tidy", "ann")
    assert bench.cron.history("shop") == []
    assert bench.cron.jobs("shop")[0].state == "held by deploy 7"


async def test_running_now_replaces_where_that_is_wished(bench: Bench) -> None:
    first = await bench.cron.run_now("shop", "report", "ann")
    asked = asyncio.create_task(bench.cron.run_now("shop", "report", "bob"))
    await asyncio.sleep(0.15)
    assert bench.cron.run("shop", first.id).stop == "replaced by the next run"
    assert not asked.done()
    bench.close(first.id)
    bench.now += timedelta(seconds=1)
    assert (await asked).who == "bob"


async def test_running_now_is_refused_beside_a_run_of_the_serial_group(bench: Bench) -> None:
    go_live(bench.store, "shop", 2, job("a", serial="db"), job("b", serial="db"), job("c"), now=bench.now)
    run = await bench.cron.run_now("shop", "a", "ann")
    assert run.serial == "db"
    with pytest.raises(LockstepError, match=r"run 1 of a has not ended .serial: db.: wait for its end or 'cron:cancel"):
        await bench.cron.run_now("shop", "b", "ann")
    bench.now += timedelta(seconds=1)
    assert (await bench.cron.run_now("shop", "c", "ann")).serial is None


def test_suspending_and_resuming_one_job(bench: Bench) -> None:
    assert bench.cron.suspend("shop", "tidy", "ann") == ["tidy"]
    assert [(view.state, view.next_due is None) for view in bench.cron.jobs("shop")] == [
        ("suspended by ann", True), ("scheduled", False),
    ]  # fmt: skip
    assert bench.cron.resume("shop", "tidy") == ["tidy"]
    assert bench.cron.jobs("shop")[0].state == "scheduled"
    with pytest.raises(LockstepError, match="nothing is suspended"):
        bench.cron.resume("shop", "tidy")


def test_suspending_and_resuming_all_jobs(bench: Bench) -> None:
    bench.cron.suspend("shop", "tidy", "ann")
    assert bench.cron.suspend("shop", None, "bob") == ["tidy", "report"]
    assert [view.state for view in bench.cron.jobs("shop")] == ["suspended by ann", "suspended by bob"]
    with pytest.raises(LockstepError, match="all jobs of shop are suspended"):
        bench.cron.resume("shop", "report")
    bench.cron.resume("shop", None)
    assert {view.state for view in bench.cron.jobs("shop")} == {"scheduled"}


async def test_cancelling_answers_when_it_is_done(bench: Bench) -> None:
    run = await bench.cron.run_now("shop", "tidy", "ann")
    asked = asyncio.create_task(bench.cron.cancel("shop", "bob", number=run.id))
    await asyncio.sleep(0.15)
    assert not asked.done()
    assert bench.cron.run("shop", run.id).stop == "cancelled by bob"
    bench.close(run.id)
    assert [ended.id for ended in await asked] == [run.id]
    with pytest.raises(LockstepError, match=f"shop has no open run {run.id}"):
        await bench.cron.cancel("shop", "bob", number=run.id)


def test_a_run_of_another_app_is_not_shown(bench: Bench) -> None:
    go_live(bench.store, "blog", 1, job(), now=bench.now)
    with bench.store.write() as tx:
        run = tx.cron.open_run(
            "blog", "tick", bench.now, trigger=Trigger.MANUAL, state=RunState.DUE, release=1, now=bench.now
        )
    assert run is not None
    with pytest.raises(LockstepError, match=f"shop has no cron run {run.id}"):
        bench.cron.run("shop", run.id)


def test_the_history_of_a_job_that_never_was(bench: Bench) -> None:
    with pytest.raises(LockstepError, match="did you mean 'tidy'"):
        bench.cron.history("shop", "tid")
    assert bench.cron.history("shop", "tidy") == []


async def test_reading_a_stored_log(bench: Bench) -> None:
    run = await bench.cron.run_now("shop", "tidy", "ann")
    lines = [LogLine("2026-05-04T12:00:00.000000001Z", "one", error=False)] * 2
    with RunLogs(bench.settings.logs).writer(Key("shop", "tidy"), run.id) as writer:
        assert all(writer.add(line) for line in lines)
    bench.close(run.id, RunState.SUCCEEDED)
    assert [line async for line in bench.cron.log("shop", run.id, follow=True)] == lines


def test_old_runs_are_pruned_ended_ones_only(bench: Bench) -> None:
    with bench.store.write() as tx:
        for number in range(30):
            state = RunState.SKIPPED if number % 2 else RunState.DUE
            slot = bench.now + timedelta(minutes=number)
            run = tx.cron.open_run(
                "shop", "tidy", slot, trigger=Trigger.SCHEDULE, state=state, release=1, reason="x", now=slot
            )
            assert run is not None
            if number % 2 == 0 and number < 28:
                tx.cron.change(run.id, tuple(RunState), state="failed", ended_at=slot)
        long_ago = bench.now - timedelta(days=1)
        assert tx.cron.jobs_with_old_runs(5, long_ago) == [("shop", "tidy")]
        removed = tx.cron.prune("shop", "tidy", keep=5, before=long_ago)
        assert len(removed) == (15 - 5) + (14 - 5)
        left = tx.cron.of("shop", "tidy")
        assert sum(run.state is RunState.SKIPPED for run in left) == 5
        assert sum(run.state is RunState.FAILED for run in left) == 5
        assert sum(run.state is RunState.DUE for run in left) == 1
        tx.cron.prune("shop", "tidy", keep=5, before=bench.now + timedelta(days=1))
        assert [run.state for run in tx.cron.of("shop", "tidy")] == [RunState.DUE]
