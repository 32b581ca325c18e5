"""The log of an app as it is read: the newest lines, and those that come, across releases and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from runtime.errors import LockstepError
from runtime.logbook.entry import Entry
from runtime.logbook.reading import Follower, Place, end_of, newest
from runtime.logbook.wanted import Wanted
from runtime.model import CronJob, Hook, Process, Release
from runtime.parts import Parts


class AppLogs:
    """Reads what the server keeps."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def size(self, app: str) -> int:
        """Bytes that the log takes."""
        return self._parts.logbook.of(app).size

    async def check_process(self, app: str, process: str) -> None:
        """Raises LockstepError for a name that is in no release of the app and that nothing was written under."""
        name = process.partition(".")[0]
        with self._parts.store.read() as tx:
            current = tx.releases.current(app)
            if current is None or name in _sources(current):
                return
            if any(name in _sources(release) for release, _ in tx.releases.of(app)):
                return
        wanted, extent = Wanted(process=process), self._parts.logbook.of(app).extent()
        if not await asyncio.to_thread(newest, extent, wanted.is_of_process, 1):
            there = ", ".join(_sources(current)) or "none"
            raise LockstepError(f"{app} has no process or job '{process[:40]}': it has {there}")

    async def last(self, app: str, wanted: Wanted, lines: int) -> tuple[list[Entry], Place]:
        """The newest `lines` of the lines wanted, oldest first, and the place behind them."""
        extent = self._parts.logbook.of(app).extent()
        return await asyncio.to_thread(newest, extent, wanted.takes, lines), end_of(extent)

    async def follow(self, app: str, wanted: Wanted, place: Place) -> AsyncIterator[list[Entry]]:
        """The lines wanted behind `place` as they come, some at a time. Ends when the app is destroyed."""
        follower = Follower(self._parts.logbook.of(app), place, self._parts.clock)
        try:
            while not follower.ended:
                if found := follower.read():
                    yield [entry for entry in found if wanted.takes(entry)]
                    await asyncio.sleep(0)
                else:
                    await follower.wait()
        finally:
            follower.close()


def _sources(release: Release) -> list[str]:
    """Whose lines are told apart by their names."""
    sources: tuple[Process | CronJob | Hook, ...] = (
        *release.spec.processes,
        *release.spec.crons,
        *release.spec.hooks,
    )
    return [source.name for source in sources]
