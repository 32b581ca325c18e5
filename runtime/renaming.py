"""Another name for an app: its rows and its folders follow, its processes and its data are not touched.

The rename is one transaction. The folders follow right after it; a server that ends in between moves them when it
starts. What is on the engine and in Redis is named by the app's handle, which stays.
"""

from __future__ import annotations

from runtime.apps import check_app_name, check_name_free
from runtime.deployer import Deployer
from runtime.deploylog import DeployLogs
from runtime.errors import LockstepError, StoreError, UsageError, explain
from runtime.folders import move_folder
from runtime.front import check_room, see_hosts
from runtime.locks import Locked
from runtime.parts import Parts, live_route
from runtime.routes import Route
from runtime.scheduler.runlog import ONE_OFF, RunLogs
from runtime.store import Transaction


async def rename_app(
    parts: Parts, deployer: Deployer, app: str, new: str, who: str, *, keep_address: bool = False
) -> None:
    """Have `app` be called `new`, at once and without a release; with `keep_address` it answers at the old one too.

    Raises UsageError for a name that is not possible, LockstepError when it is taken, or when something of the app
    is under way that was begun by its old name.
    """
    check_app_name(new)
    if new == app:
        raise UsageError(f"{app} has that name already: give another")
    async with deployer.locks.soon(app) as free:
        if not free:
            raise Locked(f"{app} is being deployed: rename it when that has ended")
        with parts.store.write() as tx:
            tx.apps.get(app)
            check_name_free(tx, parts.settings, new, app)
            _check_calm(tx, app)
            old = live_route(tx, parts.settings, app)
            tx.apps.rename(app, new)
            tx.keys.rename_app(app, new)
            tx.alerts.rename_app(app, new)
            if keep_address:
                check_room(tx, new, 1)
                tx.faces.add_domain(new, parts.settings.host_of(app), who, parts.clock())
        move_folders(parts)  # no pause from the row to here, in which something could be written under the old name
        parts.wake_scheduler()
        try:
            await _move_route(parts, new, old)
        except LockstepError as error:
            raise LockstepError(f"{app} is {new} now, but its route is not in place yet: {explain(error)}") from error


def move_folders(parts: Parts) -> None:
    """Give the repository and the logs of each app that was renamed its name; where it was broken off, it goes on.

    Nothing may be written meanwhile under the old name. Raises StoreError.
    """
    settings = parts.settings
    with parts.store.read() as tx:
        moving = tx.apps.moving()
    for app, old in moving.items():
        try:
            move_folder(settings.repository_of(old), settings.repository_of(app))
            DeployLogs(settings.logs).rename(old, app)
            for logs in (RunLogs(settings.logs), RunLogs(settings.logs, ONE_OFF)):
                logs.rename(old, app)
            parts.logbook.rename(old, app)
        except OSError as error:
            raise StoreError(
                f"the folders of {app} still have its old name {old} ({error.strerror}): restart the server"
            ) from error
        with parts.store.write() as tx:
            tx.apps.moved(app)


def _check_calm(tx: Transaction, app: str) -> None:
    """Nothing is under way that knows the app by its name."""
    if deploys := tx.deploys.unfinished(app):
        raise Locked(f"deploy {deploys[-1].id} of {app} is under way: rename it when that has ended")
    if crons := tx.cron.unfinished(app):
        run = crons[-1]
        raise LockstepError(
            f"run {run.id} of {run.job} is under way: wait for its end or 'cron:cancel {app} {run.id}', then rename it"
        )
    if runs := tx.runs.open(app):
        raise LockstepError(
            f"{runs[-1].id} of {app} is under way: wait for its end or 'run:stop {app} {runs[-1].id}', then rename it"
        )


async def _move_route(parts: Parts, new: str, old: Route | None) -> None:
    with parts.store.read() as tx:
        target = live_route(tx, parts.settings, new)
    if target is not None:
        await parts.router.point(target)
        await see_hosts(parts, target.hosts, () if old is None else old.hosts)
