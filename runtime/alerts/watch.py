"""Seeing from outside the scheduler what it does not do, and whether it lives.

Moments and ticks are arguments, as in the scheduler: a clock that jumps, or a machine that slept, alerts of nothing
that the scheduler puts right soon after.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from runtime.alerts.model import Cause
from runtime.alerts.overdue import Overdue
from runtime.alerts.raising import raise_alert, silent
from runtime.errors import LockstepError, explain
from runtime.scheduler.heartbeat import NAME
from runtime.store import Store

log = logging.getLogger(__name__)

LOOK: Final = 20.0  # seconds between looks
SILENCE: Final = 60.0  # seconds without a sign of life of the scheduler


class Watch:
    """Looks at the store now and then, and raises what has been overdue for too long."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._overdue = Overdue()
        self._since: dict[str, float] = {}  # what is overdue -> the tick at which it was first seen so
        self._beat: tuple[datetime | None, float] | None = None  # the last sign of life and when it was first seen

    async def run(self) -> None:
        """Look after look. Cancel to stop."""
        while True:
            try:
                self.look(self._clock(), time.monotonic())
            except LockstepError as error:
                log.warning("cron can not be watched now: %s", explain(error))
            except Exception:
                log.exception("a look at cron ended early; the next one comes")
            await asyncio.sleep(LOOK)

    def look(self, now: datetime, tick: float) -> None:
        """`tick` is in seconds of a clock that is never set."""
        with self._store.read() as tx:
            late = self._overdue.find(tx, now)
            beat = tx.cron.heartbeat(NAME)
        self._since = {one.cause.about: self._since.get(one.cause.about, tick) for one in late}
        ripe = [one.cause for one in late if tick - self._since[one.cause.about] >= one.patience]
        ripe += self._silence(None if beat is None else beat.at, tick)
        if ripe:
            with self._store.write() as tx:
                for cause in ripe:
                    raise_alert(tx, cause, now)

    def _silence(self, beat: datetime | None, tick: float) -> list[Cause]:
        if self._beat is None or self._beat[0] != beat:
            self._beat = beat, tick
        silence = tick - self._beat[1]
        return [silent(beat, timedelta(seconds=silence))] if silence >= SILENCE else []
