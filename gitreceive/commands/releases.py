"""releases, releases:info, rollback, rebuild."""

from __future__ import annotations

import click

from gitreceive.commands.base import app_argument, json_option, registry
from gitreceive.commands.desk import Desk
from runtime.errors import UsageError
from runtime.history import roll_back
from runtime.model import Role
from runtime.story import Story


@registry.command("releases", role=Role.VIEWER)
@app_argument
@click.option("-n", "--number", "limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@json_option
def releases(desk: Desk, app: str, limit: int) -> None:
    """List an app's releases, newest first; the live one is marked.

    ssh paas@HOST -- releases shop
    """
    with desk.parts.store.read() as tx:
        current = tx.apps.get(app).current_release
        found = tx.releases.of(app, limit=limit)
    rows = [
        {
            "release": release.label,
            "state": "live" if release.number == current else "was live" if live_at else "never live",
            "commit": release.commit[:7],
            "what": release.description,
            "who": release.created_by,
            "when": release.created_at,
        }
        for release, live_at in found
    ]
    desk.show(rows, nothing=f"{app} has no releases yet: push to it")


@registry.command("releases:info", role=Role.VIEWER)
@app_argument
@click.argument("release", metavar="vN")
@json_option
def info(desk: Desk, app: str, release: str) -> None:
    """Show one release: image, processes, cron, and the names of its config.

    ssh paas@HOST -- releases:info shop v3
    """
    with desk.parts.store.read() as tx:
        found = tx.releases.get(app, _number(release))
        current = tx.apps.get(app).current_release
    facts = {
        "release": found.label,
        "live": "yes" if found.number == current else "no",
        "what": found.description,
        "who": found.created_by,
        "when": found.created_at,
        "commit": found.commit,
        "image": found.image.id,
        "built_with": list(found.image.languages),
        "manifest": found.spec.dialect.value,
        "processes": [f"{process.name} x{process.replicas}" for process in found.spec.processes],
        "cron": [f"{job.name} ({job.schedule})" for job in found.spec.crons],
        "config": sorted(found.config),
    }
    desk.show_one(f"{app} {found.label} information", facts)


@registry.command("rollback", role=Role.DEVELOPER, shows=("release",))
@app_argument
@click.argument("release", required=False, metavar="[vN]")
async def rollback(desk: Desk, app: str, release: str | None) -> None:
    """Go back to a release that was live, config included; without vN to the one before.

    ssh paas@HOST -- rollback shop v3
    """
    number = None if release is None else _number(release)
    operations = desk.operations
    await roll_back(desk.parts, operations.deployer, app, number, desk.operator.name, Story(desk.say))


@registry.command("rebuild", role=Role.DEVELOPER)
@app_argument
@click.option("--no-cache", is_flag=True, help="Build every layer anew.")
async def rebuild(desk: Desk, app: str, no_cache: bool) -> None:
    """Build the live commit again, on the base images of today, and take it live.

    ssh paas@HOST -- rebuild shop --no-cache
    """
    await desk.operations.pushes.rebuild(app, desk.operator.name, Story(desk.say), no_cache=no_cache)


def _number(text: str) -> int:
    digits = text.removeprefix("v")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        raise UsageError(f"'{text[:20]}' is not a release: give it as v3 or 3")
    return int(digits)
