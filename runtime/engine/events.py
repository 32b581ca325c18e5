"""The engine's event stream, and waiting for a condition with a name and a deadline.

A condition is looked at again whenever an event of ours comes; a slow tick covers what the stream does not
tell (task states, a stream that is being reconnected).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from runtime import names
from runtime.engine.client import Engine
from runtime.errors import DeadlinePassed, EngineError
from runtime.waiting import ticks

log = logging.getLogger(__name__)

TICK = 0.1  # seconds after which a condition is looked at again without an event
RECONNECT_DELAY = 0.5  # seconds between attempts to reach a lost engine

Event = dict[str, Any]
Found = TypeVar("Found")


class Events:
    """One stream for the whole process; `until` waits on it, `listeners` are told each event."""

    def __init__(self, engine: Engine, instance: str) -> None:
        self._engine = engine
        self._filters = {"label": [f"{names.INSTANCE}={instance}"]}
        self._changed = asyncio.Event()
        self.listeners: list[Callable[[Event], None]] = []
        self.connected = False

    async def run(self) -> None:
        """Read the stream for ever, reconnecting when the engine goes away. Cancel to stop."""
        while True:
            try:
                async for event in self._engine.lines("GET", "/events", filters=self._filters):
                    self.connected = True
                    self._tell(event)
            except EngineError as error:
                log.warning("the event stream broke: %s", error)
            self.connected = False
            self._tell({"Type": "stream", "Action": "lost"})
            await asyncio.sleep(RECONNECT_DELAY)

    async def until(self, what: str, seconds: float, look: Callable[[], Awaitable[Found | None]]) -> Found:
        """The first answer of `look` that is not None. Raises DeadlinePassed, naming `what`, after `seconds`."""
        deadline = ticks() + seconds
        while True:
            changed = self._changed
            found = await look()
            if found is not None:
                return found
            left = deadline - ticks()
            if left <= 0:
                raise DeadlinePassed(what, seconds)
            try:
                await asyncio.wait_for(changed.wait(), min(TICK, left))
            except TimeoutError:
                continue

    def _tell(self, event: Event) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        for listener in self.listeners:
            listener(event)
