"""Proving that a process that was started runs: its tasks, its answers, its settling."""

from __future__ import annotations

import asyncio
from typing import Final

from runtime.engine.logs import log_tail
from runtime.engine.tasks import Service, Task
from runtime.errors import LockstepError
from runtime.model import Health
from runtime.parts import Parts
from runtime.router import until_healthy
from runtime.waiting import ticks

START_DEADLINE: Final = 120.0  # seconds for Swarm to bring a process up
SETTLE_SLACK: Final = 30.0  # seconds beyond the settle window for the engine to answer
TRIES: Final = 3  # ends of a process before its start is given up
LOG_TAIL: Final = 20  # lines of a process's log shown when it fails
MEANING: Final = {
    126: "its command is not executable (exit code 126)",
    127: "its command is not found (exit code 127)",
    137: "it was killed, most likely for want of memory (exit code 137)",
}


class Proof:
    """All raise LockstepError, saying how the process ended, when it does not stay up."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def until_running(self, service: Service, replicas: int) -> list[Task]:
        """Tasks that run, once there are enough."""

        async def look() -> list[Task] | None:
            tasks = await self._parts.fleet.tasks(service)
            _give_up_on(service, tasks, TRIES)
            running = [task for task in tasks if task.running]
            return running if len(running) >= replicas else None

        return await self._parts.fleet.events.until(f"the start of {service.process}", START_DEADLINE, look)

    async def until_healthy(
        self, service: Service, port: int, addresses: tuple[str, ...], host: str, health: Health
    ) -> None:
        """Every replica has answered as `host`. Gives up at once when one ends instead."""
        deadline = health.deadline or self._parts.settings.health_deadline
        asking = asyncio.create_task(until_healthy(self._parts.router, addresses, port, host, health.path, deadline))
        watching = asyncio.create_task(self._until_ended(service, deadline))
        try:
            await asyncio.wait({asking, watching}, return_when=asyncio.FIRST_COMPLETED)
            await (asking if asking.done() else watching)
        finally:
            for task in (asking, watching):
                task.cancel()
            await asyncio.gather(asking, watching, return_exceptions=True)

    async def until_settled(self, service: Service, seconds: float) -> None:
        """No task of the service has ended within `seconds` from now."""
        settled = ticks() + seconds

        async def look() -> bool | None:
            _give_up_on(service, await self._parts.fleet.tasks(service), tries=1)
            return True if ticks() >= settled else None

        what = f"{service.process} to settle"
        await self._parts.fleet.events.until(what, seconds + SETTLE_SLACK, look)

    async def last_lines(self, service: Service) -> tuple[str, ...]:
        """What the container of this service that was made last wrote last."""
        tasks = await self._parts.fleet.tasks(service)
        containers = [task.container for task in tasks if task.container is not None]
        return await log_tail(self._parts.fleet.engine, containers[0], LOG_TAIL) if containers else ()

    async def _until_ended(self, service: Service, deadline: float) -> None:
        """Raises LockstepError once a task of the service has ended by itself."""

        async def look() -> None:
            _give_up_on(service, await self._parts.fleet.tasks(service), tries=1)

        await self._parts.fleet.events.until(f"the end of {service.process}", deadline + 1, look)


def _give_up_on(service: Service, tasks: list[Task], tries: int) -> None:
    failed = [task for task in tasks if task.failed]
    for task in failed:
        if task.never_started:
            raise LockstepError(f"{service.process} can not be started: {_meaning(task) or task.error}")
    if len(failed) >= tries:
        newest = failed[0]
        how = (
            f"ended ({newest.error})" if newest.exit_code is None else f"exited with {newest.exit_code} after its start"
        )
        meaning = _meaning(newest)
        raise LockstepError(f"{service.process} {how}{f': {meaning}' if meaning else ''}")


def _meaning(task: Task) -> str | None:
    return None if task.exit_code is None else MEANING.get(task.exit_code)
