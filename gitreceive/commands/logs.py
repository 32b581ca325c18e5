"""logs."""

from __future__ import annotations

import click

from gitreceive.commands.base import app_argument, json_option, registry
from gitreceive.commands.desk import Desk
from runtime.logs import AppLine
from runtime.model import Role

COLOURS = (36, 33, 32, 35, 34, 31)  # of processes, on a terminal


@registry.command("logs", role=Role.VIEWER)
@app_argument
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines, across deploys, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(0, 10000), default=100, show_default=True, help="Lines from before.")
@click.option("-p", "--process", help="Only this process, e.g. web or a worker's name.")
@json_option
async def logs(desk: Desk, app: str, follow: bool, lines: int, process: str | None) -> None:
    """Show what the processes of an app write, merged.

    ssh paas@HOST -- logs shop -f -p web
    """
    last = await desk.operations.logs.last(app, process, lines)
    for line in last:
        _print(desk, line)
    await desk.streams.drain()
    if not follow:
        if not last:
            desk.complain(f"nothing was written by {process or app} yet")
        return
    async for line in desk.operations.logs.follow(app, process, last[-1] if last else None):
        _print(desk, line)
        await desk.streams.drain()


def _print(desk: Desk, line: AppLine) -> None:
    if desk.as_json:
        import json

        desk.say(json.dumps({"at": line.moment, "process": line.process, "text": line.text}))
    elif desk.streams.terminal is not None:
        colour = COLOURS[sum(line.process.partition(".")[0].encode()) % len(COLOURS)]
        desk.say(f"\x1b[{colour}m{line.moment} app[{line.process}]:\x1b[0m {line.text}")
    else:
        desk.say(str(line))
