"""Looking at every part of an instance from outside, as its users do."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from runtime.engine.swarm import SwarmState, swarm_in
from runtime.errors import LockstepError, explain
from runtime.frontdoor import ask_front_door
from runtime.parts import Parts, routes_of
from runtime.recovery.refusal import swarm_complaint

LEAST_FREE: Final = 2 * 2**30  # bytes of disk below which builds are likely to fail
CLOCK_SLACK: Final = timedelta(seconds=30)  # between our clock and the engine's
HEARTBEAT_AGE: Final = timedelta(seconds=10)
CHECK_DEADLINE: Final = 20.0  # seconds for one check


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    what: str
    well: bool
    detail: str


async def examine(parts: Parts) -> list[Finding]:
    """Every check, also after one has failed."""
    checks: tuple[tuple[str, Callable[[Parts], Awaitable[str]]], ...] = (
        ("engine", _engine),
        ("store", _store),
        ("router", _router),
        ("redis", _redis),
        ("scheduler", _scheduler),
        ("server", _server),
        ("disk", _disk),
        ("clock", _clock),
        ("keys", _keys),
    )
    return [await _examine(what, check, parts) for what, check in checks]


async def _examine(what: str, check: Callable[[Parts], Awaitable[str]], parts: Parts) -> Finding:
    try:
        async with asyncio.timeout(CHECK_DEADLINE):
            return Finding(what, True, await check(parts))
    except LockstepError as error:
        return Finding(what, False, explain(error))
    except TimeoutError:
        return Finding(what, False, f"no answer within {CHECK_DEADLINE:g} s")


async def _engine(parts: Parts) -> str:
    info = await parts.fleet.engine.get("/info")
    swarm = swarm_in(info)
    complaint = swarm_complaint(parts, swarm)
    if complaint is not None:
        raise LockstepError(complaint)
    if swarm.state is not SwarmState.WELL:
        raise LockstepError("the engine is in no swarm: start the server, it makes one")
    return f"docker {info['ServerVersion']}, swarm active, {info['ContainersRunning']} containers run"


async def _store(parts: Parts) -> str:
    with parts.store.read() as tx:
        apps = tx.apps.all()
        unfinished = tx.deploys.unfinished()
    under_way = f", deploys under way: {len(unfinished)}" if unfinished else ""
    return f"format {parts.store.format()}, {len(apps)} apps{under_way}"


async def _router(parts: Parts) -> str:
    wanted = routes_of(parts.settings, parts.store)
    for target in wanted:
        if await parts.router.target(target.app) != target.target:
            with parts.store.read() as tx:
                app = tx.apps.name_of(target.app) or target.app
            raise LockstepError(f"the router does not send {app} to its release: the server puts it right within 30 s")
    await _ask_front_door(parts)
    return f"{len(wanted)} routes, answers on port {parts.settings.http_port}"


async def _ask_front_door(parts: Parts) -> None:
    """The users' way in: the published port, with a host name that no app has."""
    answer = await ask_front_door(parts.settings, "nobody.invalid", "/")
    if answer is None:
        raise LockstepError(f"port {parts.settings.http_port} does not answer: start the server")
    if not answer.of_nobody:
        raise LockstepError(f"something else than the router answers on port {parts.settings.http_port}")


async def _redis(parts: Parts) -> str:
    with parts.store.read() as tx:
        users = tx.apps.redis_users()
    for app, password in users.items():
        refusal = await parts.redis.lets_in(app, password)
        if refusal is not None:
            raise LockstepError(
                f"the user {app} is not let in ({refusal}): the server makes its user again within 30 s"
            )
    if not await parts.redis.answers():
        raise LockstepError("the shared redis does not answer: the server starts it again within 30 s")
    return f"{len(users)} users, each let in"


async def _scheduler(parts: Parts) -> str:
    with parts.store.read() as tx:
        beat = tx.cron.heartbeat("scheduler")
    if beat is None:
        raise LockstepError("the scheduler never ran: start the server")
    age = parts.clock() - beat.at
    if age > HEARTBEAT_AGE:
        raise LockstepError(f"the scheduler's last sign of life is {age.total_seconds():.0f} s old: start the server")
    return f"alive, process {beat.pid}"


async def _server(parts: Parts) -> str:
    host, port = parts.settings.ssh_host, parts.settings.ssh_port
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1" if host == "0.0.0.0" else host, port)  # noqa: S104
        greeting = await reader.readline()
        writer.close()
    except OSError as error:
        raise LockstepError(f"nothing answers on ssh port {port} ({error.strerror}): start the server") from None
    if b"Lockstep" not in greeting:
        raise LockstepError(f"something else than Lockstep answers on ssh port {port}")
    return f"answers on ssh port {port}"


async def _disk(parts: Parts) -> str:
    info = await parts.fleet.engine.get("/info")
    roots = {str(parts.settings.home), str(info["DockerRootDir"])}
    free = {root: shutil.disk_usage(root).free for root in sorted(roots)}
    for root, left in free.items():
        if left < LEAST_FREE:
            raise LockstepError(f"only {left / 2**30:.1f} GiB are free at {root}: free some space")
    return ", ".join(f"{left / 2**30:.0f} GiB free at {root}" for root, left in free.items())


async def _clock(parts: Parts) -> str:
    async with parts.fleet.engine.request("GET", "/_ping") as response:
        theirs = parsedate_to_datetime(response.headers["Date"])
    gap = abs(parts.clock() - theirs)
    if gap > CLOCK_SLACK:
        raise LockstepError(f"this clock and the engine's are {gap.total_seconds():.0f} s apart: set them right")
    return f"{parts.clock():%Y-%m-%d %H:%M:%S} UTC"


async def _keys(parts: Parts) -> str:
    with parts.store.read() as tx:
        keys = tx.keys.all()
    admins = [key for key in keys if key.role.value == "admin"]
    if not admins:
        raise LockstepError("no admin's key may come in: run 'lockstep init' with --admin-key again")
    return f"{len(keys)} keys, {len(admins)} of admins"
