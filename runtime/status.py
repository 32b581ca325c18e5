"""What runs of an app right now, as the engine has it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from runtime.engine.stats import Usage, usage, was_out_of_memory
from runtime.engine.tasks import ENDED, Service, Task
from runtime.errors import EngineError, NotFound
from runtime.idle import Idle, idle_in
from runtime.model import Limits, Process, Release
from runtime.parts import Parts, scaled

CRASH_LOOP: Final = 3  # ends without being asked, within LATELY, that make a crash loop
LATELY: Final = timedelta(minutes=10)
RECOVERED: Final = timedelta(minutes=1)  # a process that runs for so long since its last end is no crash loop
KILLED: Final = 137  # exit code of SIGKILL
CRASHES: Final = "crash loop"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class Replica:
    """One replica of one process, or a process of which none is to run."""

    name: str  # web.1
    release: int | None
    state: str  # running, starting, crash loop, stopping, stopped, scaled to 0, and Swarm's own words
    since: datetime | None
    restarts: int  # ends that nobody asked for, as far as Swarm remembers
    last_exit: str | None
    command: str | None
    container: str | None = None  # of the task that is there now
    died: str | None = None  # the container that `last_exit` is of

    @property
    def process(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Load:
    """What one replica uses of what it may; `usage` is None when that could not be found out."""

    usage: Usage | None
    limits: Limits


async def processes(parts: Parts, app: str) -> list[Replica]:
    """Every replica of every service of the app, and the processes of which none is to run."""
    with parts.store.read() as tx:
        handle = tx.apps.handle(app)
    services = await parts.fleet.services(handle)
    services.sort(key=lambda service: (service.process != "web", service.process))
    tasks = await asyncio.gather(*(parts.fleet.tasks(service) for service in services))
    with parts.store.read() as tx:
        current = tx.releases.current(app)
        idle = {} if current is None else idle_in(tx, current)
    commands = {process.name: process.command for process in current.spec.processes} if current is not None else {}
    found: list[Replica] = []
    for service, of_service in zip(services, tasks, strict=True):
        found += _replicas(service, of_service, commands.get(service.process), parts.clock())
    found = list(await asyncio.gather(*(_explained(parts, replica) for replica in found)))
    return found if current is None else found + _idle(current, idle, found)


async def loads(parts: Parts, app: str, replicas: list[Replica]) -> dict[str, Load]:
    """What each replica that runs uses now, read from all at once; replica's name -> load."""
    with parts.store.read() as tx:
        current = tx.releases.current(app)
    table = (
        {} if current is None else {process.name: process for process in scaled(parts.store, current).spec.processes}
    )
    running = [replica for replica in replicas if replica.state == "running" and replica.container is not None]
    found = await asyncio.gather(*(_load(parts, replica, table.get(replica.process)) for replica in running))
    return dict(zip((replica.name for replica in running), found, strict=True))


async def _load(parts: Parts, replica: Replica, process: Process | None) -> Load:
    limits = Limits() if process is None else process.limits
    assert replica.container is not None
    try:
        return Load(await usage(parts.fleet.engine, replica.container), limits)
    except (EngineError, TimeoutError, ValueError):
        return Load(None, limits)  # shown as unknown: a figure that failed is no zero


async def _explained(parts: Parts, replica: Replica) -> Replica:
    """With the reason why its last end was a SIGKILL, which only its container knows."""
    if replica.last_exit != str(KILLED):
        return replica
    return replace(replica, last_exit=f"{KILLED} ({await _who_killed(parts, replica.died)})")


async def _who_killed(parts: Parts, container: str | None) -> str:
    if container is None:
        return "killed"
    try:
        return "out of memory" if await was_out_of_memory(parts.fleet.engine, container) else "killed"
    except NotFound:
        return "out of memory or killed: its container is gone"


def _replicas(service: Service, tasks: list[Task], command: str | None, now: datetime) -> list[Replica]:
    slots: dict[int, list[Task]] = defaultdict(list)
    for task in tasks:
        slots[task.slot].append(task)
    shown = [slot for slot in sorted(slots) if not _is_over(slots[slot][0])]
    return [_replica(service, slot, slots[slot], command, now) for slot in shown]


def _is_over(task: Task) -> bool:
    """It ended because it was scaled away, and nothing is to follow it."""
    return task.wanted == "remove" and task.state in ENDED


def _replica(service: Service, slot: int, history: list[Task], command: str | None, now: datetime) -> Replica:
    newest = history[0]
    ended = [task for task in history if task.failed]
    lately = [task for task in ended if now - task.since <= LATELY]
    return Replica(
        name=f"{service.process}.{slot}",
        release=service.release,
        state=_state(newest, len(lately), now),
        since=newest.since,
        restarts=len(ended),
        last_exit=_last_exit(ended[0]) if ended else None,
        command=command,
        container=newest.container,
        died=ended[0].container if ended else None,
    )


def _state(task: Task, lately: int, now: datetime) -> str:
    if task.wanted != "running" and task.state == "running":
        return "stopping"
    steady = task.state == "running" and now - task.since >= RECOVERED
    return CRASHES if lately >= CRASH_LOOP and not steady else task.state


def _last_exit(task: Task) -> str:
    return task.error or task.state if task.exit_code is None else str(task.exit_code)


def _idle(current: Release, idle: dict[str, Idle], shown: list[Replica]) -> list[Replica]:
    """A row for each process that is not to run and of which nothing is left."""
    there = {replica.process for replica in shown}
    return [
        Replica(process.name, current.number, idle[process.name].value, None, 0, None, process.command)
        for process in current.spec.processes
        if process.name in idle.keys() - there
    ]
