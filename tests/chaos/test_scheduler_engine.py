"""The engine goes away under the scheduler: killed, stopped in order, or with the whole machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from runtime.errors import DeadlinePassed
from runtime.model import CronRun, RunState
from tests.chaos.own_engine import OwnEngine
from tests.cronrig import CronRig, job

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("dockerd") is None, reason="needs root and dockerd"),
]
WRITES = "echo $LOCKSTEP_RUN >> /app/data/ran; echo begin; "


@pytest.fixture(scope="module")
def engine() -> Iterator[OwnEngine]:
    engine = OwnEngine(Path(tempfile.mkdtemp(prefix="lockstep-engine-")))
    asyncio.run(engine.start())
    try:
        asyncio.run(engine.load_image())
        yield engine
    finally:
        asyncio.run(engine.remove())


@pytest.fixture
async def rig(engine: OwnEngine, tmp_path: Path) -> AsyncIterator[CronRig]:
    rig = await CronRig(tmp_path, f"own{os.urandom(3).hex()}", engine.host).open()
    try:
        await rig.open_volume("data")
        yield rig
    finally:
        await rig.close()


async def ran(rig: CronRig) -> list[int]:
    return sorted(map(int, await rig.read_volume("data", "ran")))


async def begin(rig: CronRig, line: str) -> CronRun:
    rig.deploy(job(command=WRITES + line), persist=("data",))
    await rig.start()
    run = await rig.running(await rig.cron.run_now("shop", "tick", "ann"))
    await asyncio.sleep(1.0)
    return run


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_run_whose_engine_ends_is_interrupted(engine: OwnEngine, rig: CronRig, number: signal.Signals) -> None:
    run = await begin(rig, "exec sleep 300")
    await engine.end(number)
    await asyncio.sleep(1.0)
    await engine.start()
    ended = await rig.ended(run, 60)
    assert (ended.state, ended.exit_code) == (RunState.INTERRUPTED, 143)
    assert rig.text(ended) == ["begin"]
    assert await ran(rig) == [run.id]


async def test_a_run_whose_machine_ends_is_interrupted(engine: OwnEngine, rig: CronRig) -> None:
    run = await begin(rig, "exec sleep 300")
    await engine.lose_power()
    await engine.start()
    ended = await rig.ended(run, 60)
    assert (ended.state, ended.exit_code) == (RunState.INTERRUPTED, 255)
    assert await ran(rig) == [run.id]


async def test_a_run_that_ends_before_its_engine_keeps_its_exit_code(engine: OwnEngine, rig: CronRig) -> None:
    run = await begin(rig, "sleep 1; exit 7")
    await rig.stop(signal.SIGKILL)
    await asyncio.sleep(2.0)
    await engine.lose_power()
    await engine.start()
    await rig.start()
    ended = await rig.ended(run, 60)
    assert (ended.state, ended.exit_code) == (RunState.FAILED, 7)
    assert await ran(rig) == [run.id]


async def test_a_run_that_is_due_while_the_engine_is_away_runs_when_it_is_back(engine: OwnEngine, rig: CronRig) -> None:
    rig.deploy(job(command=WRITES), persist=("data",))
    await engine.end(signal.SIGTERM)
    await rig.start()
    run = await rig.cron.run_now("shop", "tick", "ann")
    with pytest.raises(DeadlinePassed):
        await rig.cron.until_ended("shop", run.id, 2)
    assert rig.cron.run("shop", run.id).state is RunState.DUE
    await engine.start()
    assert (await rig.ended(run, 60)).state is RunState.SUCCEEDED
    assert await ran(rig) == [run.id]


async def test_an_engine_that_keeps_dying_runs_nothing_twice(engine: OwnEngine, rig: CronRig) -> None:
    rig.deploy(*(job(f"job{n}", command=WRITES + "sleep 0.3") for n in range(6)), persist=("data",))
    await rig.start()
    runs = [await rig.cron.run_now("shop", f"job{n}", "ann") for n in range(6)]
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        await asyncio.sleep(0.7)
        await engine.end(number)
        await engine.start()
    ended = [await rig.ended(run, 120) for run in runs]
    for run in ended:
        has_its_code = run.state in (RunState.SUCCEEDED, RunState.FAILED) and run.exit_code is not None
        assert has_its_code or run.state is RunState.INTERRUPTED, run
    did_run = await ran(rig)
    assert len(did_run) == len(set(did_run))
    assert {run.id for run in ended if run.state is RunState.SUCCEEDED} <= set(did_run)
