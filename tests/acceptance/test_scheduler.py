"""The scheduler as a process, with the real engine."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtime import names
from runtime.errors import LockstepError
from runtime.model import Limits, Overlap, RunState, Shell, Trigger
from runtime.names import Handle
from runtime.scheduler.operations import CronOperations
from runtime.scheduler.runlog import CUT
from runtime.watch import SchedulerProcess
from tests.cronrig import CronRig, job, until

pytestmark = pytest.mark.engine
EACH_MINUTE = "* * * * *"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[CronRig]:
    rig = await CronRig(tmp_path, f"cron{uuid.uuid4().hex[:8]}").open()
    try:
        yield rig
    finally:
        await rig.close()


async def test_a_failed_run_ran_once_and_its_streams_are_kept(rig: CronRig) -> None:
    release = rig.deploy(job(command="echo out; echo err >&2; exit 3"))
    await rig.start()
    run = await rig.cron.run_now("shop", "tick", "ann")
    ended = await rig.ended(run)
    assert (ended.state, ended.exit_code, ended.release, ended.who) == (RunState.FAILED, 3, release.number, "ann")
    assert ended.trigger is Trigger.MANUAL
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert ended.started_at <= ended.ended_at
    assert rig.text(ended, error=False) == ["out"]
    assert rig.text(ended, error=True) == ["err"]
    assert len(rig.runs()) == 1
    await nothing_left(rig)


async def test_a_run_that_times_out_keeps_its_output(rig: CronRig) -> None:
    rig.deploy(job(command="trap 'echo bye; exit 0' TERM; echo begin; sleep 60 & wait", timeout=1.0, grace=5.0))
    await rig.start()
    ended = await rig.ended(await rig.cron.run_now("shop", "tick", "ann"))
    assert (ended.state, ended.reason) == (RunState.TIMED_OUT, "did not end within 1 s")
    assert rig.text(ended) == ["begin", "bye"]


async def test_a_run_that_ignores_sigterm_is_killed(rig: CronRig) -> None:
    rig.deploy(job(command="trap '' TERM; echo begin; while :; do sleep 0.2; done", timeout=1.0, grace=1.0))
    await rig.start()
    ended = await rig.ended(await rig.cron.run_now("shop", "tick", "ann"))
    assert (ended.state, ended.exit_code) == (RunState.TIMED_OUT, 137)
    assert rig.text(ended) == ["begin"]


ENDLESS = "trap '' TERM; echo begin; while [ ! -e /tmp/stop ]; do sleep 0.1; done; echo stopped"


async def test_a_run_is_stopped_by_its_own_command(rig: CronRig) -> None:
    """In the place of SIGTERM, which this one would not hear."""
    rig.deploy(job(command=ENDLESS, timeout=1.0, grace=10.0, stop_command="touch /tmp/stop; id -u > /tmp/who"))
    await rig.start()
    ended = await rig.ended(await rig.cron.run_now("shop", "tick", "ann"))
    assert (ended.state, ended.reason, ended.exit_code) == (RunState.TIMED_OUT, "did not end within 1 s", 0)
    assert rig.text(ended) == ["begin", "stopped"]
    rig.deploy(job(command=ENDLESS, grace=10.0, stop_command="touch /tmp/stop"))
    run = await rig.running(await rig.cron.run_now("shop", "tick", "ann"))
    (cancelled,) = await rig.cron.cancel("shop", "bob", number=run.id)
    assert (cancelled.state, cancelled.reason, cancelled.exit_code) == (RunState.CANCELLED, "cancelled by bob", 0)


async def test_a_run_that_its_stop_command_does_not_end_is_killed_and_that_is_said(rig: CronRig) -> None:
    rig.deploy(
        job("fails", command=ENDLESS, timeout=1.0, grace=1.0, stop_command="exit 4"),
        job("hangs", command=ENDLESS, timeout=1.0, grace=1.0, stop_command="sleep 60"),
    )
    await rig.start()
    runs = [await rig.cron.run_now("shop", name, "ann") for name in ("fails", "hangs")]
    fails, hangs = [await rig.ended(run) for run in runs]
    assert (fails.state, fails.exit_code, hangs.state, hangs.exit_code) == (
        *(RunState.TIMED_OUT, 137),
        *(RunState.TIMED_OUT, 137),
    )
    assert fails.reason == "did not end within 1 s; its stop command ended with 4 and it went on, and was killed"
    assert hangs.reason == "did not end within 1 s; its stop command did not end within the grace, and it was killed"
    await nothing_left(rig)


async def test_jobs_of_a_serial_group_run_one_after_the_other(rig: CronRig) -> None:
    names, now = ("a", "b", "c"), datetime.now(UTC)
    schedule = f"{(now - timedelta(minutes=1)).minute} * * * *"  # missed once, and not due again while this runs
    rig.deploy(*(job(name, command="sleep 0.5", schedule=schedule, serial="db") for name in names))
    with rig.store.write() as tx:
        timing, moment = f"{schedule} UTC", now - timedelta(minutes=3)
        tx.cron.put_jobs([{"app": "shop", "job": name, "cursor": moment, "timing": timing} for name in names])
    await rig.start()
    await until("the third", lambda: rig.runs() if len(rig.runs()) >= 3 else None)
    ended = [await rig.ended(run) for run in rig.runs()[:3]]
    assert sorted(run.job for run in ended) == list(names)
    spans = sorted((run.started_at, run.ended_at) for run in ended if run.started_at and run.ended_at)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))


async def test_a_run_has_webs_environment_mounts_and_network_and_knows_its_tick(rig: CronRig) -> None:
    await rig.open_volume("data")
    line = "echo $COLOUR $LOCKSTEP_RELEASE $LOCKSTEP_PROCESS $LOCKSTEP_RUN; touch /app/data/x; getent hosts $(hostname)"
    rig.deploy(job(command=line), persist=("data",))
    await rig.start()
    ended = await rig.ended(await rig.cron.run_now("shop", "tick", "ann"))
    assert ended.state is RunState.SUCCEEDED, rig.text(ended)
    assert rig.text(ended)[0] == f"blue v1 tick {ended.id}"
    assert await rig.read_volume("data", "x; ls /volume") == ["x"]


async def test_a_run_over_its_memory_says_so(rig: CronRig) -> None:
    line = "exec perl -e '$x = \"a\" x (200 * 1024 * 1024); print length($x)'"
    rig.deploy(job(command=line, limits=Limits(memory=32 * 1024 * 1024)))
    await rig.start()
    ended = await rig.ended(await rig.cron.run_now("shop", "tick", "ann"))
    assert (ended.state, ended.exit_code, ended.reason) == (RunState.FAILED, 137, "out of memory (over 32 MiB)")


async def test_a_slot_runs_once_and_not_before_it_is_due(rig: CronRig) -> None:
    rig.deploy(job(command="echo $LOCKSTEP_SLOT", schedule=EACH_MINUTE))
    await rig.start()
    run = await until("a slot", lambda: next(iter(rig.runs()), None), 65)
    assert run.slot <= datetime.now(UTC)
    ended = await rig.ended(run)
    assert (ended.state, ended.trigger, ended.stands_for) == (RunState.SUCCEEDED, Trigger.SCHEDULE, 1)
    assert rig.text(ended) == [run.slot.isoformat()]


async def test_missed_slots_are_one_run_that_says_how_many(rig: CronRig) -> None:
    rig.deploy(job(schedule=EACH_MINUTE))
    await rig.start()
    await until("the job's row", lambda: jobs_known(rig))
    await rig.stop()
    with rig.store.write() as tx:
        tx.cron.set_cursors([("shop", "tick", datetime.now(UTC) - timedelta(hours=1))])
    await rig.start()
    run = await until("the run", lambda: next(iter(rig.runs()), None))
    assert run.trigger is Trigger.CATCH_UP
    assert run.stands_for in (60, 61)
    assert (await rig.ended(run)).state is RunState.SUCCEEDED


async def test_a_run_goes_on_while_the_scheduler_is_restarted(rig: CronRig) -> None:
    rig.deploy(job(command="echo begin; sleep 4; echo end; exit 7"))
    await rig.start()
    run = await rig.running(await rig.cron.run_now("shop", "tick", "ann"))
    assert await rig.stop() == 0
    await rig.start()
    ended = await rig.ended(run)
    assert (ended.state, ended.exit_code, ended.started_at) == (RunState.FAILED, 7, run.started_at)
    assert rig.text(ended) == ["begin", "end"]


async def test_a_run_that_ended_meanwhile_is_closed_with_its_exit_code(rig: CronRig) -> None:
    rig.deploy(job(command="echo begin; sleep 2; exit 7"))
    await rig.start()
    run = await rig.running(await rig.cron.run_now("shop", "tick", "ann"))
    await rig.stop(signal.SIGKILL)
    await asyncio.sleep(3)
    restarted = datetime.now(UTC)
    await rig.start()
    ended = await rig.ended(run)
    assert (ended.state, ended.exit_code) == (RunState.FAILED, 7)
    assert ended.ended_at is not None
    assert ended.ended_at < restarted
    await nothing_left(rig)


async def test_a_run_whose_container_is_gone_is_closed_as_interrupted(rig: CronRig) -> None:
    rig.deploy(job(command="sleep 60"))
    await rig.start()
    run = await rig.running(await rig.cron.run_now("shop", "tick", "ann"))
    await rig.stop()
    for container in await rig.containers():
        await rig.fleet.remove_container(container["Id"])
    await rig.start()
    ended = await rig.ended(run)
    assert (ended.state, ended.reason) == (RunState.INTERRUPTED, "its container is gone")


async def test_a_run_whose_image_is_gone_says_so(rig: CronRig) -> None:
    rig.image = "sha256:" + "0" * 64
    rig.deploy(job())
    await rig.start()
    ended = await rig.ended(await rig.cron.run_now("shop", "tick", "ann"))
    assert ended.state is RunState.FAILED
    assert ended.reason is not None
    assert "No such image" in ended.reason


async def test_a_command_that_is_not_there_says_so(rig: CronRig) -> None:
    rig.deploy(job(command="/no/such/program", shell=Shell.EXEC))
    await rig.start()
    ended = await rig.ended(await rig.cron.run_now("shop", "tick", "ann"))
    assert (ended.state, ended.exit_code) == (RunState.FAILED, 127)
    assert "No such file" in rig.text(ended)[0]
    await nothing_left(rig)


async def test_cancelling_one_and_all(rig: CronRig) -> None:
    rig.deploy(job(command="sleep 60", overlap=Overlap.ALLOW))
    await rig.start()
    runs = [await rig.running(await rig.cron.run_now("shop", "tick", "ann")) for _ in range(3)]
    (first,) = await rig.cron.cancel("shop", "bob", number=runs[0].id)
    assert (first.state, first.reason) == (RunState.CANCELLED, "cancelled by bob")
    others = await rig.cron.cancel("shop", "bob")
    assert [run.id for run in others] == [runs[1].id, runs[2].id]
    assert {run.state for run in others} == {RunState.CANCELLED}
    with pytest.raises(LockstepError, match="no run under way"):
        await rig.cron.cancel("shop", "bob")
    await nothing_left(rig)


async def test_overlap_forbid_skips_and_says_why(rig: CronRig) -> None:
    rig.deploy(job(command="sleep 60", schedule=EACH_MINUTE))
    await rig.start()
    run = await rig.running(await rig.cron.run_now("shop", "tick", "ann"))
    with pytest.raises(LockstepError, match=f"run {run.id} of tick has not ended"):
        await rig.cron.run_now("shop", "tick", "ann")
    skipped = await until("a slot", lambda: next(iter(rig.runs()[1:]), None), 65)
    assert (skipped.state, skipped.reason) == (RunState.SKIPPED, f"run {run.id} had not ended")


async def test_overlap_replace_ends_the_old_run_first(rig: CronRig) -> None:
    rig.deploy(job(command="sleep 60", overlap=Overlap.REPLACE))
    await rig.start()
    old = await rig.running(await rig.cron.run_now("shop", "tick", "ann"))
    new = await rig.running(await rig.cron.run_now("shop", "tick", "ann"))
    old = rig.cron.run("shop", old.id)
    assert (old.state, old.reason) == (RunState.CANCELLED, "replaced by the next run")
    assert old.ended_at is not None
    assert new.started_at is not None
    assert old.ended_at <= new.started_at


async def test_a_failed_run_is_tried_again(rig: CronRig) -> None:
    await rig.open_volume("data")
    line = "test -e /app/data/x && exit 0; touch /app/data/x; exit 1"
    rig.deploy(job(command=line, retries=2), persist=("data",))
    await rig.start()
    first = await rig.ended(await rig.cron.run_now("shop", "tick", "ann"))
    assert first.state is RunState.FAILED
    again = await until("the second attempt", lambda: next(iter(rig.runs()[1:]), None))
    assert (again.trigger, again.attempt) == (Trigger.RETRY, 2)
    assert (await rig.ended(again)).state is RunState.SUCCEEDED
    assert len(rig.runs()) == 2


async def test_a_run_waits_while_a_deploy_holds_the_app(rig: CronRig) -> None:
    rig.deploy(job(command="echo $LOCKSTEP_RELEASE"))
    await rig.start()
    with rig.store.write() as tx:
        deploy = tx.deploys.begin("shop", "push", "ann", None, 1, datetime.now(UTC))
        tx.apps.hold("shop", deploy.id)
    asked = asyncio.create_task(rig.cron.run_now("shop", "tick", "ann"))
    await asyncio.sleep(1.0)
    assert rig.runs() == []
    rig.deploy(job(command="echo $LOCKSTEP_RELEASE"))
    with rig.store.write() as tx:
        tx.apps.hold("shop", None)
    rig.wake()
    ended = await rig.ended(await asked)
    assert rig.text(ended) == ["v2"]


async def test_a_long_log_keeps_head_and_tail(rig: CronRig) -> None:
    rig.deploy(job(command="echo head; yes 'a line of some length to fill the log with' | head -n 1400000; echo tail"))
    await rig.start()
    ended = await rig.ended(await rig.cron.run_now("shop", "tick", "ann"), 60)
    text = rig.text(ended)
    assert text[0] == "head"
    assert text[-1] == "tail"
    assert text.count(CUT) == 1
    assert sum(map(len, text)) < 5 * 1024 * 1024


async def test_a_log_is_followed_while_the_run_goes_on(rig: CronRig) -> None:
    rig.deploy(job(command="for i in 1 2 3 4; do echo $i; sleep 0.5; done"))
    await rig.start()
    run = await rig.cron.run_now("shop", "tick", "ann")
    seen: list[tuple[str, RunState]] = []
    async for line in rig.cron.log("shop", run.id, follow=True):
        seen.append((line.text, rig.cron.run("shop", run.id).state))
    assert [text for text, _ in seen] == ["1", "2", "3", "4"]
    assert seen[0][1].open
    assert not rig.cron.run("shop", run.id).state.open
    assert [line.text async for line in rig.cron.log("shop", run.id)] == ["1", "2", "3", "4"]


async def test_leftover_containers_of_closed_runs_are_removed(rig: CronRig) -> None:
    rig.deploy(job(command="sleep 60"))
    await rig.start()
    run = await rig.running(await rig.cron.run_now("shop", "tick", "ann"))
    await rig.stop(signal.SIGKILL)
    with rig.store.write() as tx:
        tx.cron.change(run.id, (RunState.RUNNING,), state="failed")
    await rig.start()
    await nothing_left(rig)


async def test_a_container_of_another_store_is_not_taken_for_a_runs_own(rig: CronRig) -> None:
    rig.deploy(job(command="exit 5"))
    name = names.one_off(rig.settings.instance, "shop", "tick", "r1")
    spec = {
        "Image": rig.image,
        "Labels": names.labels(rig.settings.instance, names.CRON, app=Handle("shop")) | {names.RUN: "1"},
        "Entrypoint": ["true"],
    }
    await rig.engine.post(f"/containers/{await rig.fleet.create_container(name, spec)}/start")
    run = rig.claim("tick")
    assert run.id == 1
    await rig.start()
    assert (await rig.ended(run)).exit_code == 5


async def test_the_server_keeps_one_scheduler_running(rig: CronRig) -> None:
    await rig.start()  # as a server that was killed leaves one behind
    await until("its lock", lambda: beating(rig))
    assert rig.process is not None
    watch = SchedulerProcess(rig.settings)
    watching = asyncio.create_task(watch.run())
    await rig.process.wait()
    second = await until("the second", lambda: beating(rig, but=rig.process.pid if rig.process else 0))
    os.kill(second, signal.SIGKILL)
    third = await until("the third", lambda: beating(rig, but=second))
    rig.deploy(job())
    watch.wake()
    assert (await rig.ended(await CronOperations(rig.parts).run_now("shop", "tick", "ann"))).exit_code == 0
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    with pytest.raises(ProcessLookupError):
        os.kill(third, 0)


def beating(rig: CronRig, but: int = 0) -> int | None:
    """The process that gives signs of life."""
    with rig.store.read() as tx:
        beat = tx.cron.heartbeat("scheduler")
    return None if beat is None or beat.pid == but else int(beat.pid)


def jobs_known(rig: CronRig) -> bool | None:
    with rig.store.read() as tx:
        return True if tx.cron.jobs() else None


async def nothing_left(rig: CronRig) -> None:
    for _ in range(100):
        if not await rig.containers():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"containers are left: {await rig.containers()}")
