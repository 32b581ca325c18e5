"""A program that a client is connected to: its streams, its terminal, its end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final, Protocol

from runtime.engine import hostside
from runtime.engine.attach import Attached
from runtime.engine.client import Engine
from runtime.engine.fleet import Fleet
from runtime.errors import DeadlinePassed, EngineError, LockstepError, NotFound

SIGNALS: Final = {"HUP": signal.SIGHUP, "INT": signal.SIGINT, "QUIT": signal.SIGQUIT, "TERM": signal.SIGTERM,
                  "USR1": signal.SIGUSR1, "USR2": signal.SIGUSR2, "KILL": signal.SIGKILL}  # fmt: skip
LONGEST: Final = 7 * 24 * 3600.0  # seconds that a program may go on after it has closed its output
SESSION_GRACE: Final = 5.0  # seconds from SIGHUP and SIGTERM to SIGKILL for what a client left in a container
KILL_DEADLINE: Final = 10.0  # seconds for a killed session to be gone


class Console(Protocol):
    """What a session's bytes are pumped to and from."""

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """(STDOUT or STDERR, bytes), to their end."""

    async def write(self, data: bytes) -> None:
        """Standard input. Raises OSError when nobody takes it any more."""

    def end_input(self) -> None:
        """No more input will come."""

    async def resize(self, rows: int, columns: int) -> None:
        """The client's window has another size."""

    async def signal(self, name: str) -> None:
        """The client sends a signal, e.g. "INT"."""

    async def exit_code(self) -> int:
        """How the program ended, once it has: 128 and the number for one that a signal ended."""


class _Streams:
    def __init__(self, engine: Engine, streams: Attached) -> None:
        self._engine = engine
        self._streams = streams

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        return self._streams.output()

    async def write(self, data: bytes) -> None:
        await self._streams.write(data)

    def end_input(self) -> None:
        self._streams.end_input()

    def close(self) -> None:
        """Hear no more; the program goes on."""
        self._streams.close()

    async def _resize(self, path: str, rows: int, columns: int) -> None:
        if rows and columns:
            with suppress(EngineError):  # it has ended, or is about to
                await self._engine.post(f"{path}/resize", h=rows, w=columns)


class ContainerConsole(_Streams):
    """The first process of a container of its own."""

    def __init__(self, fleet: Fleet, streams: Attached, container: str) -> None:
        super().__init__(fleet.engine, streams)
        self._fleet = fleet
        self._path = f"/containers/{container}"
        self._container = container

    async def resize(self, rows: int, columns: int) -> None:
        await self._resize(self._path, rows, columns)

    async def signal(self, name: str) -> None:
        if name in SIGNALS:
            with suppress(NotFound, EngineError):  # EngineError: it does not run (any more)
                await self._engine.post(f"{self._path}/kill", signal=f"SIG{name}")

    async def exit_code(self) -> int:
        try:
            return await self._fleet.exit_code(self._container)
        except NotFound:
            raise LockstepError("the container was removed while the command ran in it") from None


class ExecConsole(_Streams):
    """A process beside the first one of a container that runs."""

    def __init__(self, fleet: Fleet, streams: Attached, container: str, number: str) -> None:
        super().__init__(fleet.engine, streams)
        self._fleet = fleet
        self._path = f"/exec/{number}"
        self._container = container

    async def resize(self, rows: int, columns: int) -> None:
        await self._resize(self._path, rows, columns)

    async def signal(self, name: str) -> None:
        number = SIGNALS.get(name)
        pid = (await self._look())["Pid"]
        if number is not None and pid:
            hostside.tell(pid, self._container, number)

    async def exit_code(self) -> int:
        async def ended() -> int | None:
            try:
                state = await self._look()
            except NotFound:
                raise LockstepError("the container ended while the command ran in it: a deploy replaces it") from None
            return None if state["Running"] else int(state["ExitCode"])

        return await self._fleet.events.until("the end of the command", LONGEST, ended)

    async def end(self) -> None:
        """End what the client left running: the program and its session. Raises DeadlinePassed when it goes on."""

        async def begun() -> tuple[int, bool] | None:
            """Its number and whether it still runs; its start may be under way."""
            state = await self._look()
            if state["ExitCode"] is not None and not state["Running"]:
                return 0, False
            return (int(state["Pid"]), True) if state["Pid"] else None

        async def ended() -> bool | None:
            return None if (await self._look())["Running"] else True

        with suppress(NotFound):  # the container is gone
            pid, runs = await self._fleet.events.until("the start of the command", KILL_DEADLINE, begun)
            if runs:
                await end_session(self._fleet, pid, self._container)
                what = f"the end of process {pid}, which has to be one of this machine's,"
                await self._fleet.events.until(what, KILL_DEADLINE, ended)

    async def _look(self) -> dict[str, Any]:
        state: dict[str, Any] = await self._engine.get(f"{self._path}/json")
        return state


async def end_session(fleet: Fleet, leader: int, container: str) -> None:
    """As when a terminal is closed: SIGHUP and SIGTERM to the session that `leader` began, then SIGKILL."""

    async def gone() -> bool | None:
        return None if await asyncio.to_thread(hostside.session_of, leader, container) else True

    def tell(*numbers: signal.Signals) -> None:
        for pid in hostside.session_of(leader, container):
            for number in numbers:
                hostside.tell(pid, container, number)

    what = f"the end of the session of process {leader} in {container[:12]}"
    await asyncio.to_thread(tell, signal.SIGHUP, signal.SIGTERM, signal.SIGCONT)
    try:
        await fleet.events.until(what, SESSION_GRACE, gone)
    except DeadlinePassed:
        await asyncio.to_thread(tell, signal.SIGKILL)
        await fleet.events.until(what, KILL_DEADLINE, gone)
