"""Proving that a process that was started runs: its tasks, its answers, its settling."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from runtime.engine.logs import log_tail
from runtime.engine.stats import was_out_of_memory
from runtime.engine.tasks import Service, Task
from runtime.errors import DeadlinePassed, EngineError, LockstepError, NotFound
from runtime.model import Health
from runtime.parts import Parts
from runtime.router import Answer
from runtime.waiting import ticks

START_DEADLINE: Final = 120.0  # seconds for Swarm to bring a process up
SETTLE_SLACK: Final = 30.0  # seconds beyond the settle window for the engine to answer
TRIES: Final = 3  # ends of a process before its start is given up
LOG_TAIL: Final = 20  # lines of a process's log shown when it fails
TRY: Final = 5.0  # seconds that a replica has for one answer
MEANING: Final = {126: "its command is not executable (exit code 126)", 127: "its command is not found (exit code 127)"}
KILLED: Final = 137  # exit code of SIGKILL
OUT_OF_MEMORY: Final = "it was killed for want of memory (exit code 137)"
BY_OTHERS: Final = "it was killed, and not for want of memory (exit code 137)"
UNKNOWN: Final = "it was killed, for want of memory or by a signal (exit code 137)"


class Proof:
    """All raise LockstepError, saying how the process ended, when it does not stay up."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def until_running(self, service: Service, replicas: int) -> list[Task]:
        """Tasks that run, once there are enough."""

        async def look() -> list[Task] | None:
            tasks = await self._parts.fleet.tasks(service)
            await self._give_up_on(service, tasks, TRIES)
            running = [task for task in tasks if task.running]
            return running if len(running) >= replicas else None

        return await self._parts.fleet.events.until(f"the start of {service.process}", START_DEADLINE, look)

    async def until_healthy(
        self, service: Service, port: int, addresses: tuple[str, ...], host: str, health: Health
    ) -> None:
        """Every replica has answered as `host`. Gives up at once when one ends instead."""
        deadline = health.deadline or self._parts.settings.health_deadline
        asking = asyncio.create_task(self.until_answered(service, port, addresses, host, health.path, deadline))
        watching = asyncio.create_task(self._until_ended(service, deadline + TRY))  # a last try may be under way
        try:
            await asyncio.wait({asking, watching}, return_when=asyncio.FIRST_COMPLETED)
            await (asking if asking.done() else watching)
        finally:
            for task in (asking, watching):
                task.cancel()
            await asyncio.gather(asking, watching, return_exceptions=True)

    async def until_answered(
        self, service: Service, port: int, addresses: tuple[str, ...], host: str, path: str | None, deadline: float
    ) -> None:
        """Ask every replica until each has answered well. Raises DeadlinePassed, saying what came in the end."""
        last: dict[str, Answer] = {}

        async def one(address: str) -> bool:
            last[address] = await self._parts.router.ask(address, port, host, path, deadline=TRY)
            return last[address].healthy(path)

        async def all_well() -> bool | None:
            return True if all(await asyncio.gather(*map(one, addresses))) else None

        try:
            await self._parts.fleet.events.until("a healthy web", deadline, all_well)
        except DeadlinePassed:
            worst = next((answer for answer in last.values() if not answer.healthy(path)), Answer(None))
            if worst.status is not None:
                what = f"an answer below 400 of web at {path} (the last one was {worst.status})"
                raise DeadlinePassed(what, deadline) from None
            if worst.late:
                advice = f"it has {TRY:g} s for each answer, name a path with a quicker one"
                raise DeadlinePassed(f"an answer of web at {path or '/'}", deadline, advice) from None
            advice = (
                f"let it listen on 0.0.0.0:$PORT, or give its port in the manifest{await self._exposed(service, port)}"
            )
            raise DeadlinePassed(f"an answer of web on port {port}", deadline, advice) from None

    async def until_settled(self, service: Service, seconds: float) -> None:
        """No task of the service has ended within `seconds` from now."""
        settled = ticks() + seconds

        async def look() -> bool | None:
            await self._give_up_on(service, await self._parts.fleet.tasks(service), tries=1)
            return True if ticks() >= settled else None

        what = f"{service.process} to settle"
        await self._parts.fleet.events.until(what, seconds + SETTLE_SLACK, look)

    async def last_lines(self, service: Service) -> tuple[str, ...]:
        """What the container of this service that was made last wrote last."""
        tasks = await self._parts.fleet.tasks(service)
        containers = [task.container for task in tasks if task.container is not None]
        return await log_tail(self._parts.fleet.engine, containers[0], LOG_TAIL) if containers else ()

    async def _exposed(self, service: Service, port: int) -> str:
        """The port that its image names, where it is one and another."""
        image = service.spec["TaskTemplate"]["ContainerSpec"]["Image"]
        with suppress(EngineError):
            found = await self._parts.fleet.engine.get(f"/images/{image}/json")
            ports = [name.removesuffix("/tcp") for name in found["Config"].get("ExposedPorts") or ()]
            if len(ports) == 1 and ports != [str(port)]:
                return f" (its image exposes {ports[0]})"
        return ""

    async def _until_ended(self, service: Service, deadline: float) -> None:
        """Raises LockstepError once a task of the service has ended by itself."""

        async def look() -> None:
            await self._give_up_on(service, await self._parts.fleet.tasks(service), tries=1)

        await self._parts.fleet.events.until(f"the end of {service.process}", deadline + 1, look)

    async def _give_up_on(self, service: Service, tasks: list[Task], tries: int) -> None:
        failed = [task for task in tasks if task.failed]
        for task in failed:
            if task.never_started:
                why = await self._meaning(task) or task.error
                raise LockstepError(f"{service.process} can not be started: {why}")
        if len(failed) >= tries:
            newest, code = failed[0], failed[0].exit_code
            how = f"ended ({newest.error})" if code is None else f"exited with {code} after its start"
            meaning = await self._meaning(newest)
            raise LockstepError(f"{service.process} {how}{f': {meaning}' if meaning else ''}")

    async def _meaning(self, task: Task) -> str | None:
        """What its exit code says; of a SIGKILL only its container knows the reason."""
        if task.exit_code != KILLED:
            return None if task.exit_code is None else MEANING.get(task.exit_code)
        if task.container is None:
            return UNKNOWN
        try:
            return OUT_OF_MEMORY if await was_out_of_memory(self._parts.fleet.engine, task.container) else BY_OTHERS
        except NotFound:
            return UNKNOWN
