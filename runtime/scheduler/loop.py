"""The scheduler's loop: the only place that reads the clock.

It sleeps until the earliest slot, for a second at most, so that a clock that jumps is noticed; each round it
writes a sign of life and compares one moment, however many jobs there are.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from runtime.model import CronRun
from runtime.scheduler.agenda import Agenda
from runtime.scheduler.heartbeat import Heartbeat
from runtime.scheduler.ledger import Ledger
from runtime.scheduler.wake import listen

log = logging.getLogger(__name__)

BEAT: Final = 1.0  # seconds between signs of life
LOOK: Final = 60.0  # seconds after which the store is looked at though nobody asked
SET_BACK: Final = timedelta(seconds=1)  # less is the clock being kept right

Work = Callable[[CronRun, asyncio.Event], Awaitable[None]]


@dataclass(slots=True)
class UnderWay:
    """A run that is being carried out; `stop` ends it."""

    run: CronRun
    task: asyncio.Future[None]
    stop: asyncio.Event


class Scheduler:
    """Claims slots, has `work` carry out the runs, and keeps the two in step."""

    def __init__(
        self, agenda: Agenda, ledger: Ledger, work: Work, heartbeat: Heartbeat, clock: Callable[[], datetime]
    ) -> None:
        self._agenda = agenda
        self._ledger = ledger
        self._work = work
        self._heartbeat = heartbeat
        self._clock = clock
        self._awake = asyncio.Event()
        self._asked = True  # to look at the store
        self._under_way: dict[int, UnderWay] = {}
        self._broken: BaseException | None = None
        self._next_beat = self._next_look = 0.0

    async def run(self, socket: Path) -> None:
        """Until cancelled; runs that are under way go on in their containers. Raises what a run's task raised."""
        with listen(socket, self._ask):
            try:
                self._agenda.learn_retries()
                before = self._clock()
                while True:
                    before = await self._round(before)
            finally:
                await self._let_go()

    async def _round(self, before: datetime) -> datetime:
        now = self._clock()
        if now < before - SET_BACK:
            self._agenda.clock_was_set_back(now)
        if self._asked or time.monotonic() >= self._next_look:
            self._look(now)
        while (due := self._agenda.next()) is not None and due <= now:
            ticked = self._agenda.tick(now, time.monotonic())
            for run in ticked.claimed:
                self._begin(run)
            if ticked.asked_to_stop:
                self._look_at_runs()
            self._beat()
            await asyncio.sleep(0)
        self._beat()
        await self._pause(due)
        return now

    def _look(self, now: datetime) -> None:
        """Learn from the store what changed."""
        self._asked = False
        self._next_look = time.monotonic() + LOOK
        self._agenda.refresh(now)
        self._look_at_runs()

    def _look_at_runs(self) -> None:
        """Begin or adopt open runs that nobody carries out; end those that are to be stopped or are gone."""
        open_runs = {run.id: run for run in self._ledger.open()}
        for number, run in open_runs.items():
            if number not in self._under_way:
                self._begin(run)
            if run.stop is not None:
                self._under_way[number].stop.set()
        for number, under_way in self._under_way.items():
            if number not in open_runs:
                under_way.stop.set()

    def _begin(self, run: CronRun) -> None:
        stop = asyncio.Event()
        task = asyncio.ensure_future(self._work(run, stop))
        self._under_way[run.id] = UnderWay(run, task, stop)
        task.add_done_callback(lambda done: self._end(run, done))

    def _end(self, run: CronRun, task: asyncio.Future[None]) -> None:
        if task.cancelled():
            return
        del self._under_way[run.id]
        self._broken = self._broken or task.exception()
        if self._broken is None:
            self._agenda.ended(run, self._clock())
        self._awake.set()

    def _ask(self) -> None:
        self._asked = True
        self._awake.set()

    async def _pause(self, due: datetime | None) -> None:
        """Until something is due, somebody asks, or the next sign of life is due."""
        if self._broken is not None:
            raise self._broken
        seconds = BEAT if due is None else min(BEAT, max(0.0, (due - self._clock()).total_seconds()))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._awake.wait()
        self._awake.clear()

    def _beat(self) -> None:
        if time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + BEAT
            self._heartbeat.beat(self._clock(), self._agenda.next(), len(self._agenda), len(self._under_way))

    async def _let_go(self) -> None:
        tasks = [under_way.task for under_way in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
