"""Operations on whole apps and their config; every door calls these."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress

from runtime import names
from runtime.converge import Converger
from runtime.deployer import Deployer, Draft, Outcome
from runtime.errors import Conflict, LockstepError, NotFound, UsageError
from runtime.hosts import owner_of
from runtime.layer import base_of
from runtime.locks import Locked
from runtime.model import App, Deploy, Dialect, ProcessKind, Release, app_name, env_name
from runtime.names import Handle
from runtime.parts import Parts
from runtime.scheduler.runlog import ONE_OFF, RunLogs
from runtime.settings import Settings
from runtime.store import Transaction
from runtime.store.faces import ALL
from runtime.story import Story
from runtime.table import process_of

VALUE_LIMIT = 64 * 1024  # bytes of one config value
CONFIG_LIMIT = 512  # values of one app
CONFIG_SIZE = 1024 * 1024  # bytes of all names and values of one app; the kernel starts no process with much more
NAMES_TOLD = 8  # names of values that a release's description holds


def check_app_name(name: str) -> str:
    """The name if it may be an app's. Raises UsageError."""
    try:
        return app_name(name)
    except ValueError as error:
        raise UsageError(str(error)) from None


def check_name_free(tx: Transaction, settings: Settings, name: str, app: str | None = None) -> None:
    """Raises LockstepError when the name can not be given to a new app, or to `app`: it or its address is taken."""
    if tx.apps.find(name) is not None:
        raise LockstepError(f"there is an app '{name}' already: choose another name")
    if name in tx.apps.moving().values():
        raise LockstepError(f"the folders of an app that was '{name}' still have that name: restart the server")
    host = settings.host_of(name)
    if owner_of(tx, settings, host, app or name) is not None:
        raise LockstepError(f"{host} is in use by another app: choose another name")


class Apps:
    """Creating, configuring and destroying apps."""

    def __init__(self, parts: Parts, deployer: Deployer) -> None:
        self.parts = parts
        self.deployer = deployer

    def create(self, name: str, settings: Callable[[Transaction], None] = lambda _: None) -> App:
        """Make an app and, in the same transaction, write its `settings`.

        Raises UsageError for a bad name, LockstepError when there is such an app.
        """
        check_app_name(name)
        with self.parts.store.write() as tx:
            check_name_free(tx, self.parts.settings, name)
            app = tx.apps.create(name, self.parts.clock())
            settings(tx)
        return app

    async def destroy(self, name: str) -> None:
        """Remove everything the app has: processes, route, network, volumes, images, keys in Redis, repository.

        The row goes last, so that an interrupted destroy can be run again.
        """
        with self.parts.store.read() as tx:
            handle = tx.apps.get(name).handle
        async with self.deployer.locks.quietly(name) as free:
            if not free:
                raise Locked(f"{name} is being deployed: wait for its end, then destroy it")
            with self.parts.store.write() as tx:
                tx.apps.set_current(name, None)
            self.parts.wake_scheduler()
            await Converger(self.parts).converge(name)
            await self._remove_containers(handle)
            await self._remove_network(handle)
            await self._remove_redis_user(handle)
            await remove_leftovers(self.parts, handle)
            shutil.rmtree(self.parts.settings.repository_of(name), ignore_errors=True)
            self.deployer.logs.forget(name)
            RunLogs(self.parts.settings.logs).remove_app(name)
            RunLogs(self.parts.settings.logs, ONE_OFF).remove_app(name)
            self.parts.logbook.forget(name)  # no pause from here to the row's end, in which it could be begun again
            with self.parts.store.write() as tx:
                tx.apps.remove(name)

    async def set_config(
        self, app: str, values: dict[str, str], who: str, story: Story, *, verb: str = "config:set"
    ) -> Outcome | None:
        """Set values; a live app gets a new release from them, in one deploy for all. None: nothing is live yet."""
        for name, value in values.items():
            check_value(name, value)
        return await self._change_config(app, values, (), who, story, told(verb, values))

    async def unset_config(self, app: str, unset: tuple[str, ...], who: str, story: Story) -> Outcome | None:
        """Raises LockstepError, naming it, when a value is not set."""
        for name in unset:
            _check_name(name)
        with self.parts.store.read() as tx:
            missing = [name for name in unset if name not in tx.apps.config(app)]
        if missing:
            raise LockstepError(f"{missing[0]} is not set on {app}: 'config {app}' lists what is")
        return await self._change_config(app, {}, unset, who, story, told("config:unset", unset))

    async def scale(self, app: str, wanted: dict[str, int]) -> None:
        """Set replicas of processes, now and for later releases, and see them so. No release is made of it.

        Raises LockstepError for a process that the live release does not have.
        """
        with self.parts.store.read() as tx:
            current = tx.releases.current(app) if tx.apps.get(app) else None
        for process in wanted:
            _check_scalable(app, current, process)
        async with self.deployer.locks.soon(app) as free:
            if not free:
                raise Locked(f"{app} is being deployed: scale it when that has ended")
            with self.parts.store.write() as tx:
                _check_not_stopped(app, wanted, tx.faces.stopped(app))
                for process, replicas in wanted.items():
                    tx.apps.set_scale(app, process, replicas)
            await Converger(self.parts).converge(app)

    async def _change_config(
        self,
        app: str,
        values: dict[str, str],
        unset: tuple[str, ...],
        who: str,
        story: Story,
        description: str,
    ) -> Outcome | None:
        def changed(before: dict[str, str]) -> dict[str, str]:
            after = {name: value for name, value in {**before, **values}.items() if name not in unset}
            check_config(app, after)
            return after

        with self.parts.store.write() as tx:
            before, current = tx.apps.config(app), tx.releases.current(app) if tx.apps.get(app) else None
            if current is None:
                tx.apps.replace_config(app, changed(before), who, self.parts.clock(), description)
        if current is None or changed(before) == before:
            return None

        async def make(deploy: Deploy, _: Story) -> Draft:
            with self.parts.store.read() as tx:
                live, config = tx.releases.current(app), tx.apps.config(app)
            if live is None:
                raise LockstepError(f"the release of {app} that was live has been undone meanwhile: try again")
            return Draft(live.commit, live.image, base_of(live), description, changed(config))

        return await self.deployer.deploy(app, kind="config", who=who, commit=current.commit, make=make, story=story)

    async def _remove_containers(self, app: Handle) -> None:
        for container in await self.parts.fleet.containers(app):
            await self.parts.fleet.remove_container(container["Id"])

    async def _remove_network(self, app: Handle) -> None:
        network = names.network(self.parts.settings.instance, app)
        await self.parts.redis.leave(network)
        await self.parts.router.leave(network)
        await self.parts.fleet.remove_network(network)

    async def _remove_redis_user(self, app: Handle) -> None:
        with self.parts.store.read() as tx:
            is_user = app in tx.apps.redis_users()
        if is_user:
            await self.parts.redis.expel(app)


