"""What befalls a server's calls: it is counted as they come, and the n-th can be failed, hung, or be its last."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from runtime.errors import EngineError

Given = TypeVar("Given")


class Fate(StrEnum):
    """`…_DONE`: the call has its effect, and its caller does not learn of it."""

    REFUSE = "refuse"  # an error is answered
    LOSE_DONE = "lose"  # no answer comes, at once
    HANG = "hang"  # no answer comes, ever
    HANG_DONE = "hang after"
    KILL = "kill"  # the server dies
    KILL_DONE = "kill after"
    CANCEL = "cancel"  # the client goes away, and the call has its effect a little later
    CANCEL_DONE = "cancel after"
    ENGINE_DOWN = "engine down"  # dockerd ends with all its containers, and comes back


LATE = 0.3  # seconds that a request is under way whose client does not wait for it any more
DONE = (Fate.LOSE_DONE, Fate.HANG_DONE, Fate.KILL_DONE, Fate.CANCEL_DONE)


class Killed(BaseException):
    """The server's process is no more; nothing of it may have an effect after this."""


@dataclass
class Fates:
    """The calls of one server process. `plan` maps the number of a call, from 1, to what befalls it."""

    plan: dict[int, Fate] = field(default_factory=dict)
    cancel: Callable[[], object] = lambda: None  # makes the client go away
    engine_down: Callable[[], object] = lambda: None
    count: int = 0
    late: set[asyncio.Task[Any]] = field(default_factory=set)
    dead: bool = False
    met: list[str] = field(default_factory=list)  # what befell which call, to be read when a test fails

    def next(self, what: str) -> Fate | None:
        """Count a call; what befalls it. Raises Killed from the moment of the server's death."""
        if self.dead:
            raise Killed(what)
        self.count += 1
        fate = self.plan.pop(self.count, None)
        if fate is not None:
            self.met.append(f"{fate.value} at call {self.count}: {what}")
        return fate

    def die(self, what: str) -> Killed:
        self.dead = True
        return Killed(what)

    async def around(
        self, what: str, act: Callable[[], Awaitable[Given]], lost: Exception, patience: float | None
    ) -> Given:
        """`act` under what befalls it; `lost` is raised when no answer comes within `patience` seconds."""
        fate = self.next(what)
        if fate in (None, *DONE):
            given = await act()
            if self.dead:
                raise Killed(what)
            if fate is None:
                return given
        match fate:
            case Fate.REFUSE:
                raise EngineError(f"refused: {what}", 500)
            case Fate.LOSE_DONE:
                raise lost
            case Fate.HANG | Fate.HANG_DONE:
                async with asyncio.timeout(patience):
                    await asyncio.Event().wait()
            case Fate.KILL | Fate.KILL_DONE:
                raise self.die(what)
            case Fate.ENGINE_DOWN:
                self.engine_down()
                return await act()
            case Fate.CANCEL:
                late = asyncio.create_task(self._late(act))
                self.late.add(late)
                self.cancel()
                return await asyncio.shield(late)
            case Fate.CANCEL_DONE:
                self.cancel()
                await asyncio.sleep(0)
        return given

    async def _late(self, act: Callable[[], Awaitable[Given]]) -> Given:
        await asyncio.sleep(LATE)
        return await act()

    def at_once(self, what: str, act: Callable[[], Given], refusal: Exception) -> Given:
        """`act`, which does not wait, under what befalls it; to hang it is to refuse it."""
        fate = self.next(what)
        if fate in (Fate.KILL,):
            raise self.die(what)
        if fate in (Fate.REFUSE, Fate.HANG):
            raise refusal
        given = act()
        if fate is Fate.KILL_DONE:
            raise self.die(what)
        if fate in (Fate.CANCEL, Fate.CANCEL_DONE):
            self.cancel()
        if fate is Fate.ENGINE_DOWN:
            self.engine_down()
        return given
