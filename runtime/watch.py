"""The server's side of the scheduler: it is kept running, woken, and stopped in order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Final

from runtime.errors import DeadlinePassed
from runtime.scheduler.heartbeat import last_beat
from runtime.scheduler.lock import holder
from runtime.scheduler.wake import send_wake
from runtime.settings import Settings

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.5  # seconds before the first restart; doubled at each one that follows soon
LONGEST_PAUSE: Final = 30.0  # seconds between restarts
LASTING: Final = 60.0  # seconds after which a scheduler counts as one that lasted
STOP_DEADLINE: Final = 15.0  # seconds from SIGTERM to SIGKILL; its runs go on in their containers either way
SILENCE_LIMIT: Final = 60.0  # seconds without a sign of life after which it is taken for stuck
LOOK: Final = 5.0  # seconds between two looks at its sign of life
LOCK_STEP: Final = 0.05  # seconds between two looks at the lock of a scheduler that is to end


class SchedulerProcess:
    """One scheduler, restarted with growing pauses when it ends by itself or shows no sign of life."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = settings.run / "scheduler.lock"

    async def run(self) -> None:
        """Keep a scheduler running; when cancelled, end it in order and return after it is gone.

        One that an earlier server left behind, because it was killed, is ended first: it may be of older code.
        """
        await self._end_leftover()
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            code = await self._one_life()
            lasted = time.monotonic() - began
            pause = FIRST_PAUSE if lasted > LASTING else pause
            log.error("the scheduler ended with %d after %.0f s and is started again in %g s", code, lasted, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def wake(self) -> None:
        """Have it look at the store again; at once, and nothing happens while it is not running."""
        send_wake(self._settings.scheduler_socket)

    async def _one_life(self) -> int:
        words = ("-m", "runtime.scheduler", "--home", str(self._settings.home))
        # In a session of its own, so that a Ctrl-C on the server reaches it only by way of the server.
        child = await asyncio.create_subprocess_exec(sys.executable, *words, start_new_session=True)
        log.info("the scheduler is process %d", child.pid)
        watching = asyncio.create_task(self._kill_when_silent(child), name="scheduler's sign of life")
        try:
            return await child.wait()
        finally:
            watching.cancel()
            await asyncio.shield(_end(child))

    async def _kill_when_silent(self, child: asyncio.subprocess.Process) -> None:
        seen: str | None = None
        since = time.monotonic()
        while time.monotonic() - since < SILENCE_LIMIT:
            await asyncio.sleep(LOOK)
            beat = last_beat(self._settings.database)
            if beat != seen:
                seen, since = beat, time.monotonic()
        log.error("the scheduler gave no sign of life for %g s and is killed", SILENCE_LIMIT)
        child.kill()

    async def _end_leftover(self) -> None:
        for number, seconds in ((signal.SIGTERM, STOP_DEADLINE), (signal.SIGKILL, STOP_DEADLINE)):
            pid = holder(self._lock)
            if pid is None:
                return
            log.warning("ending the scheduler of an earlier server, process %d", pid)
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            for _ in range(round(seconds / LOCK_STEP)):
                if holder(self._lock) is None:
                    return
                await asyncio.sleep(LOCK_STEP)
        raise DeadlinePassed("the end of an earlier server's scheduler", 2 * STOP_DEADLINE)


async def _end(child: asyncio.subprocess.Process) -> None:
    """SIGTERM, then SIGKILL; nothing when it is gone."""
    if child.returncode is not None:
        return
    child.terminate()
    try:
        async with asyncio.timeout(STOP_DEADLINE):
            await child.wait()
    except TimeoutError:
        log.error("the scheduler did not stop within %g s and is killed", STOP_DEADLINE)
        child.kill()
        await child.wait()
