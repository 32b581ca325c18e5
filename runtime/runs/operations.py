"""What commands do with one-off runs that there are: list them, read their logs, stop them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from runtime import names
from runtime.engine.logs import LogLine, container_logs
from runtime.errors import EngineUnreachable, LockstepError, NotFound, UsageError
from runtime.parts import Parts
from runtime.runs.describe import GRACE
from runtime.runs.keeper import JOB
from runtime.runs.values import OneOff
from runtime.scheduler.jobs import Key
from runtime.scheduler.runlog import ONE_OFF, RunLogs

STOP_SLACK: Final = 45.0  # seconds beyond the grace for a stopped run to be closed
_ID: Final = re.compile(r"(?:run\.)?([0-9]{1,9})")


class RunOperations:
    """All raise NoSuchApp for an app that is not there."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._logs = RunLogs(parts.settings.logs, ONE_OFF)

    def of(self, app: str, *, limit: int) -> list[OneOff]:
        """The newest first."""
        with self._parts.store.read() as tx:
            return tx.runs.of(tx.apps.get(app).name, limit=limit)

    def find(self, app: str, name: str) -> OneOff:
        """The run called "run.7" or "7". Raises UsageError, LockstepError."""
        match = _ID.fullmatch(name)
        if match is None:
            raise UsageError(f"'{name[:40]}' is not a run: they are called run.1, run.2 and so on")
        with self._parts.store.read() as tx:
            run = tx.runs.find(tx.apps.get(app).name, int(match[1]))
        if run is None:
            raise LockstepError(f"{app} has no run.{match[1]}: 'run:list {app}' lists those there are")
        return run

    async def until_ended(self, run: OneOff, seconds: float) -> OneOff:
        """The run once it has ended. Raises DeadlinePassed."""

        async def ended() -> OneOff | None:
            found = self.find(run.app, run.id)
            return None if found.state.open else found

        return await self._parts.fleet.events.until(f"the end of {run.id}", seconds, ended)

    async def stop(self, app: str, name: str, who: str) -> OneOff:
        """SIGTERM, the grace, SIGKILL; the run as it ended. Raises LockstepError when it has ended already."""
        run = self.find(app, name)
        if not run.state.open:
            raise LockstepError(f"{run.id} of {app} has ended already ({run.state.value})")
        with self._parts.store.write() as tx:
            tx.runs.ask_stop(run, f"stopped by {who}")
        with suppress(NotFound):  # it ends by itself just now
            path = f"/containers/{self._container(run)}/stop"
            async with self._parts.fleet.engine.request("POST", path, {"t": round(GRACE)}, streaming=True):
                pass
        return await self.until_ended(run, GRACE + STOP_SLACK)

    async def log(self, run: OneOff, *, follow: bool = False) -> AsyncIterator[LogLine]:
        """What a detached run wrote, oldest first; with `follow` also what it writes until it ends."""
        if not run.detached:
            raise LockstepError(f"{run.id} was attached: what it wrote went to {run.who} and is not kept")
        seen = ""
        if run.state.open:
            with suppress(NotFound, EngineUnreachable):  # its end: the row tells, and the rest is in the file
                async for line in container_logs(self._parts.fleet.engine, self._container(run), follow=follow):
                    yield line
                    seen = line.moment
            if not follow and self.find(run.app, run.id).state.open:
                return
            run = await self.until_ended(run, (run.timeout or 0) + GRACE + STOP_SLACK)
        for line in self._logs.read(Key(run.app, JOB), run.number) or ():
            if line.moment > seen:
                yield line

    def _container(self, run: OneOff) -> str:
        return names.one_off(self._parts.settings.instance, run.app, JOB, str(run.number))
