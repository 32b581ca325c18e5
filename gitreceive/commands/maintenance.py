"""maintenance:on, maintenance:off."""

from __future__ import annotations

import click

from gitreceive.commands.base import app_argument, registry
from gitreceive.commands.desk import Desk
from runtime import front
from runtime.model import Role


@registry.command("maintenance:on", role=Role.DEVELOPER)
@app_argument
@click.option("--message", default="", metavar="TEXT", help="What visitors read; one line.")
async def on(desk: Desk, app: str, message: str) -> None:
    """Answer all requests of an app with a page and 503; its workers and cron jobs go on.

    ssh paas@HOST -- maintenance:on shop --message "'Back at noon'"
    """
    await front.set_maintenance(desk.parts, desk.operations.deployer, app, message)
    desk.say(f"{app} is in maintenance, also after deploys; its processes and cron jobs go on")


@registry.command("maintenance:off", role=Role.DEVELOPER)
@app_argument
async def off(desk: Desk, app: str) -> None:
    """Let an app answer its visitors again.

    ssh paas@HOST -- maintenance:off shop
    """
    await front.set_maintenance(desk.parts, desk.operations.deployer, app, None)
    desk.say(f"{app} answers its visitors again")
