"""A program beside a live process: `enter`, and shells by user name."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from runtime.engine.attach import start_exec
from runtime.engine.inside import SHELL, has_file
from runtime.errors import LockstepError, UsageError, explain
from runtime.model import WEB
from runtime.parts import Parts
from runtime.runs.consoles import Console, ExecConsole
from runtime.runs.describe import base_of, exec_of
from runtime.runs.values import Command, Tty
from runtime.waiting import see_through

log = logging.getLogger(__name__)

_PROCESS: Final = re.compile(r"(?P<name>.+?)(?:\.(?P<slot>[0-9]{1,3}))?")


@dataclass(frozen=True)
class Visit:
    """A program that is to run beside a process."""

    app: str
    who: str
    process: str | None = None  # "web", "mailer.2"; None: web, or the first there is
    command: Command | None = None  # None: a shell
    tty: Tty | None = None


@asynccontextmanager
async def visiting(parts: Parts, visit: Visit) -> AsyncIterator[Console]:
    """The program, started; when it is left, it is ended with all of its session. Raises LockstepError."""
    container = await _host(parts, visit)
    engine = parts.fleet.engine
    spec = exec_of(visit.command, visit.tty, visit.who, has_shell=await has_file(engine, container, SHELL))
    number = str((await engine.post(f"/containers/{container}/exec", spec))["Id"])
    size = None if visit.tty is None else (visit.tty.rows, visit.tty.columns)
    starting = asyncio.create_task(start_exec(engine, number, tty=visit.tty is not None, size=size))
    try:
        console = ExecConsole(parts.fleet, await see_through(starting), container, number)
        if visit.tty is not None:
            await console.resize(visit.tty.rows, visit.tty.columns)
        yield console
    finally:
        if starting.done() and not starting.cancelled() and starting.exception() is None:
            await see_through(_end(ExecConsole(parts.fleet, starting.result(), container, number), visit))


async def _end(console: ExecConsole, visit: Visit) -> None:
    console.close()
    try:
        await console.end()
    except LockstepError as error:
        log.warning("what %s began in %s goes on: %s", visit.who, visit.app, explain(error))
        raise


def names_process(parts: Parts, app: str, word: str) -> bool:
    """Whether the word names a process of the live release, or a replica of one. Raises LockstepError without one."""
    match = _PROCESS.fullmatch(word)
    with parts.store.read() as tx:
        release = tx.releases.current(app)
    if release is None:
        raise LockstepError(f"nothing of {app} is live: push to it first")
    return match is not None and match["name"] in {process.name for process in release.spec.processes}


async def _host(parts: Parts, visit: Visit) -> str:
    """The container of the replica that is visited."""
    with parts.store.read() as tx:
        release = tx.releases.current(tx.apps.get(visit.app).name)
    if release is None:
        raise LockstepError(f"nothing of {visit.app} is live: push to it first")
    first = release.spec.web or next(iter(release.spec.processes), None)
    wanted = visit.process or (WEB if first is None else first.name)
    match = _PROCESS.fullmatch(wanted)
    if match is None:
        raise UsageError(f"'{wanted[:40]}' is not a process: name one as in web or mailer.2")
    name, slot = base_of(release, match["name"]).name, match["slot"]
    for service in await parts.fleet.services(release.handle):
        if service.release == release.number and service.process == name:
            running = [task for task in await parts.fleet.tasks(service) if task.running and task.container]
            running.sort(key=lambda task: task.slot)
            found = [task for task in running if slot is None or task.slot == int(slot)]
            if found:
                return str(found[0].container)
    raise LockstepError(f"{wanted} of {visit.app} does not run now: 'ps {visit.app}' shows what does")
