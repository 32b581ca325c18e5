"""enter."""

from __future__ import annotations

import click

from gitreceive.commands.base import app_argument, registry
from gitreceive.commands.desk import Desk
from gitreceive.commands.passing import PassingCommand
from gitreceive.terminal import bridge, raw, tty_of
from runtime.errors import LockstepError
from runtime.model import Role
from runtime.runs.visits import Visit, names_process, visiting
from runtime.runs.words import ENDS_OPTIONS, command_of


@registry.command("enter", role=Role.DEVELOPER, kind=PassingCommand)
@app_argument
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[PROCESS[.N]] [CMD…]")
@click.option("-w", "--worker", metavar="NAME", help="The process, in place of PROCESS.")
async def enter(desk: Desk, app: str, words: tuple[str, ...], worker: str | None) -> int:
    """Run a command beside a live process, in its container; without CMD a shell.

    It is web.1 unless named, and -t gives a terminal. Ends with the command's own exit code; a client that goes away
    takes the command along. CMD means the same as in 'run'. Shorter: ssh APP@HOST, ssh APP--WORKER@HOST.

    ssh -t paas@HOST -- enter shop mailer.2 env
    """
    process, rest = worker, words
    if worker is None and words and words[0] != ENDS_OPTIONS:
        process, rest = words[0], words[1:]
        if not names_process(desk.parts, app, process):
            raise LockstepError(
                f"{app} has no process '{process[:40]}': for a command in web say 'enter {app} web CMD'"
            )
    desk.note(process or "")
    command = command_of(rest) if rest else None
    visit = Visit(app, desk.operator.name, process, command, tty_of(desk.streams))
    with raw(desk.streams):
        async with visiting(desk.parts, visit) as console:
            return await bridge(console, desk.streams)
