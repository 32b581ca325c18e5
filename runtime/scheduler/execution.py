"""The story of one run: from its claimed row to its closed row, from wherever an earlier scheduler left it.

Each step looks first at what is there, so the story can be told again from its beginning after any interruption:
a container is made once because its name follows from the run, and is started once because one that was started
says so. It is removed only when the row is closed. A run that goes on while the scheduler stops goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy.exc import OperationalError

from runtime.engine import specs
from runtime.engine.specs import Place
from runtime.errors import EngineError, EngineUnreachable, LockstepError, NotFound, explain
from runtime.model import CronJob, CronRun, Release, RunState
from runtime.scheduler.containers import Containers
from runtime.scheduler.ending import End, Found, judge, retry_moment
from runtime.scheduler.gate import Gate
from runtime.scheduler.jobs import Key
from runtime.scheduler.ledger import Ledger, NotStarted
from runtime.scheduler.runlog import RunLogs

log = logging.getLogger(__name__)

START_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)  # seconds before the start is tried again; a deploy waits 30 s for it
ENGINE_DEADLINE: Final = 6 * 3600.0  # seconds that a run waits for an engine that is away
TROUBLE_PAUSE: Final = 5.0  # seconds after the engine refused something about a run that was started
STOP_SLACK: Final = 30.0  # seconds beyond the grace for a container to be gone

Fault = Callable[[str, str], None]


class Work(Protocol):
    """What carries out a claimed run; the loop knows nothing else of it."""

    async def __call__(self, run: CronRun, stop: asyncio.Event) -> None: ...


@dataclass(frozen=True)
class Office:
    """What every execution works with."""

    ledger: Ledger
    containers: Containers
    logs: RunLogs
    gate: Gate
    clock: Callable[[], datetime]
    fault: Fault  # dies at a named point, in tests
    boot_time: datetime  # of this machine

    async def __call__(self, run: CronRun, stop: asyncio.Event) -> None:
        await Execution(self, run, stop).carry_out()


class Stuck(LockstepError):
    """A container that neither SIGTERM nor SIGKILL ended; it is tried again."""


class Execution:
    """One run. `stop` is set when its row asks for its end."""

    def __init__(self, office: Office, run: CronRun, stop: asyncio.Event) -> None:
        self._office = office
        self._containers = office.containers
        self._run = run
        self._job = office.ledger.job(run)
        self._stop = stop
        self._engine_lost: datetime | None = None
        self._stop_failed: str | None = None  # why the job's stop command did not end it

    async def carry_out(self) -> None:
        """Until the row is closed; whatever goes wrong is the reason it is closed with.

        Raises OperationalError when the store takes no writes: the row stays open for the next scheduler.
        """
        try:
            await self._despite_engine()
        except OperationalError:
            raise
        except NotStarted as error:
            self._close(End(error.state, self._office.clock(), reason=explain(error)))
        except LockstepError as error:
            self._close(End(RunState.INTERRUPTED, self._office.clock(), reason=explain(error)))
        except Exception as error:
            log.exception("run %d", self._run.id)
            self._close(End(RunState.INTERRUPTED, self._office.clock(), reason=f"internal error: {explain(error)}"))

    async def _despite_engine(self) -> None:
        """Tell the story again whenever the engine went away or refused something in its middle."""
        give_up = time.monotonic() + ENGINE_DEADLINE
        while True:
            try:
                await self._containers.link.up(ENGINE_DEADLINE)
                return await self._through()
            except (EngineError, Stuck) as error:
                log.warning("run %d: %s", self._run.id, error)
                if time.monotonic() > give_up:
                    raise
                if isinstance(error, EngineUnreachable):
                    self._engine_lost = self._engine_lost or self._office.clock()
                else:
                    await asyncio.sleep(TROUBLE_PAUSE)

    async def _through(self) -> None:
        found = await self._containers.find(self._run)
        if found is None or found.started_at is None:
            found = await self._start()
        if found is None or self._job is None:  # the run is gone, with its app
            return await self._containers.remove(self._run)
        self._mark_running(found)
        end = await self._end(found, self._job)
        problem = await self._keep_log()
        self._close(end if end.reason is not None else replace(end, reason=problem))
        return await self._containers.remove(self._run)

    # ---- the start ---------------------------------------------------------------------------------------------

    async def _start(self) -> Found | None:
        """The started container; None when the run is gone."""
        if self._run.started_at is not None:
            raise NotStarted(RunState.INTERRUPTED, "its container is gone")
        for pause in (*START_PAUSES, None):
            try:
                return await self._try_to_start()
            except EngineUnreachable:
                raise
            except EngineError as error:
                if pause is None or _is_final(error):
                    await self._containers.remove(self._run)
                    raise _not_started(error) from None
                log.warning("run %d: its start is tried again: %s", self._run.id, error)
                await asyncio.sleep(pause)
        raise AssertionError("the last pause is None")

    async def _try_to_start(self) -> Found | None:
        async with self._office.gate.passage(self._run.app):
            found = await self._containers.find(self._run)
            if found is not None and found.started_at is not None:
                return found
            if self._stop.is_set():
                raise NotStarted(RunState.CANCELLED, self._why_stopped())
            what = self._office.ledger.startable(self._run)
            if what is None:
                return None
            await self._make(*what)
            self._office.fault("start", "before")
            await self._containers.start(self._run)
            self._office.fault("start", "after")
        return await self._look()

    async def _make(self, release: Release, place: Place) -> None:
        job = self._job
        if job is None:
            raise NotStarted(RunState.SKIPPED, f"v{self._run.release} has no job {self._run.job}")
        self._office.fault("create", "before")
        await self._containers.create(self._run, release, job, place)
        self._office.fault("create", "after")

    def _mark_running(self, found: Found) -> None:
        assert found.started_at is not None
        if self._run.started_at is None:
            self._office.ledger.started(self._run, found.started_at)
            self._run = self._run.model_copy(update={"started_at": found.started_at, "state": RunState.RUNNING})

    # ---- the end -----------------------------------------------------------------------------------------------

    async def _end(self, found: Found, job: CronJob) -> End:
        """How it ended, once it has."""
        self._office.fault("wait", "before")
        cause: RunState | None = None
        if found.ended_at is None:
            cause = await self._until_ended(found, job)
            found = await self._look()
        self._office.fault("wait", "after")
        if self._stop.is_set():
            self._run = self._run.model_copy(update={"stop": self._why_stopped()})
        end = judge(self._run, job, found, cause, self._lost_at(found))
        return end if self._stop_failed is None else replace(end, reason=f"{end.reason}; {self._stop_failed}")

    async def _until_ended(self, found: Found, job: CronJob) -> RunState | None:
        """What it was stopped for, None when it ended by itself."""
        assert found.started_at is not None
        spent = max(timedelta(0), self._office.clock() - found.started_at).total_seconds()
        waiting = asyncio.create_task(self._containers.until_ended(self._run))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            left = max(0.0, job.timeout - spent)
            await asyncio.wait({waiting, stopping}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                await waiting
                return None
            if (await self._look()).ended_at is not None:  # by itself, and the engine has not told yet
                return None
            cause = RunState.CANCELLED if stopping.done() else RunState.TIMED_OUT
            await self._end_by_force(job, waiting)
            return cause
        finally:
            waiting.cancel()
            stopping.cancel()
            await asyncio.gather(waiting, stopping, return_exceptions=True)

    async def _end_by_force(self, job: CronJob, waiting: asyncio.Task[None]) -> None:
        words = specs.stop_words(job)
        try:
            async with asyncio.timeout(job.grace + STOP_SLACK):
                if words is None:
                    await self._containers.stop(self._run, job.grace)
                else:
                    await self._end_by_command(words, job.grace, waiting)
                await waiting
        except TimeoutError:
            raise Stuck(f"the container of run {self._run.id} does not stop") from None

    async def _end_by_command(self, words: tuple[str, ...], grace: float, waiting: asyncio.Task[None]) -> None:
        """The job's own way to end it, in the place of SIGTERM; then the grace, SIGKILL."""
        asking = asyncio.create_task(self._containers.run_inside(self._run, words))
        try:
            await asyncio.wait({waiting}, timeout=grace)
            if not waiting.done():
                self._stop_failed = _why_it_went_on(asking)
                await self._containers.kill(self._run)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _look(self) -> Found:
        found = await self._containers.find(self._run)
        if found is None or found.started_at is None:
            raise NotStarted(RunState.INTERRUPTED, "its container was removed while it ran")
        return found

    async def _keep_log(self) -> str | None:
        """What is wrong with the log, if something is."""
        self._office.fault("log", "before")
        try:
            with self._office.logs.writer(Key(self._run.app, self._run.job), self._run.id) as writer:
                await self._containers.keep_log(self._run, writer)
        except OSError as error:
            log.exception("the log of run %d", self._run.id)
            return f"its log could not be kept: {error.strerror}"
        self._office.fault("log", "after")
        return None

    def _close(self, end: End) -> None:
        retry_at = None if self._job is None else retry_moment(self._run, self._job, end)
        self._office.fault("close", "before")
        self._office.ledger.ended(self._run, end, retry_at)
        self._office.fault("close", "after")

    def _why_stopped(self) -> str:
        return self._office.ledger.stop_reason(self._run) or "it was to be stopped"

    def _lost_at(self, found: Found) -> datetime | None:
        """When the engine went away while this ran, as far as that is known."""
        assert found.started_at is not None
        return self._office.boot_time if found.started_at < self._office.boot_time else self._engine_lost


