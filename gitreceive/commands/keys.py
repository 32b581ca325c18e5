"""keys, keys:add, keys:remove."""

from __future__ import annotations

import click

from gitreceive.commands.base import json_option, registry
from gitreceive.commands.desk import Desk
from gitreceive.keyring import add_key, remove_key
from runtime.errors import UsageError
from runtime.model import Role

KEY_LIMIT = 16 * 1024  # bytes of a public key given on standard input


@registry.command("keys", role=Role.ADMIN)
@json_option
def keys(desk: Desk) -> None:
    """List the keys that may come in."""
    with desk.parts.store.read() as tx:
        found = tx.keys.all()
    rows = [
        {
            "name": key.name,
            "role": key.role.value,
            "apps": list(key.apps) or "all",
            "fingerprint": key.fingerprint,
            "added": key.added_at,
        }
        for key in found
    ]
    desk.show(rows, nothing="there are no keys")


@registry.command("keys:add", role=Role.ADMIN)
@click.argument("name")
@click.argument("public", nargs=-1, metavar="[KEY]")
@click.option("--role", type=click.Choice([role.value for role in Role]), default=Role.DEVELOPER.value)
@click.option("--app", "apps", multiple=True, help="Let it see only this app; may be given several times.")
async def add(desk: Desk, name: str, public: tuple[str, ...], role: str, apps: tuple[str, ...]) -> None:
    """Let a public key in; the key is an argument or comes on standard input.

    ssh paas@HOST -- keys:add anna < anna.pub
    """
    text = " ".join(public)
    while not public and len(text) < KEY_LIMIT and (chunk := await desk.streams.read()):
        text += chunk.decode(errors="replace")
    if not text.strip():
        raise UsageError("no key came: give it as an argument, or on standard input with '< KEY.pub'")
    key = add_key(desk.parts, name, text, Role(role), apps, desk.operator.name)
    desk.say(f"{key.name} may come in as {key.role.value} with {key.fingerprint}")


@registry.command("keys:remove", role=Role.ADMIN)
@click.argument("name")
def remove(desk: Desk, name: str) -> None:
    """Shut a key out, at once."""
    remove_key(desk.parts, name, desk.operator.name)
    desk.say(f"{name} is shut out")
