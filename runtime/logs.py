"""The log of an app as it is read: the newest lines, and those that come, across releases and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from runtime.logbook.entry import Entry
from runtime.logbook.reading import Follower, Place, end_of, newest
from runtime.logbook.wanted import Wanted
from runtime.parts import Parts


class AppLogs:
    """Reads what the server keeps."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def size(self, app: str) -> int:
        """Bytes that the log takes."""
        return self._parts.logbook.of(app).size

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
