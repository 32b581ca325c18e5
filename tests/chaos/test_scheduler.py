"""The scheduler is killed at every point of a run, and at any moment: nothing runs twice, nothing is lost.

What counts is what the command itself did: each run adds its number to a file.
"""

from __future__ import annotations

import asyncio
import random
import signal
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtime.model import CronRun, Overlap, RunState
from tests.cronrig import CronRig, job, until

pytestmark = pytest.mark.engine
POINTS = [
    f"cron-{step}:{moment}"
    for step in ("insert", "create", "start", "wait", "log", "close")
    for moment in ("before", "after")
]
HOURLY = "0 * * * *"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[CronRig]:
    rig = await CronRig(tmp_path, f"chaos{uuid.uuid4().hex[:8]}").open()
    try:
        await rig.open_volume("data")
        yield rig
    finally:
        await rig.close()


def missed(rig: CronRig, name: str, hours: int) -> None:
    """Have the job's hourly slots be missed."""
    with rig.store.write() as tx:
        moment = datetime.now(UTC) - timedelta(hours=hours)
        tx.cron.put_jobs([{"app": "shop", "job": name, "cursor": moment, "timing": f"{HOURLY} UTC"}])


async def check_each_ran_once(rig: CronRig) -> list[CronRun]:
    """Every row that ran has one line in the file, and no other has."""
    runs = rig.runs()
    assert all(not run.state.open for run in runs)
    ran = sorted(run.id for run in runs if run.started_at is not None)
    assert sorted(map(int, await rig.read_volume("data", "ran"))) == ran
    for _ in range(100):
        if not await rig.containers():
            return runs
        await asyncio.sleep(0.1)
    raise AssertionError("containers are left")


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at(rig: CronRig, point: str) -> None:
    rig.deploy(
        job(command="echo $LOCKSTEP_RUN >> /app/data/ran; echo said; exit 7", schedule=HOURLY), persist=("data",)
    )
    missed(rig, "tick", 5)
    await rig.start(LOCKSTEP_FAULT=point)
    assert await rig.until_dead() == -signal.SIGKILL
    await rig.start()
    (run, *more) = await until("the run", lambda: rig.runs() or None)
    run = await rig.ended(run)
    assert (run.state, run.exit_code, run.stands_for) == (RunState.FAILED, 7, 5)
    assert rig.text(run) == ["said"]
    assert all(other.slot > run.slot for other in more)
    with rig.store.read() as tx:
        assert [alert.cause.about for alert in tx.alerts.of()] == [f"run {run.id}"]
    await check_each_ran_once(rig)


async def test_killed_at_any_moment(rig: CronRig) -> None:
    """Runs are asked for all the time, of which some are short and some are cancelled."""
    chance = random.Random(4)
    line = "echo $LOCKSTEP_RUN >> /app/data/ran; sleep 0.{}; exit {}"
    rig.deploy(*(job(f"job{n}", command=line.format(n, n), overlap=Overlap.ALLOW) for n in range(4)), persist=("data",))
    await rig.start()
    asked: list[CronRun] = []
    for _ in range(15):
        for _ in range(chance.randint(0, 2)):
            asked.append(await rig.cron.run_now("shop", f"job{chance.randint(0, 3)}", "ann"))
        await asyncio.sleep(chance.uniform(0.0, 1.5))
        await rig.stop(chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
        await rig.start()
    for run in asked:
        ended = await rig.ended(run, 60)
        code = int(run.job[-1])
        assert (ended.state, ended.exit_code) == (RunState.SUCCEEDED if code == 0 else RunState.FAILED, code)
    runs = await check_each_ran_once(rig)
    assert [run.id for run in runs] == [run.id for run in asked]


async def test_killed_while_it_stops_a_run(rig: CronRig) -> None:
    line = "echo $LOCKSTEP_RUN >> /app/data/ran; trap '' TERM; while :; do sleep 0.1; done"
    rig.deploy(job(command=line, timeout=1.0, grace=3.0), persist=("data",))
    await rig.start()
    run = await rig.running(await rig.cron.run_now("shop", "tick", "ann"))
    await asyncio.sleep(2.0)
    await rig.stop(signal.SIGKILL)
    await rig.start()
    assert (await rig.ended(run)).state is RunState.TIMED_OUT
    await check_each_ran_once(rig)


async def test_killed_while_it_has_a_run_stopped_by_its_command(rig: CronRig) -> None:
    line = "echo $LOCKSTEP_RUN >> /app/data/ran; trap '' TERM; while [ ! -e /tmp/stop ]; do sleep 0.1; done"
    stop = "sleep 2; touch /tmp/stop"  # the run ends with 0, while nobody looks
    rig.deploy(job(command=line, timeout=1.0, grace=20.0, stop_command=stop), persist=("data",))
    await rig.start()
    run = await rig.running(await rig.cron.run_now("shop", "tick", "ann"))
    await asyncio.sleep(2.0)
    await rig.stop(signal.SIGKILL)
    await asyncio.sleep(2.0)
    await rig.start()
    assert (await rig.ended(run)).state is RunState.TIMED_OUT
    await check_each_ran_once(rig)


async def test_killed_while_it_cancels_a_run(rig: CronRig) -> None:
    line = "echo $LOCKSTEP_RUN >> /app/data/ran; trap '' TERM; while :; do sleep 0.1; done"
    rig.deploy(job(command=line, grace=3.0), persist=("data",))
    await rig.start()
    run = await rig.running(await rig.cron.run_now("shop", "tick", "ann"))
    cancelling = asyncio.create_task(rig.cron.cancel("shop", "bob", number=run.id))
    await asyncio.sleep(1.0)
    await rig.stop(signal.SIGKILL)
    await rig.start()
    (ended,) = await cancelling
    assert (ended.state, ended.reason) == (RunState.CANCELLED, "cancelled by bob")
    await check_each_ran_once(rig)
