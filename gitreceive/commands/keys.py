"""keys, keys:add, keys:remove."""

from __future__ import annotations

import click

from gitreceive.access import FETCH, PUSH
from gitreceive.commands.base import json_option, registry
from gitreceive.commands.desk import Desk
from gitreceive.commands.hints import hint
from gitreceive.keyring import add_key, remove_key
from runtime.errors import UsageError
from runtime.model import Role

KEY_LIMIT = 16 * 1024  # bytes of a public key given on standard input


@registry.command("keys", role=Role.ADMIN, records=False)
@json_option
def keys(desk: Desk) -> None:
    """List the keys that may come in: what they may do, and when they were last used.

    ssh paas@HOST -- keys
    """
    with desk.parts.store.read() as tx:
        found = tx.keys.all()
    rows = [
        {
            "name": key.name,
            "role": key.role.value,
            "apps": list(key.apps) or "all",
            "commands": list(key.commands) or "all",
            "fingerprint": key.fingerprint,
            "added": key.added_at,
            "used": key.used_at,
        }
        for key in found
    ]
    desk.show(rows, nothing="there are no keys")


@registry.command("keys:add", role=Role.ADMIN, shows=("name", "role", "apps", "commands"))
@click.argument("name")
@click.argument("public", nargs=-1, metavar="[KEY]")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.DEVELOPER.value,
    show_default=True,
    help="A viewer looks, clones and fetches; a developer also pushes and changes apps; an admin does everything.",
)
@click.option("--app", "apps", multiple=True, help="Let it see only this app; may be given several times.")
@click.option(
    "--command",
    "commands",
    multiple=True,
    help=f"Let it run only this command, as far as its role does; may be given several times. "
    f"'{PUSH}' and '{FETCH}' are what git does.",
)
async def add(
    desk: Desk, name: str, public: tuple[str, ...], role: str, apps: tuple[str, ...], commands: tuple[str, ...]
) -> None:
    """Let a public key in; the key is an argument or comes on standard input.

    ssh paas@HOST -- keys:add anna < anna.pub

    ssh paas@HOST -- keys:add ci --app shop --command git-push --command deploys:log < ci.pub
    """
    for command in commands:
        _check_command(command)
    text = " ".join(public) or await desk.read_all(KEY_LIMIT, "the key")
    if not text.strip():
        raise UsageError("no key came: give it as an argument, or on standard input with '< KEY.pub'")
    key = add_key(desk.parts, name, text, Role(role), apps, commands)
    desk.say(f"{key.name} may come in as {key.role.value} with {key.fingerprint}")


@registry.command("keys:remove", role=Role.ADMIN, shows=("name",))
@click.argument("name")
def remove(desk: Desk, name: str) -> None:
    """Shut a key out, at once: sessions of it that are open end, as when their client goes away.

    ssh paas@HOST -- keys:remove anna
    """
    key = remove_key(desk.parts, name)
    why = f"the key '{name}' was removed by {desk.operator.name}"
    ended = desk.operations.callers.shut_out(key.fingerprint, why, desk.streams)
    told = f"; open sessions of it: {ended}, ended now" if ended else ""
    desk.say(f"{name} is shut out, with {key.fingerprint}{told}")


def _check_command(name: str) -> None:
    known = (PUSH, FETCH, *registry.tree().commands)
    if name not in known:
        near = hint(name, known, f"it is {PUSH}, {FETCH} or one that 'help' lists")
        raise UsageError(f"there is no command '{name[:60]}': {near}")