def boot_time() -> datetime:
    """When this machine started."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return datetime.fromtimestamp(int(line.split()[1])).astimezone()
    raise LockstepError("/proc/stat does not say when this machine started")


def _why_it_went_on(asking: asyncio.Task[int | None]) -> str:
    """What became of a stop command whose container still runs after the grace."""
    if not asking.done():
        return "its stop command did not end within the grace, and it was killed"
    error = asking.exception()
    if error is not None:
        return f"its stop command could not be run ({explain(error)}), and it was killed"
    return f"its stop command ended with {asking.result()} and it went on, and was killed"


def _is_final(error: EngineError) -> bool:
    """Whether trying again can not help: the image is gone, what is asked is wrong, or it may have run."""
    no_image = isinstance(error, NotFound) and "image" in str(error).lower()
    return error.status == 400 or no_image or _may_have_run(error)


def _may_have_run(error: EngineError) -> bool:
    """The engine was killed while it started the container: it has forgotten that, its containerd has not."""
    return any(sign in str(error) for sign in ("already exists", "already in use"))


def _not_started(error: EngineError) -> NotStarted:
    if _may_have_run(error):
        why = "the engine was killed while it started it; it may have run"
        return NotStarted(RunState.INTERRUPTED, f"{why} ({explain(error)})")
    return NotStarted(RunState.FAILED, f"cannot start: {explain(error)}")
