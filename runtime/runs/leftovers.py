"""Programs that clients of an earlier server left running in the containers of processes."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from runtime import names
from runtime.engine.fleet import Fleet
from runtime.errors import DeadlinePassed, NotFound
from runtime.runs.consoles import end_session
from runtime.runs.describe import SESSION
from runtime.waiting import together

log = logging.getLogger(__name__)


async def end_left_sessions(fleet: Fleet) -> None:
    """End every program that a session of an earlier server started beside a process; others' are left alone."""
    containers = [
        str(item["Id"])
        for item in await fleet.containers()
        if item["State"] == "running" and item["Labels"].get(names.KIND) in (names.WEB, names.WORKER)
    ]
    found = [(pid, container) for container in containers for pid in await _programs(fleet, container)]
    await together(*(_end(fleet, pid, container) for pid, container in found))


async def _end(fleet: Fleet, pid: int, container: str) -> None:
    log.info("ending process %d in %s, whose session ended with the server", pid, container[:12])
    try:
        await end_session(fleet, pid, container)
    except DeadlinePassed as error:
        log.warning("%s", error)


async def _programs(fleet: Fleet, container: str) -> list[int]:
    found: list[int] = []
    try:
        numbers = (await fleet.engine.get(f"/containers/{container}/json"))["ExecIDs"] or ()
        for number in numbers:
            state = await fleet.engine.get(f"/exec/{number}/json")
            if state["Running"] and state["Pid"] and await asyncio.to_thread(_is_ours, int(state["Pid"])):
                found.append(int(state["Pid"]))
    except NotFound:  # it ended meanwhile, with all in it
        return []
    return found


def _is_ours(pid: int) -> bool:
    try:
        return f"\0{SESSION}=".encode() in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
