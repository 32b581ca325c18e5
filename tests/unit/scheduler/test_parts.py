"""The gate, the lock, the socket, the sign of life, and what a run's container is made from."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from runtime import names, parts
from runtime.errors import SettingsError
from runtime.model import CronRun, RunState, Trigger
from runtime.place import place_in
from runtime.scheduler.containers import LOG, SLOT, _found, spec_of
from runtime.scheduler.ending import End, Found, judge, retry_moment
from runtime.scheduler.execution import Execution, Office
from runtime.scheduler.gate import Gate
from runtime.scheduler.heartbeat import Heartbeat, last_beat
from runtime.scheduler.lock import alone, holder
from runtime.scheduler.wake import listen, send_wake
from runtime.settings import Settings
from runtime.store import Store
from tests.cronrig import go_live, job

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
LATER = NOON + timedelta(seconds=5)
RUN = CronRun(id=12, app="shop", job="tick", slot=NOON, trigger=Trigger.SCHEDULE, state=RunState.RUNNING, release=1)


async def test_the_gate_lets_few_through_and_held_apps_first() -> None:
    gate = Gate(1, lambda apps: apps & {"held"})
    order: list[str] = []

    async def pass_through(app: str) -> None:
        async with gate.passage(app):
            order.append(app)
            await asyncio.sleep(0)

    await asyncio.gather(*(pass_through(app) for app in ("a", "b", "c", "held")))
    assert order == ["a", "held", "b", "c"]


async def test_a_cancelled_wait_at_the_gate_leaves_no_hole() -> None:
    gate = Gate(1, lambda _: set())
    async with gate.passage("a"):
        waiting = [asyncio.create_task(gate._enter(app)) for app in "bcd"]
        await asyncio.sleep(0)
        waiting[0].cancel()
    waiting[1].cancel()  # it was let in by now
    await asyncio.gather(*waiting, return_exceptions=True)
    assert waiting[2].done()
    assert not waiting[2].cancelled()


def test_the_lock_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "run" / "scheduler.lock"
    path.parent.mkdir()
    assert holder(path) is None
    code = f"""
from pathlib import Path
from runtime.scheduler.lock import alone
with alone(Path({str(path)!r})):
    print("held", flush=True)
    input()
