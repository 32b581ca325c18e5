"""Reading one container's log from where it was left to the container's end, whatever the engine does meanwhile."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field
from typing import Final

from runtime.engine.client import Engine
from runtime.engine.logs import NotFramed, log_batches
from runtime.errors import EngineError, EngineUnreachable, LockstepError, NotFound, StoreError, explain
from runtime.logbook.cursors import Resume
from runtime.logbook.entry import LogKind, note, stamp
from runtime.logbook.inflow import Inflow, Tag
from runtime.parts import Parts
from runtime.scheduler.jobs import Key
from runtime.scheduler.runlog import RunLogs
from runtime.waiting import ticks

log = logging.getLogger(__name__)

RETRY: Final = 1.0  # seconds before a log that broke off is read again
TRIES: Final = 5  # refusals of the engine after which a container's log is given up
AT_ONCE: Final = 8  # ended containers that are read side by side
REST: Final = 3.0  # readers of containers that write too much rest so many times as long as they work, all together


@dataclass(frozen=True)
class Container:
    """What is read."""

    id: str
    tag: Tag
    run: str | None  # the number of a cron run


@dataclass
class Lanes:
    """What readers share, so that many of them and floods leave the server its time."""

    ended: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    flooded: asyncio.Lock = field(default_factory=asyncio.Lock)


class Reader:
    """Reads one container."""

    def __init__(self, parts: Parts, container: Container, lanes: Lanes) -> None:
        self._parts = parts
        self._container = container
        self._lanes = lanes

    async def run(self, *, running: bool) -> bool:
        """To the container's end; False when its log can not be read, which is noted in the app's."""
        try:
            self._book = self._parts.logbook.of(self._container.tag.app)
            self._inflow = Inflow(self._book, self._container.tag, ticks)
            async with nullcontext() if running else self._lanes.ended:
                await self._persist()
        except NotFramed:
            return False
        except LockstepError as error:
            self._give_up(explain(error))
            return False
        except Exception as error:
            log.exception("the log of %s of %s", self._container.tag.process, self._container.tag.app)
            self._give_up(f"internal error: {type(error).__name__}")
            return False
        return True

    def _give_up(self, why: str) -> None:
        text = f"the log of {self._container.tag.process} can not be read: {why}"
        log.warning("%s: %s", self._container.tag.app, text)
        self._parts.logbook.add(self._container.tag.app, note(stamp(self._parts.clock()), text))

    async def _persist(self) -> None:
        refused = 0
        while True:
            try:
                return await self._to_the_end()
            except NotFramed:
                raise
            except NotFound:
                return self._take_run_log()
            except (EngineUnreachable, StoreError) as error:
                log.info("the log of %s is read again: %s", self._container.tag.process, explain(error))
            except EngineError:
                refused += 1
                if refused >= TRIES:
                    raise
            await asyncio.sleep(RETRY)

    async def _to_the_end(self) -> None:
        while True:
            await self._read(follow=True)
            found = await self._parts.fleet.engine.get(f"/containers/{self._container.id}/json")
            if not found["State"]["Running"]:
                break
            await asyncio.sleep(RETRY)  # the engine closed the stream of a container that goes on
        await self._read(follow=False)  # a stream that is followed can miss what is rotated away under it

    async def _read(self, *, follow: bool) -> None:
        engine, resume = self._parts.fleet.engine, self._resume()
        try:
            await self._take(engine, resume, follow)
            self._inflow.release()
        finally:
            self._inflow.reset()

    async def _take(self, engine: Engine, resume: Resume, follow: bool) -> None:
        async with aclosing(log_batches(engine, self._container.id, follow=follow, since=resume.since)) as batches:
            async for batch in batches:
                began = time.monotonic()
                self._inflow.take([line for line in batch if resume.is_new(line)])
                if self._inflow.flooded:
                    async with self._lanes.flooded:
                        await asyncio.sleep((time.monotonic() - began) * REST)
                else:
                    await asyncio.sleep(0)

    def _resume(self) -> Resume:
        return Resume(self._book.cursors.containers.get(self._container.tag.source, {}))

    def _take_run_log(self) -> None:
        """The container is gone; the scheduler keeps what a cron run wrote before it removes its container."""
        tag, run = self._container.tag, self._container.run
        if tag.kind is not LogKind.CRON or run is None or not run.isdigit():
            return
        lines = RunLogs(self._parts.settings.logs).read(Key(tag.app, tag.process), int(run))
        if lines is None:
            return
        resume = self._resume()
        self._inflow.take([line for line in lines if resume.is_new(line)])
        self._inflow.release()
