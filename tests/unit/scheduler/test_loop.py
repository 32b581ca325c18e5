"""The loop with a clock that runs, and runs that are carried out by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

from runtime.model import CronRun, RunState, Trigger
from runtime.scheduler.agenda import Agenda
from runtime.scheduler.ending import End
from runtime.scheduler.heartbeat import Heartbeat, last_beat
from runtime.scheduler.ledger import Ledger
from runtime.scheduler.loop import Scheduler
from runtime.scheduler.wake import send_wake
from runtime.settings import Settings
from runtime.store import Store
from tests.cronrig import go_live, job, until

Work = Callable[[CronRun, asyncio.Event], Awaitable[None]]


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def scheduler(
    home: Settings, store: Store, work: Work, clock: Callable[[], datetime] = now
) -> AsyncIterator[asyncio.Task[None]]:
    ledger, heartbeat = Ledger(store, home.instance), Heartbeat(home.database)
    task = asyncio.create_task(
        Scheduler(Agenda(ledger), ledger, work, heartbeat, clock).run(home.scheduler_socket), name="scheduler"
    )
    try:
        await until("its socket", lambda: home.scheduler_socket.exists() or None)
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        heartbeat.close()


def ask(store: Store) -> CronRun:
    with store.write() as tx:
        run = tx.cron.open_run("shop", "tick", now(), trigger=Trigger.MANUAL, state=RunState.DUE, release=1, now=now())
    assert run is not None
    return run


async def test_a_run_that_is_asked_for_begins_at_once_and_is_carried_out_once(home: Settings, store: Store) -> None:
    go_live(store, "shop", 1, job(), now=now())
    begun: list[int] = []

    async def work(run: CronRun, stop: asyncio.Event) -> None:
        begun.append(run.id)
        await stop.wait()

    async with scheduler(home, store, work):
        run = ask(store)
        for _ in range(20):
            send_wake(home.scheduler_socket)
            await asyncio.sleep(0.01)
        assert begun == [run.id]


async def test_a_run_is_stopped_when_its_row_asks_for_it_or_is_gone(home: Settings, store: Store) -> None:
    go_live(store, "shop", 1, job(), now=now())
    stopped: list[int] = []

    async def work(run: CronRun, stop: asyncio.Event) -> None:
        await stop.wait()
        stopped.append(run.id)

    async with scheduler(home, store, work):
        first, second = ask(store), ask(store)
        send_wake(home.scheduler_socket)
        with store.write() as tx:
            tx.cron.ask_stop(first.id, "cancelled by ann")
        send_wake(home.scheduler_socket)
        await until("the first", lambda: stopped == [first.id] or None)
        with store.write() as tx:
            tx.cron.change(first.id, (RunState.DUE,), state="cancelled")
            tx.apps.remove("shop")
        send_wake(home.scheduler_socket)
        await until("the second", lambda: stopped == [first.id, second.id] or None)


async def test_a_slot_is_on_time_when_the_clock_jumps_to_it(home: Settings, store: Store) -> None:
    go_live(store, "shop", 1, job(schedule="0 3 * * *"), now=now())
    ahead = timedelta(0)
    ledger = Ledger(store, home.instance)

    async def work(run: CronRun, stop: asyncio.Event) -> None:
        ledger.started(run, now())
        ledger.ended(run, End(RunState.SUCCEEDED, now(), 0), None)

    async with scheduler(home, store, work, lambda: now() + ahead):
        await asyncio.sleep(0.2)
        ahead = timedelta(days=2)
        run = await until("the run", lambda: last(store), 3)
        assert (run.trigger, run.stands_for) == (Trigger.CATCH_UP, 2)


async def test_it_shows_that_it_lives(home: Settings, store: Store) -> None:
    async def work(run: CronRun, stop: asyncio.Event) -> None:
        raise AssertionError

    async with scheduler(home, store, work):
        first = await until("a sign of life", lambda: last_beat(home.database))
        await until("the next one", lambda: last_beat(home.database) != first or None, 3)


async def test_what_breaks_a_run_ends_the_scheduler_and_leaves_the_row(home: Settings, store: Store) -> None:
    go_live(store, "shop", 1, job(), now=now())

    async def work(run: CronRun, stop: asyncio.Event) -> None:
        raise RuntimeError("the store takes no writes")

    with pytest.raises(RuntimeError, match="takes no writes"):
        async with scheduler(home, store, work) as task:
            run = ask(store)
            send_wake(home.scheduler_socket)
            async with asyncio.timeout(3):
                await asyncio.wait({task})
    with store.read() as tx:
        assert tx.cron.get(run.id).state is RunState.DUE


def last(store: Store) -> CronRun | None:
    with store.read() as tx:
        runs = tx.cron.of("shop", "tick")
    return runs[0] if runs and not runs[0].state.open else None
