"""How many containers are started at once: the engine gets slower, not faster, with more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Gate:
    """Lets `width` through at a time; of those that wait, the ones of apps that a deploy holds go first.

    A deploy waits for its app's runs that are due to start, so they must not stand behind other apps' runs.
    """

    def __init__(self, width: int, held_apps: Callable[[set[str]], set[str]]) -> None:
        self._free = width
        self._held_apps = held_apps
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def passage(self, app: str) -> AsyncIterator[None]:
        await self._enter(app)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, app: str) -> None:
        if self._free:
            self._free -= 1
            return
        place = app, asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place[1]
        except asyncio.CancelledError:
            if place in self._waiting:
                self._waiting.remove(place)
            elif not place[1].cancelled():
                self._leave()  # it had been let in just now
            raise

    def _leave(self) -> None:
        self._waiting = [place for place in self._waiting if not place[1].done()]  # without those given up just now
        if not self._waiting:
            self._free += 1
            return
        held = self._held_apps({app for app, _ in self._waiting})
        place = next((place for place in self._waiting if place[0] in held), self._waiting[0])
        self._waiting.remove(place)
        place[1].set_result(None)