async def remove_leftovers(parts: Parts, app: Handle) -> None:
    """Remove the volumes and images of an app."""
    engine, instance = parts.fleet.engine, parts.settings.instance
    marks = [f"{names.INSTANCE}={instance}", f"{names.APP}={app}"]
    volumes = await engine.get("/volumes", filters={"label": marks})
    for volume in volumes["Volumes"] or []:
        with suppress(NotFound):
            await engine.delete(f"/volumes/{volume['Name']}", force=True)
    images = await engine.get("/images/json", filters={"reference": [f"{instance}/{app}"]})
    for tag in [tag for image in images for tag in image["RepoTags"] or []]:
        if tag.startswith(f"{instance}/{app}:"):
            with suppress(NotFound, Conflict):
                await engine.delete(f"/images/{tag}", force=True)


def _check_scalable(app: str, release: Release | None, process: str) -> None:
    if release is None:
        raise LockstepError(f"nothing of {app} is live: push to it, then scale it")
    if process_of(release, process).kind is ProcessKind.WORKER and release.spec.dialect is Dialect.DEPLOIO:
        raise LockstepError(
            f"{process} is a worker job of {release.spec.dialect.value}: there is always exactly one of it"
        )


def told(verb: str, names: Iterable[str]) -> str:
    """ "config:set A B and 3 more"."""
    found = sorted(names)
    more = (f"and {len(found) - NAMES_TOLD} more",) if len(found) > NAMES_TOLD else ()
    return " ".join((verb, *found[:NAMES_TOLD], *more))


def _check_not_stopped(app: str, wanted: Iterable[str], stopped: frozenset[str]) -> None:
    for process in wanted:
        if stopped & {process, ALL}:
            raise LockstepError(
                f"{process} of {app} is stopped: start it with 'ps:start {app} {process}', then scale it"
            )


def _check_name(name: str) -> None:
    try:
        env_name(name)
    except ValueError as error:
        raise UsageError(str(error)) from None


def check_value(name: str, value: str) -> None:
    _check_name(name)
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise UsageError(f"the value of {name} is not text in UTF-8: encode it, for example with base64") from None
    if "\0" in value or size > VALUE_LIMIT:
        raise UsageError(f"the value of {name} is not possible: use at most {VALUE_LIMIT} bytes without a NUL")


def check_config(app: str, values: dict[str, str]) -> None:
    if len(values) > CONFIG_LIMIT:
        raise LockstepError(f"{app} would have {len(values)} config values and {CONFIG_LIMIT} are allowed")
    size = sum(len(name) + len(value.encode()) for name, value in values.items())
    if size > CONFIG_SIZE:
        raise LockstepError(f"the config of {app} would have {size} bytes and {CONFIG_SIZE} are allowed")
