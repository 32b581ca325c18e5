"""help and version."""

from __future__ import annotations

import json
from importlib.metadata import version

import click

from gitreceive.commands.base import CONTEXT, GatedCommand, json_option, registry
from gitreceive.commands.desk import Desk
from runtime.model import Role


@registry.command("help", role=Role.VIEWER)
@click.argument("command", required=False)
def help_(desk: Desk, command: str | None) -> None:
    """List the commands, or explain one.

    ssh paas@HOST -- help config:set
    """
    tree = registry.tree()
    if command is not None:
        tree.require_command(command)
        found = tree.commands[command]
        desk.say(found.get_help(click.Context(found, info_name=command, **CONTEXT)))
        return
    desk.say("Commands of Lockstep, run as: ssh -p PORT paas@HOST -- COMMAND\n")
    width = max(len(name) for name in tree.commands) + 2
    noun = ""
    for name, found in tree.commands.items():
        assert isinstance(found, GatedCommand)
        if found.noun != noun:
            noun = found.noun
            desk.say(f"{noun.rstrip('_')}:")
        desk.say(f"  {name:<{width}}{_summary(found)}")
    desk.say("\n'help COMMAND' explains one; every listing takes -o json. APP may be given as --app NAME.")


@registry.command("version", role=Role.VIEWER)
@json_option
def version_(desk: Desk) -> None:
    """Print the version of Lockstep.

    ssh paas@HOST -- version
    """
    found = version("lockstep-paas")
    desk.say(json.dumps({"version": found}) if desk.as_json else f"lockstep {found}")


def _summary(command: click.Command) -> str:
    """The first line of a command's help."""
    return (command.help or "").partition("\n")[0]
