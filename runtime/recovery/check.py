"""Whether an app is back, asked as its visitors ask: each process runs, and web answers through the router."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from runtime import names
from runtime.engine.tasks import Service, Task
from runtime.errors import DeadlinePassed, LockstepError, NotFound, explain
from runtime.frontdoor import Welcome, ask_front_door
from runtime.model import Health, Process, ProcessKind, Release
from runtime.parts import Parts, hosts_of, route_in, scaled
from runtime.proof import SETTLE_SLACK, Proof
from runtime.waiting import ticks, together

AT_ONCE: Final = 8  # apps that are looked at side by side
WAY_DEADLINE: Final = 15.0  # seconds for the router to find a replica that answers
FROM_THE_ROUTER: Final = (502, 503, 504)  # what the router answers when it finds no replica


@dataclass(frozen=True)
class Report:
    """One app's line at the end of a recovery."""

    app: str
    well: bool
    detail: str


async def check_all(parts: Parts, apps: tuple[str, ...]) -> dict[str, Report]:
    """Some side by side, since each is watched for a while."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(app: str) -> Report:
        async with room:
            return await check(parts, app)

    return {report.app: report for report in await together(*map(one, apps))}


async def check(parts: Parts, app: str) -> Report:
    """Waits for it as long as a deploy would."""
    with parts.store.read() as tx:
        current = tx.releases.current(app)
    if current is None:
        return Report(app, True, "nothing is live")
    release = scaled(parts.store, current)
    try:
        seen = await together(*(_process(parts, release, process) for process in release.spec.processes))
    except LockstepError as error:
        why = f"{release.label}: {explain(error)}: start the server, then 'logs {app}' shows more"
        return Report(app, False, why)
    return Report(app, True, f"{release.label}: {', '.join(seen) or 'no processes'}")


async def _process(parts: Parts, release: Release, process: Process) -> str:
    """What was seen of one process. Raises LockstepError when it does not run, or does not stay up."""
    name = names.service(parts.settings.instance, release.handle, process.name, release.number)
    try:
        service = await parts.fleet.service(name)
    except NotFound:
        raise LockstepError(f"{process.name} has no service") from None
    tasks = await _running(parts, service, process.replicas)
    await _steady(parts, service, tasks)
    seen = f"{process.name} x{process.replicas} runs"
    if process.kind is not ProcessKind.WEB or not tasks or process.port is None:
        return seen
    return f"{seen}, {await _answering(parts, release, process, process.port, service, tasks)}"


async def _running(parts: Parts, service: Service, replicas: int) -> list[Task]:
    running = [task for task in await parts.fleet.tasks(service) if task.running]
    if len(running) >= replicas:
        return running  # whatever ended before them is history
    return await Proof(parts).until_running(service, replicas)


async def _steady(parts: Parts, service: Service, tasks: list[Task]) -> None:
    """The same tasks run throughout the settle window."""
    settled = ticks() + parts.settings.settle

    async def look() -> bool | None:
        still = {task.id for task in await parts.fleet.tasks(service) if task.running}
        if any(task.id not in still for task in tasks):
            raise LockstepError(f"{service.process} ended soon after its start")
        return True if ticks() >= settled else None

    await parts.fleet.events.until(f"{service.process} to settle", parts.settings.settle + SETTLE_SLACK, look)


async def _answering(
    parts: Parts, release: Release, web: Process, port: int, service: Service, tasks: list[Task]
) -> str:
    """Each replica answers, and so does the router's published port in its place."""
    host = hosts_of(parts.settings, release)[0]
    health = web.health or Health()
    addresses = tuple(task.address for task in tasks if task.address is not None)
    if not addresses:
        raise LockstepError("web has no address on the network of its app")
    deadline = health.deadline or parts.settings.health_deadline
    await Proof(parts).until_answered(service, port, addresses, host, health.path, deadline)
    with parts.store.read() as tx:
        wanted = route_in(tx, parts.settings, release)
    if wanted is None or await parts.router.target(release.handle) != wanted.target:
        raise LockstepError(f"the router does not send requests to {release.label}")
    if wanted.closed is not None:
        return "its visitors get a page in its place, as they did"
    own = await parts.router.ask(addresses[0], port, host, health.path, WAY_DEADLINE)

    async def look() -> Welcome | None:
        answer = await ask_front_door(parts.settings, host, health.path or "/")
        if answer is None or answer.of_nobody:
            return None
        return None if answer.status in FROM_THE_ROUTER and answer.status != own.status else answer

    url = parts.settings.url_of(host)
    try:
        answer = await parts.fleet.events.until(f"an answer at {url}", WAY_DEADLINE, look)
    except DeadlinePassed as error:
        raise LockstepError(
            f"web runs and {explain(error)}: see whether port {parts.settings.http_port} is free"
        ) from None
    return f"{url} answers {answer.status}"
