"""ps, ps:scale."""

from __future__ import annotations

import click

from gitreceive.commands.base import app_argument, json_option, registry
from gitreceive.commands.desk import Desk
from runtime.errors import UsageError
from runtime.model import Role
from runtime.status import processes

MOST = 100  # replicas of one process


@registry.command("ps", role=Role.VIEWER)
@app_argument
@json_option
async def ps(desk: Desk, app: str) -> None:
    """Show what runs: each replica of each process, its release, its state and since when.

    ssh paas@HOST -- ps shop
    """
    found = await processes(desk.parts, app)
    rows = [
        {
            "process": item.name,
            "release": f"v{item.release}",
            "state": item.state,
            "since": item.since,
            "restarts": item.restarts,
            "last_exit": item.last_exit,
            "command": item.command,
        }
        for item in found
    ]
    desk.show(rows, nothing=f"nothing of {app} runs: push to it")


@registry.command("ps:scale", role=Role.DEVELOPER, shows=("amounts",))
@app_argument
@click.argument("amounts", nargs=-1, required=True, metavar="PROCESS=N…")
async def scale(desk: Desk, app: str, amounts: tuple[str, ...]) -> None:
    """Set how many of a process run, now and in later releases. It makes no release.

    ssh paas@HOST -- ps:scale shop web=2 worker=0
    """
    wanted = dict(_amount(word) for word in amounts)
    await desk.operations.apps.scale(app, wanted)
    for process, number in wanted.items():
        desk.say(f"{process} runs x{number}" if number else f"{process} is stopped")


def _amount(word: str) -> tuple[str, int]:
    process, equals, number = word.partition("=")
    if not equals or not number.isascii() or not number.isdigit() or int(number) > MOST:
        raise UsageError(f"'{word[:40]}' is not PROCESS=N with N from 0 to {MOST}, as in web=2")
    return process, int(number)
