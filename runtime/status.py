"""What runs of an app right now, as the engine has it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from runtime.engine.tasks import ENDED, Service, Task
from runtime.parts import Parts

CRASH_LOOP: Final = 3  # ends without being asked that make a crash loop


@dataclass(frozen=True)
class Replica:
    """One replica of one process."""

    name: str  # web.1
    release: int | None
    state: str  # running, starting, crash loop, stopping, and Swarm's own words
    since: datetime
    restarts: int  # ends that nobody asked for, as far as Swarm remembers
    last_exit: str | None
    command: str | None


async def processes(parts: Parts, app: str) -> list[Replica]:
    """Every replica of every service of the app, and services without one."""
    services = sorted(await parts.fleet.services(app), key=lambda service: (service.process != "web", service.process))
    tasks = await asyncio.gather(*(parts.fleet.tasks(service) for service in services))
    with parts.store.read() as tx:
        current = tx.releases.current(app)
    commands = {process.name: process.command for process in current.spec.processes} if current is not None else {}
    found: list[Replica] = []
    for service, of_service in zip(services, tasks, strict=True):
        found += _replicas(service, of_service, commands.get(service.process))
    return found


def _replicas(service: Service, tasks: list[Task], command: str | None) -> list[Replica]:
    slots: dict[int, list[Task]] = defaultdict(list)
    for task in tasks:
        slots[task.slot].append(task)
    shown = [slot for slot in sorted(slots) if not _is_over(slots[slot][0])]
    return [_replica(service, slot, slots[slot], command) for slot in shown]


def _is_over(task: Task) -> bool:
    """It ended because it was scaled away, and nothing is to follow it."""
    return task.wanted == "remove" and task.state in ENDED


def _replica(service: Service, slot: int, history: list[Task], command: str | None) -> Replica:
    newest = history[0]
    ended = [task for task in history if task.failed]
    return Replica(
        name=f"{service.process}.{slot}",
        release=service.release,
        state=_state(newest, len(ended)),
        since=newest.since,
        restarts=len(ended),
        last_exit=_last_exit(ended[0]) if ended else None,
        command=command,
    )


def _state(task: Task, failures: int) -> str:
    if task.wanted != "running" and task.state == "running":
        return "stopping"
    if task.state != "running" and failures >= CRASH_LOOP:
        return "crash loop"
    return task.state


def _last_exit(task: Task) -> str:
    if task.exit_code is None:
        return task.error or task.state
    return f"{task.exit_code} (out of memory or killed)" if task.exit_code == 137 else str(task.exit_code)
