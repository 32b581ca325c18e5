"""logs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

import click

from gitreceive.commands.base import app_argument, json_option, registry
from gitreceive.commands.desk import Desk
from runtime.logbook.entry import Entry, LogKind
from runtime.logbook.wanted import Wanted, kinds_in, release_in, since_in
from runtime.model import Role
from runtime.text import printable

COLOURS: Final = (36, 33, 32, 35, 34, 31)  # of processes, on a terminal
SOME: Final = 100  # lines from before
MOST: Final = 10000
DEPLOYS: Final = 1000  # the newest, among which those of a release are looked for


@registry.command("logs", role=Role.VIEWER)
@app_argument
@click.option(
    "-f", "--follow", "--tail", "follow", is_flag=True, help="Go on with new lines, across deploys, until Ctrl-C."
)
@click.option(
    "-n",
    "--lines",
    "--num",
    "lines",
    type=click.IntRange(0, MOST),
    help=f"Lines from before; {SOME}, or with --since the last {MOST}.",
)
@click.option("-p", "--process", help="Only this process, e.g. web, web.1, or the name of a worker, job or hook.")
@click.option(
    "-t", "--kind", "kinds", multiple=True, metavar="KIND", help=f"Only these: {', '.join(LogKind)}, all. Repeatable."
)
@click.option("--since", metavar="MOMENT", help="Only from then on: 10m, 1h30m, 3d ago, or 2026-01-02T03:04:05Z.")
@click.option("--release", metavar="vN", help="Only lines of this release.")
@json_option
async def logs(
    desk: Desk,
    app: str,
    follow: bool,
    lines: int | None,
    process: str | None,
    kinds: tuple[str, ...],
    since: str | None,
    release: str | None,
) -> None:
    """Show what an app wrote, merged, also by processes that are gone.

    Without -t these are the lines of the app's own code: app (web and workers), cron and predeploy (hooks).
    What deploys told is in build and deploy, a line for each request in router.

    ssh paas@HOST -- logs shop -f -p web
    """
    wanted = _wanted(desk, app, process, kinds, since, release)
    if process is not None:
        await desk.operations.logs.check_process(app, process)
    limit = lines if lines is not None else SOME if since is None else MOST
    last, place = await desk.operations.logs.last(app, wanted, limit)
    await _print(desk, last)
    if not follow:
        if not last and limit:
            desk.complain(f"nothing that fits was written by {process or app} yet: '-t all' shows every kind of line")
        return
    async for found in desk.operations.logs.follow(app, wanted, place):
        await _print(desk, found)
    desk.complain(f"{app} is gone, and its log with it")


def _wanted(
    desk: Desk, app: str, process: str | None, kinds: tuple[str, ...], since: str | None, release: str | None
) -> Wanted:
    number = None if release is None else release_in(release)
    deploys: Iterable[int] = ()
    if number is not None:
        with desk.parts.store.read() as tx:
            tx.releases.get(app, number)
            deploys = [deploy.id for deploy in tx.deploys.of(app, limit=DEPLOYS) if deploy.release == number]
    return Wanted(
        kinds=kinds_in(kinds),
        process=process,
        since=None if since is None else since_in(since, desk.parts.clock()),
        release=number,
        deploys=frozenset(deploys),
    )


async def _print(desk: Desk, entries: Iterable[Entry]) -> None:
    """At the pace of the client."""
    for entry in entries:
        desk.say(_line(desk, entry))
        await desk.streams.drain()


def _line(desk: Desk, entry: Entry) -> str:
    if desk.as_json:
        return json.dumps(
            {
                "at": f"{entry.moment[:23]}Z",
                "kind": entry.kind.value,
                "process": entry.process,
                "release": entry.release,
                "deploy": entry.deploy,
                "stream": entry.stream.value,
                "text": printable(entry.text),
            }
        )
    if desk.streams.terminal is None:
        return str(entry)
    colour = COLOURS[sum(entry.process.partition(".")[0].encode()) % len(COLOURS)]
    return f"\x1b[{colour}m{entry.head}\x1b[0m {printable(entry.text)}"
