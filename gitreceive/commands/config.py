"""config, config:get, config:set, config:unset, config:import, config:export, config:history."""

from __future__ import annotations

import asyncio

import click

from gitreceive.access import require
from gitreceive.commands.appflags import pair
from gitreceive.commands.base import app_argument, json_option, registry
from gitreceive.commands.desk import Desk, Verbatim
from runtime.apps import CONFIG_LIMIT, VALUE_LIMIT, told
from runtime.deployer import Outcome
from runtime.envfile import parse, render_env, render_json
from runtime.errors import LockstepError, UsageError
from runtime.model import Role
from runtime.story import Story

IMPORT_LIMIT = 1024 * 1024  # bytes of a file of values


@registry.command("config", role=Role.VIEWER)
@app_argument
@click.option("--show", is_flag=True, help="Print the values; it takes a developer's key.")
@json_option
def config(desk: Desk, app: str, show: bool) -> None:
    """List an app's config values, masked.

    ssh paas@HOST -- config shop --show
    """
    if show:
        require(desk.operator, Role.DEVELOPER, app, command="config")
    values = _values(desk, app)
    rows = [{"name": name, "value": Verbatim(value) if show else "***"} for name, value in values.items()]
    desk.show(rows, nothing=f"{app} has no config: set some with 'config:set {app} KEY=VALUE'")


@registry.command("config:get", role=Role.DEVELOPER, records=False)
@app_argument
@click.argument("keys", nargs=-1, required=True, metavar="KEY…")
def config_get(desk: Desk, app: str, keys: tuple[str, ...]) -> None:
    """Print values and nothing else, each on lines of its own.

    ssh paas@HOST -- config:get shop DATABASE_URL
    """
    values = _values(desk, app)
    missing = [key for key in keys if key not in values]
    if missing:
        raise LockstepError(f"{missing[0][:60]} is not set on {app}: 'config {app}' lists what is")
    for key in keys:
        desk.say(values[key])


@registry.command("config:set", role=Role.DEVELOPER)
@app_argument
@click.argument("values", nargs=-1, metavar="KEY=VALUE…")
@click.option("--stdin", "piped", metavar="KEY", help="Take this one's value from standard input.")
async def config_set(desk: Desk, app: str, values: tuple[str, ...], piped: str | None) -> None:
    """Set values; a live app goes to a new release with all of them at once.

    ssh takes one level of quotes away, so quote a value with spaces twice. What comes on standard input is taken
    as it is, but for one newline at its end.

    ssh paas@HOST -- config:set shop "GREETING='hello world'" LEVEL=3

    ssh paas@HOST -- config:set shop --stdin TLS_KEY < key.pem
    """
    pairs = dict(pair(word) for word in values)
    if piped is not None:
        text = await desk.read_all(VALUE_LIMIT + 1, f"the value of {piped[:60]}")
        pairs[piped] = text.removesuffix("\n")
    if not pairs:
        raise UsageError("no value came: give KEY=VALUE, or --stdin KEY with the value on standard input")
    await _set(desk, app, pairs, "config:set")


@registry.command("config:unset", role=Role.DEVELOPER)
@app_argument
@click.argument("names", nargs=-1, required=True, metavar="KEY…")
async def config_unset(desk: Desk, app: str, names: tuple[str, ...]) -> None:
    """Remove values; a live app goes to a new release without them.

    ssh paas@HOST -- config:unset shop GREETING LEVEL
    """
    desk.note(told("", names).strip())
    _tell(desk, app, await desk.operations.apps.unset_config(app, names, desk.operator.name, Story(desk.say)))


@registry.command("config:import", role=Role.DEVELOPER)
@app_argument
async def config_import(desk: Desk, app: str) -> None:
    """Set all values of a file, in one release; what the file does not name stays.

    The file comes on standard input: lines as in a .env file, with quotes, comments and 'export', or a JSON object
    of texts. Variables in values are not filled in.

    ssh paas@HOST -- config:import shop < .env
    """
    text = await desk.read_all(IMPORT_LIMIT, "the file")
    values = await asyncio.to_thread(parse, text, CONFIG_LIMIT)
    if not values:
        raise UsageError("no values came: send a file on standard input, as in 'config:import APP < .env'")
    await _set(desk, app, values, "config:import")


@registry.command("config:export", role=Role.DEVELOPER, records=False)
@app_argument
@click.option("--format", "form", type=click.Choice(["env", "json"]), default="env", show_default=True)
def config_export(desk: Desk, app: str, form: str) -> None:
    """Print all values, so that config:import can read them.

    ssh paas@HOST -- config:export shop > shop.env
    """
    render = render_json if form == "json" else render_env
    desk.streams.write(render(_values(desk, app)).encode())


@registry.command("config:history", role=Role.VIEWER)
@app_argument
@click.option("-n", "--number", "limit", type=click.IntRange(1, 500), default=30, show_default=True)
@json_option
def config_history(desk: Desk, app: str, limit: int) -> None:
    """List who changed which values and when, newest first; rollbacks change them too. Values are not kept.

    ssh paas@HOST -- config:history shop -n 5
    """
    with desk.parts.store.read() as tx:
        found = tx.apps.config_changes(app, limit=limit)
    rows = [
        {"when": change.at, "who": change.who, "what": change.what}
        | {verb: [name for name, done in change.names.items() if done == verb] for verb in ("set", "changed", "unset")}
        for change in found
    ]
    desk.show(rows, nothing=f"the config of {app} was never changed")


async def _set(desk: Desk, app: str, values: dict[str, str], verb: str) -> None:
    desk.note(told("", values).strip())
    story, who = Story(desk.say), desk.operator.name
    _tell(desk, app, await desk.operations.apps.set_config(app, values, who, story, verb=verb))
    desk.warn_outranked(app, values)


def _tell(desk: Desk, app: str, outcome: Outcome | None) -> None:
    if outcome is None:
        with desk.parts.store.read() as tx:
            live = tx.apps.get(app).current_release
        desk.say("nothing changed: the values are what they were" if live else f"stored for the first push to {app}")


def _values(desk: Desk, app: str) -> dict[str, str]:
    with desk.parts.store.read() as tx:
        return tx.apps.config(app)