"""
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert holder(path) == other.pid
        with pytest.raises(SettingsError, match=f"process {other.pid}"), alone(path):
            pass
        other.stdin.close()
    assert holder(path) is None
    with alone(path):
        pass


async def test_waking(tmp_path: Path) -> None:
    told = asyncio.Event()
    send_wake(tmp_path / "socket")  # nobody listens
    (tmp_path / "socket").write_text("left behind")
    with listen(tmp_path / "socket", told.set):
        for _ in range(5000):  # more than the socket's queue takes
            send_wake(tmp_path / "socket")
        async with asyncio.timeout(1):
            await told.wait()
    assert not (tmp_path / "socket").exists()


def test_the_sign_of_life(home: Settings, store: Store) -> None:
    assert last_beat(home.database) is None
    heartbeat = Heartbeat(home.database)
    heartbeat.beat(NOON, LATER, 3, 1)
    heartbeat.beat(LATER, None, 4, 0)
    heartbeat.close()
    with store.read() as tx:
        beat = tx.cron.heartbeat("scheduler")
    assert beat is not None
    assert (beat.at, beat.pid, beat.next_due, beat.jobs, beat.running) == (LATER, os.getpid(), None, 4, 0)
    assert last_beat(home.database) == "2026-05-04T12:00:05.000000+00:00"


def test_a_beat_that_can_not_be_written_is_left_out(home: Settings, store: Store) -> None:
    heartbeat = Heartbeat(home.database)
    with store.write():
        heartbeat.beat(NOON, None, 0, 0)
    assert last_beat(home.database) is None
    heartbeat.close()


@pytest.mark.parametrize("redis", [False, True])
def test_runs_are_placed_as_services_are(home: Settings, store: Store, redis: bool) -> None:
    release = go_live(store, "shop", 1, job(), now=NOON, redis=redis)
    with store.write() as tx:
        tx.apps.set_redis_password("shop", "secret")
    with store.read() as tx:
        assert place_in(tx, home.instance, release) == parts.place_of(home, store, release)


def test_the_container_of_a_run(home: Settings, store: Store) -> None:
    one = job(command="python tidy.py")
    release = go_live(store, "shop", 1, one, now=NOON, persist=("data",))
    with store.read() as tx:
        spec = spec_of(RUN, release, one, place_in(tx, "lockstep", release))
    assert spec["Image"] == release.image.id
    assert spec["Labels"] == {
        names.INSTANCE: "lockstep",
        names.KIND: "cron",
        names.APP: "shop",
        names.RELEASE: "1",
        names.PROCESS: "tick",
        names.RUN: "12",
        SLOT: "2026-05-04T12:00:00+00:00",
    }
    assert {"COLOUR=blue", "LOCKSTEP_RUN=12", "LOCKSTEP_SLOT=2026-05-04T12:00:00+00:00"} <= set(spec["Env"])
    assert spec["HostConfig"]["LogConfig"] == LOG
    assert "AutoRemove" not in spec["HostConfig"]
    assert spec["HostConfig"]["Mounts"][0]["Target"] == "/app/data"


def state(**changes: object) -> dict[str, object]:
    found = {
        "Running": False,
        "Restarting": False,
        "StartedAt": "2026-05-04T12:00:00.123456789Z",
        "FinishedAt": "2026-05-04T12:00:05Z",
        "ExitCode": 3,
        "OOMKilled": False,
    }
    return {"Id": "x", "State": {**found, **changes}}


def test_what_the_engine_says_of_a_container() -> None:
    begun = NOON + timedelta(microseconds=123456)
    assert _found(state()) == Found("x", begun, LATER, 3)
    assert _found(state(Running=True, FinishedAt="0001-01-01T00:00:00Z")) == Found("x", begun, None, 3)
    assert _found(state(StartedAt="0001-01-01T00:00:00Z", FinishedAt="0001-01-01T00:00:00Z")).started_at is None
    assert _found(state(FinishedAt="2026-05-04T12:00:00.1Z")).ended_at == begun


def ended(code: int, *, stop: str | None = None, **values: object) -> End:
    found = Found("x", NOON, LATER, code, out_of_memory=bool(values.get("memory")))
    lost = values.get("lost")
    cause = values.get("cause")
    assert lost is None or isinstance(lost, datetime)
    assert cause is None or isinstance(cause, RunState)
    timeout = values.get("timeout", 60.0)
    assert isinstance(timeout, float)
    return judge(RUN.model_copy(update={"stop": stop}), job(timeout=timeout), found, cause, lost)


def test_how_a_run_ended() -> None:
    assert ended(0) == End(RunState.SUCCEEDED, LATER, 0)
    assert ended(3) == End(RunState.FAILED, LATER, 3)
    assert ended(0, cause=RunState.TIMED_OUT).state is RunState.TIMED_OUT
    assert ended(0, cause=RunState.CANCELLED, stop="cancelled by ann").reason == "cancelled by ann"
    assert ended(137, memory=True).reason == "out of memory (over 512 MiB)"


def test_how_a_run_ended_that_an_earlier_scheduler_stopped() -> None:
    assert ended(143, timeout=5.0).state is RunState.TIMED_OUT
    assert ended(0, timeout=5.0).state is RunState.SUCCEEDED
    assert ended(143, stop="cancelled by ann").state is RunState.CANCELLED
    assert ended(0, stop="cancelled by ann").state is RunState.SUCCEEDED
    by_command = job(timeout=5.0, stop_command="touch /tmp/stop")  # it may have ended the run with any code
    assert judge(RUN, by_command, Found("x", NOON, LATER, 0), None, None).state is RunState.TIMED_OUT


async def test_a_run_that_had_ended_by_itself_is_not_stopped() -> None:
    """The end was asked for before the engine had told that it was there already."""
    ended_already = Found("x", NOON, LATER, 3)

    class Late:
        async def until_ended(self, _: CronRun) -> None:
            await asyncio.Event().wait()

        async def find(self, _: CronRun) -> Found:
            return ended_already

    tidy = job()
    office = SimpleNamespace(
        containers=Late(), ledger=SimpleNamespace(job=lambda _: tidy, stop_reason=lambda _: "cancelled by ann"),
        clock=lambda: LATER, boot_time=NOON, fault=lambda *_: None,
    )  # fmt: skip
    stop = asyncio.Event()
    stop.set()
    execution = Execution(cast(Office, office), RUN, stop)
    assert await execution._end(replace(ended_already, ended_at=None), tidy) == End(RunState.FAILED, LATER, 3)


def test_how_a_run_ended_with_its_engine() -> None:
    assert ended(255, lost=LATER).state is RunState.INTERRUPTED
    assert ended(255).state is RunState.FAILED
    assert ended(143).state is RunState.INTERRUPTED
    assert ended(1, lost=LATER).state is RunState.FAILED
    assert ended(137, lost=LATER + timedelta(hours=1)).state is RunState.FAILED


def test_when_a_run_is_tried_again() -> None:
    failed, once = End(RunState.FAILED, NOON, 1), job(retries=1)
    assert retry_moment(RUN, once, failed) == NOON + timedelta(seconds=10)
    assert retry_moment(RUN, job(), failed) is None
    assert retry_moment(RUN, once, End(RunState.CANCELLED, NOON)) is None
    second = RUN.model_copy(update={"attempt": 2})
    assert retry_moment(second, once, failed) is None
    assert retry_moment(second, job(retries=2), failed) == NOON + timedelta(seconds=20)
