"""One deploy at a time for each app: a lock that says who holds it, waits with a limit, and prefers the newest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from runtime.errors import LockstepError
from runtime.model import Deploy
from runtime.story import Story
from runtime.waiting import until_turn

SOON: Final = 20.0  # seconds that a command waits for the reconciler, or for another command
PUSH: Final = "push"  # the kind of deploy that a newer one of its kind makes needless


class Superseded(LockstepError):
    """A newer push came while this one waited."""


class Locked(LockstepError):
    """Another deploy holds the app and this one was asked not to wait."""


@dataclass(eq=False)
class Waiter:
    """A deploy that waits for its turn."""

    deploy: Deploy
    turn: asyncio.Future[None]

    @property
    def was_handed_over(self) -> bool:
        return self.turn.done() and not self.turn.cancelled() and self.turn.exception() is None


class AppLocks:
    """The locks live in this process, so none is ever left behind by a dead holder."""

    def __init__(self) -> None:
        self._holders: dict[str, Deploy | None] = {}
        self._quiet: dict[str, asyncio.Event] = {}  # held without a deploy; set when that has ended
        self._waiting: dict[str, list[Waiter]] = {}  # the first in each list is the next to hold

    def holder(self, app: str) -> Deploy | None:
        return self._holders.get(app)

    def held(self, app: str) -> bool:
        return app in self._holders

    @asynccontextmanager
    async def hold(self, deploy: Deploy, story: Story, *, wait: float, now: datetime) -> AsyncIterator[None]:
        """Hold the lock of the deploy's app; wait up to `wait` seconds for it, 0 for not at all.

        Raises Locked, Superseded or DeadlinePassed.
        """
        app = deploy.app
        if app in self._holders:
            await self._wait(deploy, story, wait, now)
        self._holders[app] = deploy
        try:
            yield
        finally:
            self._release(app)

    @asynccontextmanager
    async def quietly(self, app: str) -> AsyncIterator[bool]:
        """Hold the lock if it is free; False, and nothing held, when it is not."""
        if app in self._holders:
            yield False
            return
        self._holders[app] = None
        ended = self._quiet[app] = asyncio.Event()
        try:
            yield True
        finally:
            del self._quiet[app]
            self._release(app)
            ended.set()

    @asynccontextmanager
    async def soon(self, app: str, wait: float = SOON) -> AsyncIterator[bool]:
        """As `quietly`, once whoever holds it quietly has let go; a deploy is not waited for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                while (ended := self._quiet.get(app)) is not None:
                    await ended.wait()
        async with self.quietly(app) as free:
            yield free

    async def _wait(self, deploy: Deploy, story: Story, wait: float, now: datetime) -> None:
        app = deploy.app
        who = _describe(self._holders.get(app), now)
        if wait <= 0:
            raise Locked(f"{app} is locked by {who}: push again when it has ended")
        self._supersede(deploy)
        story.step(f"Waiting for {who}")
        waiter = Waiter(deploy, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(app, []).append(waiter)
        await until_turn(waiter.turn, f"the end of {who}", wait, lambda: self._leave(waiter))

    def _leave(self, waiter: Waiter) -> None:
        """Give up waiting; a lock that was handed over in the same moment goes on to the next."""
        app = waiter.deploy.app
        if waiter in self._waiting.get(app, ()):
            self._waiting[app].remove(waiter)
        elif waiter.was_handed_over:
            self._release(app)

    def _supersede(self, newer: Deploy) -> None:
        """A newer push takes the place of one that waits; what is not a push (config, rollback) keeps its turn."""
        if newer.kind != PUSH:
            return
        queue = self._waiting.get(newer.app, [])
        for waiter in [waiter for waiter in queue if waiter.deploy.kind == PUSH and not waiter.turn.done()]:
            queue.remove(waiter)
            waiter.turn.set_exception(Superseded(f"superseded by the newer deploy {newer.id} of {newer.who}"))

    def _release(self, app: str) -> None:
        """Hand the lock to the first waiter, if there is one, without a moment in which it is free."""
        queue = self._waiting.get(app, [])
        while queue:
            waiter = queue.pop(0)
            if not waiter.turn.done():
                self._holders[app] = waiter.deploy
                waiter.turn.set_result(None)
                return
        self._waiting.pop(app, None)
        self._holders.pop(app, None)


def _describe(holder: Deploy | None, now: datetime) -> str:
    if holder is None:
        return "the reconciler"
    seconds = int((now - holder.started_at).total_seconds())
    return f"deploy {holder.id} of {holder.who}, begun {seconds} s ago"
