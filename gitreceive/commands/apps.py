"""apps, apps:create, apps:update, apps:info, apps:rename, apps:clone, apps:destroy."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from gitreceive.access import sees
from gitreceive.cloning import clone_app
from gitreceive.commands.appflags import change_of, delete_options, settings_options
from gitreceive.commands.base import app_argument, confirm, force_option, json_option, registry
from gitreceive.commands.desk import Desk
from runtime.errors import UsageError
from runtime.face import Face
from runtime.model import MIB, Role
from runtime.origins import given, origins
from runtime.parts import hosts_of
from runtime.renaming import rename_app
from runtime.store.faces import ALL
from runtime.story import Story
from runtime.update import Change, create_app, describe, update_app


@registry.command("apps", role=Role.VIEWER)
@json_option
def apps(desk: Desk) -> None:
    """List the apps that your key may see.

    ssh paas@HOST -- apps -o json
    """
    with desk.parts.store.read() as tx:
        found = [app for app in tx.apps.all() if sees(desk.operator, app.name)]
        faces = tx.faces.all()
    settings = desk.parts.settings
    rows = [
        {
            "app": app.name,
            "release": None if app.current_release is None else f"v{app.current_release}",
            "branch": app.branch,
            "url": settings.url_of(settings.host_of(app.name), https=faces[app.name].https_only),
            **_maintenance(faces[app.name]),
            "created": app.created_at,
        }
        for app in found
    ]
    desk.show(rows, nothing="there are no apps yet: push one with git")


@registry.command("apps:create", role=Role.DEVELOPER, new_app="name")
@click.argument("name")
@settings_options
def create(desk: Desk, name: str, **flags: Any) -> None:
    """Make an app before its first push, with settings that outrank its manifest.

    ssh paas@HOST -- apps:create shop --branch trunk --env GREETING=hello
    """
    change = change_of(flags)
    desk.note(describe(change))
    create_app(desk.parts, desk.operations.apps, name, change, desk.operator.name)
    desk.say(f"{name} is made: set its config with 'config:set {name} KEY=VALUE', then push to it")


@registry.command("apps:update", role=Role.DEVELOPER)
@app_argument
@settings_options
@delete_options
async def update(desk: Desk, app: str, **flags: Any) -> None:
    """Change settings that outrank the manifest; a live app goes to one new release with all.

    A value that is not given stays, a job is changed by its name. Nothing is built: the image stays. --env and
    --delete-env are config values; --replicas is what 'ps:scale' sets, and like --branch makes no release.

    ssh paas@HOST -- apps:update shop --worker-job-name clock --worker-job-command "'python clock.py'"
    """
    change = change_of(flags)
    if change == Change():
        raise UsageError(f"nothing is asked for: 'help apps:update' lists the flags, 'apps:info {app}' what is set")
    desk.note(describe(change))
    outcome = await update_app(desk.parts, desk.operations.deployer, app, change, desk.operator.name, Story(desk.say))
    if outcome is None:
        with desk.parts.store.read() as tx:
            live = tx.apps.get(app).current_release
        desk.say(f"{app} is updated; {'no new release was needed' if live else 'its first push takes the rest live'}")
    desk.warn_outranked(app, change.env)


@registry.command("apps:info", role=Role.VIEWER)
@app_argument
@json_option
def info(desk: Desk, app: str) -> None:
    """Show an app: its release, where it answers, and where each of its values comes from.

    ssh paas@HOST -- apps:info shop
    """
    with desk.parts.store.read() as tx:
        row, release = tx.apps.get(app), tx.releases.current(app)
        layer, scale, face = tx.apps.layer(app), tx.apps.scale(app), tx.faces.of(app)
        values = origins(release, layer, scale) if release is not None else given(layer, tx.apps.config(app), scale)
        stopped = sorted(tx.faces.stopped(app))
    facts: dict[str, object] = {
        "app": app,
        "handle": row.handle,
        "created": row.created_at,
        "branch": row.branch,
        "release": None,
    }
    facts["logs"] = f"{desk.operations.logs.size(app) / MIB:.1f} of {desk.parts.settings.log_budget / MIB:g} MiB"
    facts |= _maintenance(face)
    if release is not None:
        facts |= {
            "release": release.label,
            "commit": release.commit,
            "manifest": release.spec.dialect.value,
            "built_with": list(release.image.languages),
            "image": release.image.id,
            "urls": [
                desk.parts.settings.url_of(host, https=face.https_only)
                for host in hosts_of(desk.parts.settings, release, face)
            ],
            "processes": [f"{process.name} x{process.replicas}" for process in release.spec.processes],
            "stopped": ["all"] if ALL in stopped else stopped,
            "cron": [job.name for job in release.spec.crons],
            "redis": "yes" if release.spec.redis else "no",
        }
    rows = [dataclasses.asdict(known) for known in values]
    desk.show_one(f"{app} information", {**facts, "values": rows} if desk.as_json else facts)
    if rows and not desk.as_json:
        desk.say("")
        desk.show(rows, nothing="")


@registry.command("apps:rename", role=Role.DEVELOPER, new_app="new", shows=("app", "new"))
@app_argument
@click.argument("new", metavar="NEW")
@click.option("--keep-address", is_flag=True, help="Have it answer at its old address too.")
async def rename(desk: Desk, app: str, new: str, keep_address: bool) -> None:
    """Give an app another name, at once and without a release; its data and history go along.

    Its processes see the new name in LOCKSTEP_APP from its next release on.

    ssh paas@HOST -- apps:rename shop store
    """
    parts, deployer = desk.parts, desk.operations.deployer
    await rename_app(parts, deployer, app, new, desk.operator.name, keep_address=keep_address)
    desk.deed.app = new
    with parts.store.read() as tx:
        live = tx.apps.get(new).current_release
    desk.say(f"{app} is {new} now; push to it with 'git remote set-url paas ssh://…/{new}'")
    if keep_address:
        desk.say(f"it answers at its old address too, until 'domains:remove {new} {parts.settings.host_of(app)}'")
    if live is not None:
        desk.say(f"its processes have LOCKSTEP_APP={app} until its next release: 'ps:restart {new}' makes one")


@registry.command("apps:clone", role=Role.DEVELOPER, new_app="new", shows=("new",))
@app_argument
@click.argument("new", metavar="NEW")
@click.option("--with-secrets", is_flag=True, help="Copy the config values too, not their names alone.")
async def clone(desk: Desk, app: str, new: str, with_secrets: bool) -> None:
    """Make a new app with the commits and the settings of another; it runs after a push or 'rebuild'.

    Data is not copied: no volumes, no Redis keys, no logs, no releases. Nor are domains.

    ssh paas@HOST -- apps:clone shop shop-staging
    """
    missing = await clone_app(desk.parts, desk.operations.apps, desk.operator, app, new, with_values=with_secrets)
    desk.say(f"{new} has the commits and the settings of {app} and none of its data; nothing of it runs yet")
    if missing:
        desk.say(f"set its values: config:set {new} {' '.join(f'{name}=…' for name in missing)}")
    desk.say(f"take it live with 'rebuild {new}', or push to it")


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


def _maintenance(face: Face) -> dict[str, str | None]:
    return {
        "maintenance": "off" if face.maintenance is None else "on",
        "maintenance_message": face.maintenance or None,
    }
