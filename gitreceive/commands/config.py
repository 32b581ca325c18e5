"""config, config:set, config:unset."""

from __future__ import annotations

import click

from gitreceive.access import require
from gitreceive.commands.appflags import pair
from gitreceive.commands.base import app_argument, json_option, registry
from gitreceive.commands.desk import Desk
from runtime.model import Role
from runtime.story import Story


@registry.command("config", role=Role.VIEWER)
@app_argument
@click.option("--show", is_flag=True, help="Print the values; it takes a developer's key.")
@json_option
def config(desk: Desk, app: str, show: bool) -> None:
    """List an app's config values, masked."""
    if show:
        require(desk.operator, Role.DEVELOPER, app)
    with desk.parts.store.read() as tx:
        values = tx.apps.config(app)
    rows = [{"name": name, "value": value if show else "***"} for name, value in values.items()]
    desk.show(rows, nothing=f"{app} has no config: set some with 'config:set {app} KEY=VALUE'")


@registry.command("config:set", role=Role.DEVELOPER)
@app_argument
@click.argument("values", nargs=-1, required=True, metavar="KEY=VALUE…")
async def config_set(desk: Desk, app: str, values: tuple[str, ...]) -> None:
    """Set values; a live app goes to a new release with all of them at once.

    ssh takes one level of quotes away, so quote a value with spaces twice:

    ssh paas@HOST -- config:set shop "GREETING='hello world'"
    """
    pairs = dict(pair(word) for word in values)
    await _change(desk, app, pairs, ())


@registry.command("config:unset", role=Role.DEVELOPER)
@app_argument
@click.argument("names", nargs=-1, required=True, metavar="KEY…")
async def config_unset(desk: Desk, app: str, names: tuple[str, ...]) -> None:
    """Remove values; a live app goes to a new release without them."""
    await _change(desk, app, {}, names)


async def _change(desk: Desk, app: str, values: dict[str, str], unset: tuple[str, ...]) -> None:
    story, apps, who = Story(desk.say), desk.operations.apps, desk.operator.name
    outcome = await (apps.unset_config(app, unset, who, story) if unset else apps.set_config(app, values, who, story))
    if outcome is None:
        with desk.parts.store.read() as tx:
            live = tx.apps.get(app).current_release
        desk.say("nothing changed: the values are what they were" if live else f"stored for the first push to {app}")
