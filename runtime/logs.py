"""The log of an app: what all its processes write, merged, following the app and not a container."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runtime import names
from runtime.engine.fleet import Fleet
from runtime.engine.logs import LogLine, container_logs
from runtime.errors import EngineError
from runtime.text import printable

LATEST = "9999"  # sorts behind every moment, for lines of our own
QUEUE = 1000  # lines that wait for a slow reader before the sources are paused


@dataclass(frozen=True)
class AppLine:
    """One line of one process, e.g. moment 2026-01-02T03:04:05.678Z, process "web.1"."""

    moment: str
    process: str
    text: str
    error: bool

    def __str__(self) -> str:
        return f"{self.moment} app[{self.process}]: {self.text}"


class AppLogs:
    """Reads logs through the engine."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def last(self, app: str, process: str | None, lines: int) -> list[AppLine]:
        """The newest `lines` lines of the containers there are, oldest first."""
        containers = await self._containers(app, process)
        read = await asyncio.gather(*(self._tail(container, lines) for container in containers))
        return sorted((line for part in read for line in part), key=lambda line: line.moment)[-lines:]

    async def follow(self, app: str, process: str | None, last: AppLine | None) -> AsyncIterator[AppLine]:
        """The lines after `last` as they come, of containers that run and of those that start later.

        Ends only when its caller stops it.
        """
        since = None if last is None else datetime.fromisoformat(last.moment)
        queue: asyncio.Queue[AppLine] = asyncio.Queue(QUEUE)
        readers: dict[str, asyncio.Task[None]] = {}
        watcher = asyncio.create_task(self._watch(app, process, since, queue, readers))
        try:
            while True:
                line = await queue.get()
                if last is None or line.moment > last.moment:
                    yield line
        finally:
            watcher.cancel()
            for reader in readers.values():
                reader.cancel()
            await asyncio.gather(watcher, *readers.values(), return_exceptions=True)

    async def _watch(
        self,
        app: str,
        process: str | None,
        since: datetime | None,
        queue: asyncio.Queue[AppLine],
        readers: dict[str, asyncio.Task[None]],
    ) -> None:
        """Start a reader for each container that appears."""
        stirred = asyncio.Event()
        stirred.set()

        def hear(event: dict[str, Any]) -> None:
            if event.get("Action") in ("start", "lost"):
                stirred.set()

        self._fleet.events.listeners.append(hear)
        try:
            while True:
                await stirred.wait()
                stirred.clear()
                for container in await self._containers(app, process):
                    if container["Id"] not in readers or (
                        container["State"] == "running" and readers[container["Id"]].done()
                    ):
                        readers[container["Id"]] = asyncio.create_task(self._pump(container, since, queue))
        finally:
            self._fleet.events.listeners.remove(hear)

    async def _pump(self, container: dict[str, Any], since: datetime | None, queue: asyncio.Queue[AppLine]) -> None:
        try:
            async for line in container_logs(self._fleet.engine, container["Id"], follow=True, since=since):
                await queue.put(_named(line, container))
        except EngineError as error:
            await queue.put(AppLine(LATEST, process_of(container), f"(the log broke off: {error})", True))

    async def _tail(self, container: dict[str, Any], lines: int) -> list[AppLine]:
        found = container_logs(self._fleet.engine, container["Id"], tail=lines)
        return [_named(line, container) async for line in found]

    async def _containers(self, app: str, process: str | None) -> list[dict[str, Any]]:
        marks = {} if process is None else {"process": process}
        found = await self._fleet.containers(app=app, **marks)
        return [item for item in found if item["Labels"].get(names.KIND) not in (names.PLATFORM, names.ONE_OFF)]


def process_of(container: dict[str, Any]) -> str:
    """ "web.1" for the first replica of web; the name alone for what runs once."""
    marks = container["Labels"]
    process = str(marks.get(names.PROCESS, "?"))
    task = str(marks.get("com.docker.swarm.task.name", ""))
    slot = task.removeprefix(str(marks.get("com.docker.swarm.service.name", ""))).lstrip(".").partition(".")[0]
    return f"{process}.{slot}" if slot.isdigit() else process


def _named(line: LogLine, container: dict[str, Any]) -> AppLine:
    return AppLine(f"{line.moment[:23]}Z", process_of(container), printable(line.text), line.error)
