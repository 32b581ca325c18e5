"""apps, apps:create, apps:info, apps:destroy."""

from __future__ import annotations

import click

from gitreceive.access import sees
from gitreceive.commands.base import app_argument, confirm, force_option, json_option, registry
from gitreceive.commands.desk import Desk
from runtime.model import MIB, Role
from runtime.parts import hosts_of


@registry.command("apps", role=Role.VIEWER)
@json_option
def apps(desk: Desk) -> None:
    """List the apps that your key may see.

    ssh paas@HOST -- apps -o json
    """
    with desk.parts.store.read() as tx:
        found = [app for app in tx.apps.all() if sees(desk.operator, app.name)]
    settings = desk.parts.settings
    rows = [
        {
            "app": app.name,
            "release": None if app.current_release is None else f"v{app.current_release}",
            "branch": app.branch,
            "url": settings.url_of(settings.host_of(app.name)),
            "created": app.created_at,
        }
        for app in found
    ]
    desk.show(rows, nothing="there are no apps yet: push one with git")


@registry.command("apps:create", role=Role.DEVELOPER, new_app="name")
@click.argument("name")
def create(desk: Desk, name: str) -> None:
    """Make an app before its first push, to set its config.

    ssh paas@HOST -- apps:create shop
    """
    desk.operations.apps.create(name)
    desk.say(f"{name} is made: set its config with 'config:set {name} KEY=VALUE', then push to it")


@registry.command("apps:info", role=Role.VIEWER)
@app_argument
@json_option
def info(desk: Desk, app: str) -> None:
    """Show an app: its release, where it answers, its processes.

    ssh paas@HOST -- apps:info shop
    """
    with desk.parts.store.read() as tx:
        row, release = tx.apps.get(app), tx.releases.current(app)
    facts: dict[str, object] = {"app": app, "created": row.created_at, "branch": row.branch, "release": None}
    facts["logs"] = f"{desk.operations.logs.size(app) / MIB:.1f} of {desk.parts.settings.log_budget / MIB:g} MiB"
    if release is not None:
        facts |= {
            "release": release.label,
            "commit": release.commit,
            "manifest": release.spec.dialect.value,
            "built_with": list(release.image.languages),
            "image": release.image.id,
            "urls": [desk.parts.settings.url_of(host) for host in hosts_of(desk.parts.settings, release)],
            "processes": [f"{process.name} x{process.replicas}" for process in release.spec.processes],
            "cron": [job.name for job in release.spec.crons],
            "redis": "yes" if release.spec.redis else "no",
        }
    desk.show_one(f"{app} information", facts)


@registry.command("apps:destroy", role=Role.ADMIN)
@app_argument
@force_option
async def destroy(desk: Desk, app: str, force: bool) -> None:
    """Remove an app with all that it has: processes, volumes, images, config, repository.

    ssh -t paas@HOST -- apps:destroy shop
    """
    await confirm(desk, app, force)
    await desk.operations.apps.destroy(app)
    desk.say(f"{app} is gone, with its volumes, images, config and repository")
