"""What a deploy waits for before it stops the old workers, on a real store and without an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runtime import calm
from runtime.calm import until_calm
from runtime.engine.events import Events
from runtime.errors import DeadlinePassed, LockstepError
from runtime.model import CronRun, RunState, Trigger
from runtime.parts import Parts
from runtime.story import Story
from tests.cronrig import go_live, job
from tests.unit.runtime.samples import NOW, new_store, settings


class Scene:
    """An app with a job that blocks deploys and one that does not."""

    def __init__(self, folder: Path) -> None:
        self.store = new_store(folder)
        self.told: list[str] = []
        fleet = cast(Any, SimpleNamespace(events=Events(cast(Any, None), "test")))
        none = cast(Any, None)
        self.parts = Parts(settings(folder, cron_wait=0.3), self.store, fleet, none, none, "", lambda: None)
        go_live(self.store, "shop", 1, job("report", blocks_deploy=True), job("tidy"), now=NOW)

    def begin(self, name: str, state: RunState = RunState.RUNNING) -> CronRun:
        with self.store.write() as tx:
            slot = NOW + timedelta(minutes=len(tx.cron.of("shop")))
            run = tx.cron.open_run("shop", name, slot, trigger=Trigger.SCHEDULE, state=RunState.DUE, release=1, now=NOW)
            assert run is not None
            if state is RunState.RUNNING:
                tx.cron.change(run.id, (RunState.DUE,), state=state.value, started_at=NOW)
        return run

    def change(self, run: CronRun, state: RunState) -> None:
        with self.store.write() as tx:
            tx.cron.change(run.id, tuple(RunState), state=state.value, started_at=NOW)

    async def wait(self) -> bool:
        return await until_calm(self.parts, "shop", Story(self.told.append))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.store.close()


async def test_a_run_that_blocks_is_waited_for_and_that_is_said(scene: Scene) -> None:
    run = scene.begin("report")
    go_live(scene.store, "shop", 2, job("report"), now=NOW)  # what counts is the run's own release
    waiting = asyncio.create_task(scene.wait())
    await asyncio.sleep(0.15)
    assert not waiting.done()
    scene.change(run, RunState.FAILED)
    assert await waiting
    assert scene.told == ["-----> Waiting for cron run 1 of report to end"]


async def test_other_runs_are_not_waited_for(scene: Scene) -> None:
    scene.begin("tidy")
    assert not await scene.wait()
    assert scene.told == []


async def test_one_that_goes_on_for_too_long_fails_the_deploy(scene: Scene) -> None:
    scene.begin("report")
    with pytest.raises(LockstepError) as caught:
        await scene.wait()
    assert str(caught.value) == (
        "cron run 1 of report did not end within 0.3 s: wait for its end, or stop it with 'cron:cancel shop 1'"
    )


async def test_a_run_that_is_due_has_to_start_first(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    run = scene.begin("tidy", RunState.DUE)
    waiting = asyncio.create_task(scene.wait())
    await asyncio.sleep(0.15)
    assert not waiting.done()
    scene.change(run, RunState.RUNNING)
    await waiting
    scene.begin("tidy", RunState.DUE)
    monkeypatch.setattr(calm, "START_DEADLINE", 0.1)
    with pytest.raises(DeadlinePassed, match="cron runs that were due to start"):
        await scene.wait()
