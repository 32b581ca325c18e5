"""An event loop whose time passes as soon as nothing else is left to do: an hour of waiting takes a moment."""

from __future__ import annotations

import asyncio
import selectors
from typing import Final

TURN: Final = 1e-6  # seconds that one turn of the loop takes, so that no deadline is ever a hair's breadth away


class Stuck(AssertionError):
    """Nothing is ready, nothing is due, and somebody waits: it would wait for ever."""


class _Selector(selectors.DefaultSelector):
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        self.loop.pass_time(TURN)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Stuck("nothing will ever happen")
        self.loop.pass_time(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._now = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._now

    def pass_time(self, seconds: float) -> None:
        self._now += seconds
