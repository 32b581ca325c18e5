"""Restarting, stopping and starting the processes of a live app; each answers once the effect is seen.

What is stopped stays so, also in later releases, until it is started. Cron jobs are not processes: they go on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from runtime.converge import Converger, set_stage
from runtime.deployer import Deployer, Draft
from runtime.engine import specs
from runtime.engine.tasks import Service
from runtime.errors import LockstepError, explain
from runtime.idle import check_runs
from runtime.layer import base_of
from runtime.locks import Locked
from runtime.model import WEB, Deploy, Health, Process, ProcessKind, Release
from runtime.parts import Parts, hosts_of, place_of, scaled
from runtime.proof import Proof
from runtime.store.faces import ALL
from runtime.story import Story
from runtime.table import process_of


@dataclass(frozen=True)
class Started:
    """What runs now."""

    process: str
    replicas: int


async def restart(parts: Parts, deployer: Deployer, app: str, process: str | None, who: str, story: Story) -> None:
    """Have the processes begin anew, on the same image with the same config.

    Web can only change without a lost request when a second one is proved healthy beside it, so it, and the app as
    a whole, restart as a deploy of the live release. A worker restarts where it is: the old one ends, then the new
    one starts. Raises LockstepError when what was started does not stay up.
    """
    live = _live(parts, app)
    if process is not None:
        process_of(live, process)
    check_runs(parts.store, live, process)
    if process is None or process == WEB:
        await _restart_all(parts, deployer, live, process, who, story)
        return
    await _restart_worker(parts, deployer, app, process, story)


async def _restart_worker(parts: Parts, deployer: Deployer, app: str, process: str, story: Story) -> None:
    async with deployer.locks.soon(app) as free:
        if not free:
            raise Locked(f"{app} is being deployed: restart {process} when that has ended")
        check_runs(parts.store, _live(parts, app), process)
        release = scaled(parts.store, _live(parts, app))
        worker = process_of(release, process)
        spec = specs.process_service(
            release, worker, place_of(parts.settings, parts.store, release), replicas=worker.replicas
        )
        story.step(f"Restarting {process}")
        await _stop_all(parts, release, {process})
        await _see_up(parts, await parts.fleet.ensure_service(spec), release, worker)


async def _stop_all(parts: Parts, release: Release, processes: Collection[str]) -> None:
    services = await parts.fleet.services(release.handle)
    await parts.fleet.stop([service for service in services if service.process in processes])


async def stop(parts: Parts, deployer: Deployer, app: str, processes: Collection[str]) -> list[str]:
    """Have none of the processes run, now and in later releases; their names. Web's visitors get a page instead.

    None named means all, those of later releases too.
    """
    async with deployer.locks.soon(app) as free:
        release = _for_operator(parts, app, processes, free)
        names = [item.name for item in release.spec.processes if not processes or item.name in processes]
        with parts.store.write() as tx:
            tx.faces.set_stopped(app, {*tx.faces.stopped(app), *processes} if processes else {ALL})
        await Converger(parts).converge(app)
        await _stop_all(parts, release, names)
    return names


async def start(parts: Parts, deployer: Deployer, app: str, processes: Collection[str]) -> list[Started]:
    """Have the processes run as before they were stopped; none named means all.

    Raises LockstepError when one does not stay up.
    """
    async with deployer.locks.soon(app) as free:
        release = _for_operator(parts, app, processes, free)
        every = {item.name for item in release.spec.processes}
        with parts.store.write() as tx:
            stopped = tx.faces.stopped(app)
            named = every if ALL in stopped else set(stopped)
            tx.faces.set_stopped(app, named - {*processes} if processes else set())
        release = scaled(parts.store, release)
        wanted = [item for item in release.spec.processes if not processes or item.name in processes]
        await _bring_up(parts, release, [item for item in wanted if item.replicas])
    return [Started(item.name, item.replicas) for item in wanted]


async def _bring_up(parts: Parts, release: Release, wanted: list[Process]) -> None:
    """Web first, proved healthy before the router sends anybody there; then all the rest."""
    await set_stage(parts, release)
    for item in wanted:
        if item.kind is ProcessKind.WEB:
            await _see_up(parts, await _ensure(parts, release, item), release, item)
    await Converger(parts).converge(release.app)
    for item in wanted:
        if item.kind is ProcessKind.WORKER:
            await _see_up(parts, await _ensure(parts, release, item), release, item)


async def _restart_all(
    parts: Parts, deployer: Deployer, live: Release, process: str | None, who: str, story: Story
) -> None:
    async def make(_: Deploy, story: Story) -> Draft:
        current = _live(parts, live.app)
        story.step(f"Restarting {process or live.app} as {current.label} is: the image and the config stay")
        what = "ps:restart" if process is None else f"ps:restart {process}"
        return Draft(current.commit, current.image, base_of(current), what)

    await deployer.deploy(live.app, kind="restart", who=who, commit=live.commit, make=make, story=story)


async def _see_up(parts: Parts, service: Service, release: Release, process: Process) -> None:
    """It runs, web answers, a worker stays up for the settle window."""
    proof = Proof(parts)
    try:
        tasks = await proof.until_running(service, process.replicas)
        if process.port is None:
            await proof.until_settled(service, parts.settings.settle)
            return
        addresses = tuple(task.address for task in tasks if task.address is not None)
        host = hosts_of(parts.settings, release)[0]
        await proof.until_healthy(service, process.port, addresses, host, process.health or Health())
    except LockstepError as error:
        raise LockstepError(
            f"{explain(error)}: it is started again and again, see 'logs {release.app} -p {process.name}'; "
            f"'ps:stop {release.app} {process.name}' stops it"
        ) from None


async def _ensure(parts: Parts, release: Release, process: Process) -> Service:
    place = place_of(parts.settings, parts.store, release)
    return await parts.fleet.ensure_service(specs.process_service(release, process, place, replicas=process.replicas))


def _for_operator(parts: Parts, app: str, processes: Collection[str], free: bool) -> Release:
    if not free:
        raise Locked(f"{app} is being deployed: try again when that has ended")
    release = _live(parts, app)
    for process in processes:
        process_of(release, process)
    return release


def _live(parts: Parts, app: str) -> Release:
    with parts.store.read() as tx:
        current = tx.releases.current(app) if tx.apps.get(app) else None
    if current is None:
        raise LockstepError(f"nothing of {app} is live: push to it")
    return current
