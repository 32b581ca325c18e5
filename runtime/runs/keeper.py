"""One-off runs: those that a client is attached to, and those that go on by themselves until their time is up.

A run has its row before its container, and the container goes before the row is closed, so that nothing is left
behind unseen: at start-up runs whose clients are gone are ended, and detached ones are watched again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from runtime import names
from runtime.engine.attach import attach
from runtime.errors import DeadlinePassed, EngineUnreachable, LockstepError, NotFound, explain
from runtime.model import Release, RunState
from runtime.parts import Parts, place_of
from runtime.runs.consoles import Console, ContainerConsole
from runtime.runs.describe import GRACE, base_of, container_of
from runtime.runs.images import has_shell
from runtime.runs.leftovers import end_left_sessions
from runtime.runs.values import OneOff, Order
from runtime.scheduler.containers import keep_log
from runtime.scheduler.jobs import Key
from runtime.scheduler.runlog import ONE_OFF, RunLogs
from runtime.waiting import see_through

log = logging.getLogger(__name__)

MOST_OPEN: Final = 50  # one-off runs of an app at a time
KEEP: Final = 200  # ended runs of an app whose rows and logs stay
SWEEP: Final = 60.0  # seconds between two looks for containers that nobody holds
PAUSE: Final = 2.0  # seconds before an engine that is away is asked again
STOP_SLACK: Final = 20.0  # seconds beyond the grace for a container to be gone
TIME_LIMIT: Final = "its time limit"
LEFT: Final = "its client went away"
JOB: Final = "run"


class Runs:
    """Starts runs, and sees each to its end. One for the whole server."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._logs = RunLogs(parts.settings.logs, ONE_OFF)
        self._watching: dict[str, asyncio.Task[None]] = {}  # container -> who waits for its end
        self.held: set[str] = set()  # containers, by name, that a session of this server holds

    # ---- its own life ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what an earlier server left: watch detached runs again, end those whose clients are gone."""
        with self.parts.store.read() as tx:
            left = tx.runs.open()
        for run in left:
            if run.detached and run.started_at is not None:
                self._watch(run, self._until_closed(run))
            else:
                why = "the server ended before it was started" if run.detached else "the server ended, and its session"
                self._watch(run, self._put_away(run, why))
        await self.sweep()
        await end_left_sessions(self.parts.fleet)

    async def run(self) -> None:
        """Remove now and then what nobody holds, as an engine that was away has left it. Cancel to stop."""
        while True:
            await asyncio.sleep(SWEEP)
            try:
                await self.sweep()
            except LockstepError as error:
                log.warning("containers of one-off runs: %s", explain(error))

    async def stop(self) -> None:
        """Watch no more; detached runs go on, and the next server watches them."""
        tasks = tuple(self._watching.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def sweep(self) -> None:
        """Remove containers of runs that no session holds and no task watches."""
        for item in await self.parts.fleet.containers(kind=names.ONE_OFF):
            name = str(item["Names"][0]).removeprefix("/") if item["Names"] else ""
            if name not in self.held and name not in self._watching:
                log.info("removing the container %s, which nobody holds", name)
                await self.parts.fleet.remove_container(item["Id"])

    # ---- runs --------------------------------------------------------------------------------------------------

    async def detached(self, order: Order) -> OneOff:
        """Start a run that goes on by itself; it is started when this returns. Raises LockstepError."""
        run, release = self._claim(order)
        name = self.name(run)
        self.held.add(name)
        try:
            await see_through(self._start(order, run, release))
        except BaseException as error:
            if (watcher := self._watching.get(name)) is not None:
                watcher.cancel()
            await see_through(self._put_away(run, explain(error)))
            raise
        finally:
            self.held.discard(name)
        return self._row(run)

    @asynccontextmanager
    async def attached(self, order: Order) -> AsyncIterator[Console]:
        """A run with its streams, started; when it is left the container is ended and gone. Raises LockstepError."""
        run, release = self._claim(order)
        name, engine, why = self.name(run), self.parts.fleet.engine, LEFT
        self.held.add(name)
        try:
            await see_through(self._create(order, run, release))
            streams = await attach(engine, name, tty=order.tty is not None)
            try:
                await engine.post(f"/containers/{name}/start")
                self._started(run)
                console = ContainerConsole(self.parts.fleet, streams, name)
                if order.tty is not None:
                    await console.resize(order.tty.rows, order.tty.columns)
                yield console
            finally:
                streams.close()
        except LockstepError as error:
            why = explain(error)
            raise
        finally:
            try:
                await see_through(self._put_away(run, why))
            finally:
                self.held.discard(name)

    def name(self, run: OneOff) -> str:
        return names.one_off(self.parts.settings.instance, run.app, JOB, str(run.number))

    # ---- the start ---------------------------------------------------------------------------------------------

    def _claim(self, order: Order) -> tuple[OneOff, Release]:
        """The run's row, and the release that is live at this moment."""
        now = self.parts.clock()
        with self.parts.store.write() as tx:
            release = tx.releases.current(tx.apps.get(order.app).name)
            if release is None:
                raise LockstepError(f"nothing of {order.app} is live: push to it first")
            if len(tx.runs.open(order.app)) >= MOST_OPEN:
                raise LockstepError(
                    f"{MOST_OPEN} one-off runs of {order.app} are under way: end one, 'run:list {order.app}' lists them"
                )
            run = OneOff(
                app=order.app,
                number=tx.runs.next_number(order.app),
                process=base_of(release, order.process).name,
                command=order.command.shown,
                release=release.number,
                detached=order.timeout is not None,
                state=RunState.DUE,
                who=order.who,
                created_at=now,
                timeout=order.timeout,
            )
            tx.runs.add(run)
            old = tx.runs.prune(run.app, KEEP)
        self._logs.remove(_key(run), old)
        return run, release

    async def _create(self, order: Order, run: OneOff, release: Release) -> None:
        name = self.name(run)
        place = place_of(self.parts.settings, self.parts.store, release)
        shell = order.tty is None or await has_shell(self.parts, release, name)
        spec = container_of(order, run, release, place, has_shell=shell)
        await self.parts.fleet.engine.post("/containers/create", spec, name=name)

    async def _start(self, order: Order, run: OneOff, release: Release) -> None:
        await self._create(order, run, release)
        await self.parts.fleet.engine.post(f"/containers/{self.name(run)}/start")
        self._started(run)
        self._watch(run, self._until_closed(self._row(run)))

    def _started(self, run: OneOff) -> None:
        with self.parts.store.write() as tx:
            tx.runs.started(run, self.parts.clock())

    # ---- the end -----------------------------------------------------------------------------------------------

    def _watch(self, run: OneOff, work: Coroutine[Any, Any, None]) -> None:
        """Do what is left to do for a run beside everything else."""
        name = self.name(run)

        def done(task: asyncio.Task[None]) -> None:
            del self._watching[name]
            if not task.cancelled() and task.exception() is not None:
                log.error("%s is left to the next server", task.get_name(), exc_info=task.exception())

        self._watching[name] = asyncio.create_task(work, name=f"{run.id} of {run.app}")
        self._watching[name].add_done_callback(done)

    async def _until_closed(self, run: OneOff) -> None:
        engine_lost = False
        while True:
            try:
                await self._see_end(run)
                return await self._put_away(run, None, engine_lost=engine_lost)
            except EngineUnreachable as error:
                engine_lost = True
                log.warning("%s of %s: %s", run.id, run.app, error)
                await asyncio.sleep(PAUSE)
            except LockstepError as error:
                log.warning("%s of %s: %s", run.id, run.app, explain(error))
                return await self._put_away(run, explain(error))

    async def _see_end(self, run: OneOff) -> None:
        """Return when the container runs no more, which it is made to when its time is up."""
        if run.timeout is None or run.started_at is None:
            return
        left = run.started_at + timedelta(seconds=run.timeout) - self.parts.clock()
        try:
            async with asyncio.timeout(max(0.0, left.total_seconds())):
                await self._until_ended(run)
        except TimeoutError:
            with self.parts.store.write() as tx:
                tx.runs.ask_stop(run, TIME_LIMIT)
            await self._stop(run)

    async def _until_ended(self, run: OneOff) -> None:
        try:
            await self.parts.fleet.exit_code(self.name(run))
        except NotFound:
            return
        except (ValueError, KeyError, TypeError):  # an answer that broke off
            raise EngineUnreachable("the engine stopped while a run was waited for") from None

    async def _stop(self, run: OneOff) -> None:
        """SIGTERM, the grace, SIGKILL. Raises NotFound, EngineError, DeadlinePassed."""
        engine, seconds = self.parts.fleet.engine, GRACE + STOP_SLACK
        path, limit = f"/containers/{self.name(run)}/stop", {"t": round(GRACE)}
        try:
            async with asyncio.timeout(seconds), engine.request("POST", path, limit, streaming=True):
                pass
        except TimeoutError:
            raise DeadlinePassed(f"the end of {run.id}", seconds) from None

    async def _put_away(self, run: OneOff, why: str | None, *, engine_lost: bool = False) -> None:
        """Have the container gone and the row closed, from wherever they are; `why` unless it ended by itself.

        Raises EngineUnreachable for one that ended by itself: it is seen to when the engine is back.
        """
        state: dict[str, Any] | None = None
        try:
            state = await self._ended_state(run, why)
            if run.detached and state is not None:
                await self._keep_log(run)
            await self.parts.fleet.remove_container(self.name(run))
        except NotFound:
            why = why or "its container was removed"
        except LockstepError as error:
            if why is None and isinstance(error, EngineUnreachable):
                raise
            why = f"its container could not be removed: {explain(error)}"
            log.warning("%s of %s: %s", run.id, run.app, why)
        self._close(run, state, why, engine_lost)

    async def _ended_state(self, run: OneOff, why: str | None) -> dict[str, Any] | None:
        """What the engine says of the container's end; None for one that was never started."""
        path = f"/containers/{self.name(run)}/json"
        state = (await self.parts.fleet.engine.get(path))["State"]
        if state["Running"]:
            with self.parts.store.write() as tx:
                tx.runs.ask_stop(run, why or "its session ended")
            await self._stop(run)
            state = (await self.parts.fleet.engine.get(path))["State"]
        return None if state["Status"] == "created" else dict(state)

    async def _keep_log(self, run: OneOff) -> None:
        try:
            with self._logs.writer(_key(run), run.number) as writer:
                await keep_log(self.parts.fleet.engine, self.name(run), writer)
        except OSError as error:
            raise LockstepError(f"its log could not be kept: {error.strerror}") from error

    def _close(self, run: OneOff, state: dict[str, Any] | None, why: str | None, engine_lost: bool) -> None:
        with self.parts.store.write() as tx:
            row = tx.runs.find(run.app, run.number)  # None: the app was destroyed meanwhile
            if row is not None:
                code = None if state is None else int(state["ExitCode"])
                memory = bool(state and state["OOMKilled"])
                how, reason = judge(row, code, why, out_of_memory=memory, engine_lost=engine_lost)
                tx.runs.ended(row, how, self.parts.clock(), code, reason)

    def _row(self, run: OneOff) -> OneOff:
        with self.parts.store.read() as tx:
            return tx.runs.find(run.app, run.number) or run


def judge(
    run: OneOff, code: int | None, why: str | None, *, out_of_memory: bool, engine_lost: bool = False
) -> tuple[RunState, str | None]:
    """How a run ended, and the reason that is shown. `engine_lost`: the engine was away while it ran."""
    if code is None and why == LEFT:
        return RunState.CANCELLED, why
    if code is None:
        started = run.started_at is not None
        return (RunState.INTERRUPTED if started else RunState.FAILED), why or "its container is gone"
    if run.stop is not None:
        return (RunState.TIMED_OUT if run.stop == TIME_LIMIT else RunState.CANCELLED), run.stop
    if code == 0:
        return RunState.SUCCEEDED, None
    if engine_lost:
        return RunState.INTERRUPTED, "the engine stopped meanwhile"
    return RunState.FAILED, "out of memory" if out_of_memory else None


def _key(run: OneOff) -> Key:
    return Key(run.app, JOB)
