"""Carrying out a recovery's plan, up to the point where a server would be at its start."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from runtime.converge import Converger
from runtime.errors import LockstepError, explain
from runtime.parts import Parts
from runtime.recovery.plan import Plan

log = logging.getLogger(__name__)

WHO: Final = "recover"
STRAY_GRACE: Final = 15.0  # seconds from SIGTERM to SIGKILL for what a lost swarm left running
AT_ONCE: Final = 4  # apps that are brought back side by side; an engine starts about that many containers at once


async def renew_swarm(parts: Parts, plan: Plan) -> None:
    """Have the engine in a good swarm, with nothing of a lost one."""
    with parts.store.write() as tx:
        detail, now = "; ".join(plan.lines[:2]), parts.clock()
        tx.events.add(who=WHO, app=None, action="recover", detail=detail, result="begun", now=now)
    if plan.leave:
        await parts.fleet.leave_swarm()
    # Before any service is made: what a lost swarm left running must not work beside it.
    for container in await parts.fleet.strays():
        await parts.fleet.stop_container(container["Id"], STRAY_GRACE)
        await parts.fleet.remove_container(container["Id"])
    await parts.fleet.ensure_swarm()


async def bring_back(parts: Parts, apps: tuple[str, ...]) -> None:
    """Make these apps what their rows say, some at once; one that fails is told by its check and stops no other."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(app: str) -> None:
        async with room:
            try:
                done = ", ".join(await Converger(parts).converge(app))
                result = "ok"
            except LockstepError as error:
                done, result = "", explain(error)
        log.info("%s brought back: %s", app, done or result)
        with parts.store.write() as tx:
            tx.events.add(who=WHO, app=app, action="recover", detail=done, result=result, now=parts.clock())

    await asyncio.gather(*(one(app) for app in apps))


def forget_images(parts: Parts, gone: tuple[tuple[str, int], ...]) -> None:
    """Have `rollback` say at once that these releases can not be gone back to."""
    with parts.store.write() as tx:
        for app, number in gone:
            tx.releases.image_is_gone(app, number)
