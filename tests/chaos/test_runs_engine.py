"""The engine goes away under one-off runs, attached and detached: each row is closed, and no container is left."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from runtime.errors import EngineUnreachable, LockstepError
from runtime.model import RunState
from runtime.runs.keeper import Runs
from runtime.runs.operations import RunOperations
from runtime.runs.values import Order
from runtime.runs.words import line_of
from tests.chaos.own_engine import OwnEngine
from tests.cronrig import CronRig

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("dockerd") is None, reason="needs root and dockerd"),
]
BACK = 60.0  # seconds for a run to be closed after its engine is back


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
    rig.deploy()
    try:
        yield rig
    finally:
        await rig.close()


def order(line: str, timeout: float | None = None) -> Order:
    return Order("shop", line_of(line), "ann", timeout=timeout)


async def left(rig: CronRig) -> int:
    return len(await rig.fleet.containers(kind="run"))


async def log_of(rig: CronRig, name: str) -> list[str]:
    operations = RunOperations(rig.parts)
    return [line.text async for line in operations.log(operations.find("shop", name))]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_detached_run_whose_engine_ends_is_closed_when_it_is_back(
    engine: OwnEngine, rig: CronRig, number: signal.Signals
) -> None:
    runs = Runs(rig.parts)
    started = await runs.detached(order("echo begun; exec sleep 300", 600.0))
    operations = RunOperations(rig.parts)
    async for _ in operations.log(started, follow=False):
        pass
    await engine.end(number)
    await asyncio.sleep(1.0)
    await engine.start()
    ended = await operations.until_ended(started, BACK)
    how = {RunState.INTERRUPTED: "the engine stopped meanwhile"}
    if number is signal.SIGTERM:  # such an engine ends its containers first, and may still tell that they ended
        how[RunState.FAILED] = ""
    assert how[ended.state] == (ended.reason or "")
    assert ended.exit_code
    assert await log_of(rig, started.id) == ["begun"]
    assert await left(rig) == 0
    await runs.stop()


async def test_attached_run_whose_engine_is_killed_ends_with_a_sentence(engine: OwnEngine, rig: CronRig) -> None:
    runs = Runs(rig.parts)
    with pytest.raises(EngineUnreachable):
        async with runs.attached(order("echo begun; exec sleep 300")) as console:
            async for _, data in console.output():
                assert data == b"begun\n"
                await engine.end(signal.SIGKILL)
            await console.exit_code()
    [row] = RunOperations(rig.parts).of("shop", limit=9)
    assert row.state is RunState.INTERRUPTED
    assert "could not be removed" in (row.reason or "")
    await engine.start()
    await runs.sweep()
    assert await left(rig) == 0


async def test_run_that_ended_while_nobody_looked_keeps_its_exit_code_and_log(engine: OwnEngine, rig: CronRig) -> None:
    first = Runs(rig.parts)
    started = await first.detached(order("sleep 1; echo ended; exit 7", 600.0))
    await first.stop()
    container = first.name(started)
    assert await rig.fleet.exit_code(container) == 7
    await engine.lose_power()
    await engine.start()
    second = Runs(rig.parts)
    await second.start()
    ended = await RunOperations(rig.parts).until_ended(started, BACK)
    assert (ended.state, ended.exit_code) == (RunState.FAILED, 7)
    assert await log_of(rig, started.id) == ["ended"]
    assert await left(rig) == 0
    await second.stop()


async def test_server_that_was_killed_between_row_and_container_closes_the_row(rig: CronRig) -> None:
    killed = Runs(rig.parts)
    run, _ = killed._claim(order("true", 600.0))
    runs = Runs(rig.parts)
    await runs.start()
    ended = await RunOperations(rig.parts).until_ended(run, BACK)
    assert (ended.state, ended.reason) == (RunState.FAILED, "the server ended before it was started")
    await runs.stop()


async def test_time_limit_counts_from_the_start_whoever_watches(rig: CronRig) -> None:
    first = Runs(rig.parts)
    started = await first.detached(order("exec sleep 300", 2.0))
    await first.stop()
    await asyncio.sleep(2.0)
    second = Runs(rig.parts)
    await second.start()
    ended = await RunOperations(rig.parts).until_ended(started, BACK)
    assert (ended.state, ended.exit_code) == (RunState.TIMED_OUT, 143)
    await second.stop()


async def test_no_more_than_so_many_are_open_and_a_refusal_leaves_nothing(
    rig: CronRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.runs.keeper.MOST_OPEN", 1)
    runs = Runs(rig.parts)
    async with runs.attached(order("cat")) as console:
        with pytest.raises(LockstepError, match="one-off runs of shop are under way"):
            await runs.detached(order("true", 60.0))
        console.end_input()
        assert await console.exit_code() == 0
    assert await left(rig) == 0
    [row] = RunOperations(rig.parts).of("shop", limit=9)
    assert row.state is RunState.SUCCEEDED
