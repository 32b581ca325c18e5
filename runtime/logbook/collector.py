"""Follows every container of the apps from its start to its end, and writes what it writes into the log of its app.

A reader per container, begun by the engine's event or by a look at all there are, goes on from where the log says
that the container was left. So a server that was stopped or killed loses and doubles nothing while the container is
there. What ends is read once more to its end; a cron run that is gone before that is read from its kept log.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from runtime import names
from runtime.errors import LockstepError, explain
from runtime.logbook.cursors import ID_LENGTH
from runtime.logbook.entry import OF_CONTAINERS, LogKind, note, stamp
from runtime.logbook.inflow import Tag
from runtime.logbook.reader import Container, Lanes, Reader
from runtime.parts import Parts

log = logging.getLogger(__name__)

LOOK: Final = 30.0  # seconds between looks at all containers; events tell of new ones meanwhile
LOOK_AGAIN: Final = 1.0  # seconds, while the engine is away and just after it came back
AGAIN: Final = 3  # quick looks after it came back: the event stream comes back a little later


@dataclass(frozen=True)
class Reading:
    """A container and who reads it; a task that is done has read all of it."""

    container: Container
    task: asyncio.Task[bool]

    @property
    def ended(self) -> bool:
        """Its end was reached, so that it is to be read again when it runs again."""
        return self.task.done() and self.task.result()


class Collector:
    """Implements `runtime.logbook.logbook.Source`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lanes = Lanes()
        self._readings: dict[str, Reading] = {}
        self._stirred = asyncio.Event()
        self._lost_at: datetime | None = None
        self._quick_looks = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        with self._parts.store.read() as tx:
            self._parts.logbook.keep({app.name for app in tx.apps.all()})
        events, sources = self._parts.fleet.events, self._parts.logbook.sources
        events.listeners.append(self._hear)
        sources.append(self)
        try:
            while True:
                pause = await self._round()
                try:
                    async with asyncio.timeout(pause):
                        await self._stirred.wait()
                except TimeoutError:
                    pass
                self._stirred.clear()
        finally:
            events.listeners.remove(self._hear)
            sources.remove(self)
            tasks = [reading.task for reading in self._readings.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def read_out(self, app: str, release: int | None, seconds: float) -> list[str]:
        """As in Source."""
        try:
            await self._look()
        except LockstepError as error:
            log.warning("the logs of %s may not be read to their end: %s", app, explain(error))
        ending = {
            reading.task: reading.container.tag.process
            for reading in self._of(app)
            if reading.container.tag.kind is LogKind.APP and reading.container.tag.release != release
        }
        if not ending:
            return []
        _, pending = await asyncio.wait(ending, timeout=seconds)
        return [ending[task] for task in pending]

    def forget(self, app: str) -> None:
        """As in Source."""
        for reading in self._of(app):
            reading.task.cancel()
            del self._readings[reading.container.id]
        self._stirred.set()

    # ---- which containers there are ------------------------------------------------------------------------

    async def _round(self) -> float:
        """One look; the seconds until the next."""
        try:
            await self._look()
        except LockstepError as error:
            log.warning("the containers could not be looked at for their logs: %s", explain(error))
            return LOOK_AGAIN
        if self._lost_at is not None:
            away, self._lost_at = (self._parts.clock() - self._lost_at).total_seconds(), None
            self._tell_all(f"the docker engine answers again after {away:.0f} s")
        self._quick_looks = max(0, self._quick_looks - 1)
        return LOOK_AGAIN if self._quick_looks else LOOK

    async def _look(self) -> None:
        """Begin to read containers that no event told of, and forget those that are gone."""
        known = set(self._readings)
        found = await self._parts.fleet.containers()
        for item in found:
            reading, running = self._readings.get(item["Id"]), item["State"] == "running"
            if item["State"] != "created" and (reading is None or (running and reading.ended)):
                self._begin(item["Id"], item["Labels"], running=running)
        for container in known - {item["Id"] for item in found}:
            if container in self._readings and self._readings[container].task.done():
                del self._readings[container]
        for app in {reading.container.tag.app for reading in self._readings.values()}:
            sources = {reading.container.tag.source for reading in self._of(app)}
            self._parts.logbook.of(app).cursors.keep(sources)

    def _hear(self, event: dict[str, Any]) -> None:
        if event.get("Action") == "lost":
            if self._lost_at is None:
                self._lost_at = self._parts.clock()
                self._tell_all("the docker engine does not answer: lines follow when it does again")
            self._quick_looks = AGAIN
            self._stirred.set()
        elif event.get("Type") == "container" and event.get("Action") == "start":
            self._begin(event["Actor"]["ID"], event["Actor"].get("Attributes") or {}, running=True)

    def _begin(self, container: str, labels: dict[str, str], *, running: bool) -> None:
        """Read a container of an app, unless it is being read."""
        kind, handle = OF_CONTAINERS.get(labels.get(names.KIND, "")), labels.get(names.APP)
        known = self._readings.get(container)
        if kind is None or handle is None or (known is not None and not known.task.done()):
            return
        with self._parts.store.read() as tx:
            app = tx.apps.name_of(names.Handle(handle))
        if app is None:  # what is left of an app that is gone
            return
        release = labels.get(names.RELEASE, "")
        number = int(release) if release.isdigit() else None
        tag = Tag(app, kind, process_of(labels), number, container[:ID_LENGTH])
        found = Container(container, tag, labels.get(names.RUN))
        work = Reader(self._parts, found, self._lanes).run(running=running)
        self._readings[container] = Reading(found, asyncio.create_task(work, name=f"log of {tag.process} of {app}"))

    def _of(self, app: str) -> list[Reading]:
        return [reading for reading in self._readings.values() if reading.container.tag.app == app]

    def _tell_all(self, text: str) -> None:
        """A note in the logs of all apps that have something running."""
        live = {item.container.tag.app for item in self._readings.values() if not item.task.done()}
        for app in sorted(live):
            self._parts.logbook.add(app, note(stamp(self._parts.clock()), text))


def process_of(labels: dict[str, str]) -> str:
    """ "web.1" for the first replica of web; the name alone for what runs once."""
    process = labels.get(names.PROCESS, "?")
    task = labels.get("com.docker.swarm.task.name", "")
    slot = task.removeprefix(labels.get("com.docker.swarm.service.name", "")).lstrip(".").partition(".")[0]
    return f"{process}.{slot}" if slot.isdigit() else process
