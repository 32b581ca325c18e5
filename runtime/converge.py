"""Making an app's engine objects and route what its row says: after a failed deploy, a crash, a foreign hand."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

from runtime import names
from runtime.engine import specs
from runtime.engine.tasks import Service
from runtime.errors import Conflict, DeadlinePassed, LockstepError, NotFound, RouterError, explain
from runtime.model import ProcessKind, Release
from runtime.names import Handle
from runtime.parts import Parts, place_of, route_in, scaled
from runtime.routes import Route
from runtime.secrets import make_password
from runtime.waiting import ticks

log = logging.getLogger(__name__)


SCALE_DEADLINE: Final = 60.0  # seconds for a process to run as often as it should
UNCOUNTED: Final = 0.1  # seconds in which a request may have found its target and is not counted by the router yet
LOG_DEADLINE: Final = 5.0  # seconds for what ended processes wrote to be in the log
CRASHES: Final = 3  # ends after which it is not waited for any more


class Converger:
    """Idempotent: run again after any interruption, it goes on where the last one stopped."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def converge(self, app: str) -> list[str]:
        """Have exactly the current release of `app` run; what was changed, one phrase each.

        At no moment are two releases active: the workers of others are gone, then web is up, then the requests
        go there, then the workers start; the webs of others drain and go last.
        """
        with self._parts.store.read() as tx:
            handle, current = tx.apps.handle(app), tx.releases.current(app)
            target = None if current is None else route_in(tx, self._parts.settings, current)
        number = None if current is None else current.number
        release = None if current is None else scaled(self._parts.store, current)
        done = await self._remove_hooks(handle)
        done += await self._stop_foreign_workers(handle, number)
        if release is not None:
            done += await set_stage(self._parts, release)
            if target is not None and target.closed is not None:
                done += await self._route(app, handle, target)  # nobody is sent to a web that is about to end
            done += await self._ensure(release, ProcessKind.WEB)
        done += await self._route(app, handle, target)
        if release is not None:
            done += await self._ensure(release, ProcessKind.WORKER)
            done += await self._remove_strangers(release)
        done += await self._remove_others(app, handle, number)
        return done

    async def clear(self, handle: Handle) -> list[str]:
        """Have nothing run of an app that the store does not have; its route goes with the others of no app."""
        done = await self._remove_hooks(handle)
        done += await self._stop_foreign_workers(handle, None)
        return done + await self._remove_others(handle, handle, None)

    async def remove_others(self, release: Release) -> list[str]:
        """Drain and remove the services of every other release of its app."""
        return await self._remove_others(release.app, release.handle, release.number)

    async def _remove_others(self, app: str, handle: Handle, number: int | None) -> list[str]:
        others = [service for service in await self._parts.fleet.services(handle) if service.release != number]
        done = await self._drain([service for service in others if service.kind == names.WEB])
        await self._parts.fleet.stop(others)
        if others:
            unread = await self._parts.logbook.read_out(app, number, LOG_DEADLINE)
            done += [f"left the log of {process} unread" for process in unread]
        for service in others:
            await self._parts.fleet.remove_service(service)
        return done + [f"removed {service.name}" for service in others]

    async def _drain(self, webs: list[Service]) -> list[str]:
        """Let the requests that these webs have been sent end, for as long as their grace."""
        tasks = [task for web in webs for task in await self._parts.fleet.tasks(web) if task.running]
        addresses = tuple(task.address for task in tasks if task.address is not None)
        if not addresses:
            return []
        looked_at = ticks() + UNCOUNTED

        async def idle() -> bool | None:
            if ticks() < looked_at or await self._parts.router.under_way(addresses):
                return None
            return True

        what = f"the requests under way to {', '.join(sorted(web.name for web in webs))} to end"
        try:
            await self._parts.fleet.events.until(what, max(web.grace for web in webs), idle)
        except DeadlinePassed:
            return [f"cut off {await self._parts.router.under_way(addresses)} requests after the grace"]
        except RouterError as error:
            log.warning("%s: nothing drains through a router that is away", explain(error))
        return []

    async def stop_foreign_workers(self, app: str) -> list[str]:
        """No worker of a release that is not the current one runs."""
        with self._parts.store.read() as tx:
            handle, current = tx.apps.handle(app), tx.releases.current(app)
        return await self._stop_foreign_workers(handle, None if current is None else current.number)

    async def _remove_hooks(self, app: Handle) -> list[str]:
        """Containers of a deploy that is not under way any more: its server ended before they did."""
        left = await self._parts.fleet.containers(app, kind=names.HOOK)
        for container in left:
            await self._parts.fleet.remove_container(container["Id"])
        return [f"removed {container['Names'][0].removeprefix('/')}" for container in left]

    async def _stop_foreign_workers(self, app: Handle, number: int | None) -> list[str]:
        services = await self._parts.fleet.services(app)
        foreign = [service for service in services if service.kind == names.WORKER and service.release != number]
        await self._parts.fleet.stop(foreign)  # all: one that is scaled to nothing may still be in its grace
        return [f"stopped {service.name}" for service in foreign if service.replicas]

    async def _ensure(self, release: Release, kind: ProcessKind) -> list[str]:
        place = place_of(self._parts.settings, self._parts.store, release)
        there = {service.name: service for service in await self._parts.fleet.services(release.handle)}
        done: list[str] = []
        for process in release.spec.processes:
            if process.kind is not kind:
                continue
            spec = specs.process_service(release, process, place, replicas=process.replicas)
            found = there.get(str(spec["Name"]))
            if found is not None and kind is ProcessKind.WEB and process.replicas == 0:
                done += await self._drain([found])
            service = await self._parts.fleet.ensure_service(spec)
            if found is None:
                done.append(f"made {spec['Name']}")
            elif specs.differs(found.spec, spec):
                done.append(f"made {spec['Name']} again")
            elif found.replicas != process.replicas:
                done.append(f"scaled {spec['Name']} from {found.replicas} to {process.replicas}")
            if found is None or found.replicas != process.replicas:
                done += await self._see_scaled(service, process.replicas)
        return done

    async def _see_scaled(self, service: Service, replicas: int) -> list[str]:
        """Wait until so many run, and none that is to end; one that does not come up is said and left to Swarm."""
        began = self._parts.clock()

        async def look() -> bool | None:
            tasks = await self._parts.fleet.tasks(service)
            alive = [task for task in tasks if task.state == "running"]
            settled = len(alive) == replicas and all(task.running for task in alive)
            crashes = sum(task.failed and task.since > began for task in tasks)
            return True if settled or crashes >= CRASHES else None

        try:
            await self._parts.fleet.events.until(f"{replicas} running of {service.name}", SCALE_DEADLINE, look)
        except DeadlinePassed as error:
            return [str(error)]
        return []

    async def _remove_strangers(self, release: Release) -> list[str]:
        """Services labelled as this release's that its process table does not have."""
        instance = self._parts.settings.instance
        table = {names.service(instance, release.handle, item.name, release.number) for item in release.spec.processes}
        there = await self._parts.fleet.services(release.handle)
        strangers = [service for service in there if service.release == release.number and service.name not in table]
        await self._parts.fleet.stop(strangers)
        for service in strangers:
            await self._parts.fleet.remove_service(service)
        return [f"removed {service.name}" for service in strangers]

    async def _route(self, app: str, handle: Handle, target: Route | None) -> list[str]:
        if target is None:
            return [f"took away the route of {app}"] if await self._parts.router.forget(handle) else []
        where = "its closed page" if target.closed is not None else target.service
        return [f"pointed {app} to {where}"] if await self._parts.router.point(target) else []


