"""One limit on the builds of all apps: so many run at once, and apps that wait take turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from runtime.model import Deploy
from runtime.story import Story
from runtime.waiting import until_turn


@dataclass(eq=False)
class Waiter:
    """A build that waits for its turn."""

    deploy: Deploy
    turn: asyncio.Future[None]

    @property
    def was_let_in(self) -> bool:
        return self.turn.done() and not self.turn.cancelled()


class BuildTurns:
    """The turns live in this process, so none is ever left behind by a dead builder.

    An app that got a turn goes behind all others that wait, and its own builds keep their order: however many
    builds one app asks for, another one waits for one of them at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit  # builds at once
        self._building: list[Deploy] = []
        self._waiting: dict[str, list[Waiter]] = {}  # the first app is the next to get a turn, with its first build

    @property
    def building(self) -> tuple[Deploy, ...]:
        """In the order in which they began."""
        return tuple(self._building)

    @property
    def waiting(self) -> tuple[Deploy, ...]:
        """In the order in which they will get their turn, as long as nobody comes or goes."""
        queues = [list(queue) for queue in self._waiting.values()]
        rounds = range(max(map(len, queues), default=0))
        return tuple(queue[number].deploy for number in rounds for queue in queues if number < len(queue))

    @asynccontextmanager
    async def turn(self, deploy: Deploy, story: Story, *, wait: float, now: datetime) -> AsyncIterator[None]:
        """Build while the body runs; wait up to `wait` seconds for the turn. Raises DeadlinePassed."""
        if len(self._building) < self._limit:  # a turn that ends is handed on, so nobody waits while there is room
            self._building.append(deploy)
        else:
            await self._wait(deploy, story, wait, now)
        try:
            yield
        finally:
            self._end(deploy)

    async def _wait(self, deploy: Deploy, story: Story, wait: float, now: datetime) -> None:
        waiter = Waiter(deploy, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(deploy.app, []).append(waiter)
        place = self.waiting.index(deploy) + 1
        story.step(f"Waiting to build: {', '.join(_described(one, now) for one in self._building)}")
        story.detail(f"place {place} of {len(self.waiting)} in the line")
        await until_turn(waiter.turn, f"a turn to build {deploy.app}", wait, lambda: self._leave(waiter))

    def _leave(self, waiter: Waiter) -> None:
        """Give up waiting; a turn that was given in the same moment goes on to the next."""
        app = waiter.deploy.app
        if waiter.was_let_in:
            self._end(waiter.deploy)
        elif waiter in self._waiting.get(app, ()):
            self._waiting[app].remove(waiter)
            if not self._waiting[app]:
                del self._waiting[app]

    def _end(self, deploy: Deploy) -> None:
        """Hand the turn to the next, without a moment in which somebody who comes just then could take it."""
        self._building.remove(deploy)
        while self._waiting:
            waiter = self._next()
            if not waiter.turn.done():
                self._building.append(waiter.deploy)
                waiter.turn.set_result(None)
                return

    def _next(self) -> Waiter:
        """Take the first build of the first app out of the line; what else the app waits for goes behind all others."""
        app = next(iter(self._waiting))
        queue = self._waiting.pop(app)
        waiter = queue.pop(0)
        if queue:
            self._waiting[app] = queue
        return waiter


def _described(builder: Deploy, now: datetime) -> str:
    seconds = int((now - builder.started_at).total_seconds())
    return f"{builder.app} builds (deploy {builder.id} of {builder.who}, begun {seconds} s ago)"
