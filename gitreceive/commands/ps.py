"""ps, ps:scale, ps:restart, ps:stop, ps:start."""

from __future__ import annotations

from typing import Any

import click

from gitreceive.commands.base import app_argument, registry
from gitreceive.commands.desk import Desk
from runtime import processes as processes_
from runtime.errors import UsageError
from runtime.idle import Idle
from runtime.model import MIB, Role
from runtime.status import CRASHES, UNKNOWN, Load, loads, processes
from runtime.story import Story

MOST = 100  # replicas of one process


@registry.command("ps", role=Role.VIEWER)
@app_argument
@click.option("--stats", is_flag=True, help="Also what each uses of its processors and its memory.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json", "stats"]), default="text", help="stats: text with --stats.",
)  # fmt: skip
async def ps(desk: Desk, app: str, stats: bool, output: str) -> None:
    """Show what runs: each replica of each process, its release, its state and since when.

    A state of 'crash loop' means 3 ends or more within 10 minutes that nobody asked for. A figure that could not
    be read is 'unknown'; more than 100 % is what a size without a ceiling allows.

    ssh paas@HOST -- ps shop -o stats
    """
    desk.as_json = output == "json"
    found = await processes(desk.parts, app)
    used = await loads(desk.parts, app, found) if stats or output == "stats" else None
    rows = [
        {
            "process": item.name,
            "release": f"v{item.release}",
            "state": f"{CRASHES} ({item.restarts})" if item.state == CRASHES and not desk.as_json else item.state,
            "since": item.since,
            "restarts": item.restarts,
            "last_exit": item.last_exit,
            **({"command": item.command} if used is None else _figures(used.get(item.name), desk.as_json)),
        }
        for item in found
    ]
    desk.show(rows, nothing=f"nothing of {app} runs: push to it")


def _figures(load: Load | None, as_json: bool) -> dict[str, Any]:
    """What a replica uses; nothing for one that does not run."""
    if as_json:
        return {
            "cpu": load and (UNKNOWN if load.usage is None else round(load.usage.cpu, 3)),
            "cpu_limit": load and load.limits.cpu,
            "memory": load and (UNKNOWN if load.usage is None else load.usage.memory),
            "memory_limit": load and load.limits.memory,
        }
    if load is None or load.usage is None:
        return dict.fromkeys(("cpu", "cpu_%", "memory", "memory_%"), load and UNKNOWN)
    used, limits = load.usage, load.limits
    return {
        "cpu": f"{used.cpu:.2f} of {limits.cpu:g}",
        "cpu_%": f"{100 * used.cpu / limits.cpu:.0f}",
        "memory": f"{used.memory / MIB:.0f}M of {limits.memory // MIB}M",
        "memory_%": f"{100 * used.memory / limits.memory:.0f}",
    }


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
        desk.say(f"{process} runs x{number}" if number else f"{process} is {Idle.SCALED.value}")


@registry.command("ps:restart", role=Role.DEVELOPER, shows=("process",))
@app_argument
@click.argument("process", required=False)
async def restart(desk: Desk, app: str, process: str | None) -> None:
    """Start the processes of the live release anew, without a lost request.

    The app as a whole, or its web, restarts as a deploy of the same image and config: the new web is proved
    healthy before the old one drains, and the workers restart with it. A worker named alone restarts where it is,
    the old one ends before the new one starts, and no release is made of it.

    ssh paas@HOST -- ps:restart shop mailer
    """
    parts, deployer = desk.parts, desk.operations.deployer
    await processes_.restart(parts, deployer, app, process, desk.operator.name, Story(desk.say))
    desk.say(f"{process or app} is restarted")


@registry.command("ps:stop", role=Role.DEVELOPER, shows=("names",))
@app_argument
@click.argument("names", nargs=-1, metavar="[PROCESS…]")
async def stop(desk: Desk, app: str, names: tuple[str, ...]) -> None:
    """Stop processes, or all, until ps:start; a deploy does not start them.

    Visitors of a stopped web get a page that says so, with 503. Cron jobs go on: 'cron:suspend' stops them.

    ssh paas@HOST -- ps:stop shop mailer
    """
    for name in await processes_.stop(desk.parts, desk.operations.deployer, app, names):
        desk.say(f"{name} is stopped")


@registry.command("ps:start", role=Role.DEVELOPER, shows=("names",))
@app_argument
@click.argument("names", nargs=-1, metavar="[PROCESS…]")
async def start(desk: Desk, app: str, names: tuple[str, ...]) -> None:
    """Start what ps:stop stopped, as many as before, and see it up.

    ssh paas@HOST -- ps:start shop
    """
    for item in await processes_.start(desk.parts, desk.operations.deployer, app, names):
        desk.say(f"{item.process} runs x{item.replicas}" if item.replicas else _scaled(app, item.process))


def _scaled(app: str, process: str) -> str:
    return f"{process} is {Idle.SCALED.value}: 'ps:scale {app} {process}=1' runs one"


def _amount(word: str) -> tuple[str, int]:
    process, equals, number = word.partition("=")
    if not equals or not number.isascii() or not number.isdigit() or int(number) > MOST:
        raise UsageError(f"'{word[:40]}' is not PROCESS=N with N from 0 to {MOST}, as in web=2")
    return process, int(number)