async def set_stage(parts: Parts, release: Release) -> list[str]:
    """What the processes of a release need before they can start: network, volumes, credentials. What was not there."""
    network = await parts.fleet.ensure_network(specs.overlay_network(parts.settings.instance, release.handle))
    done = [f"attached the router to {network}"] if await parts.router.reach(network) else []
    if release.spec.redis:
        done += await _open_redis(parts, release, network)
    for folder in release.spec.persist:
        if await _ensure_volume(parts, release, folder):
            done.append(f"made the folder {folder}")
    return done


async def _open_redis(parts: Parts, release: Release, network: str) -> list[str]:
    app = release.app
    with parts.store.write() as tx:
        password = tx.apps.redis_password(app)
        if password is None:
            password = make_password()
            tx.apps.set_redis_password(app, password)
    done = [f"let {app} in to the shared redis again"] if await parts.redis.admit(release.handle, password) else []
    return done + ([f"attached the shared redis to {network}"] if await parts.redis.reach(network) else [])


async def _ensure_volume(parts: Parts, release: Release, folder: str) -> bool:
    """A new volume is opened to every user, since an app's own Dockerfile may run as any.

    A container that is never started stands for what is not done yet: it is there before the volume, and goes after
    the opening has succeeded, so whatever interrupts it, the next one begins again. Raises LockstepError.
    """
    instance, fleet = parts.settings.instance, parts.fleet
    name = names.volume(instance, release.handle, folder)
    unopened = f"{name}-unopened"
    if await fleet.has(f"/volumes/{name}") and not await fleet.has(f"/containers/{unopened}/json"):
        return False
    marks = names.labels(instance, names.SERVICE, app=release.handle)
    await fleet.create_container(unopened, {"Image": parts.platform_image, "Labels": marks, "Entrypoint": ["-"]})
    await fleet.ensure_volume(name, marks)
    spec = {
        "Image": parts.platform_image,
        "Labels": names.labels(instance, names.HOOK, app=release.handle, process="volume"),
        "Entrypoint": ["chmod", "1777", "/volume"],
        "HostConfig": {
            "NetworkMode": "none",
            "Mounts": [{"Type": "volume", "Source": name, "Target": "/volume", "VolumeOptions": {"NoCopy": True}}],
        },
    }
    code = await fleet.run_once(f"{name}-open", spec, timeout=30.0, grace=1.0, on_line=lambda _: None)
    if code != 0:
        how = "did not end in time" if code is None else f"exited with {code}"
        raise LockstepError(f"the folder {folder} can not be opened to the app: chmod {how}; look at the engine's disk")
    await fleet.remove_container(unopened)
    return True


async def prune_images(parts: Parts, app: str) -> None:
    """Remove the images of releases older than those that are kept, and of releases that never were live."""
    with parts.store.read() as tx:
        current = tx.releases.current(app)
        old = tx.releases.beyond(app, parts.settings.keep_releases)
    for release in old:
        if current is not None and release.number == current.number:
            continue
        tag = names.image(parts.settings.instance, release.handle, release.number)
        with suppress(NotFound, Conflict):
            await parts.fleet.engine.delete(f"/images/{tag}")
        with parts.store.write() as tx:
            tx.releases.image_is_gone(app, release.number)
