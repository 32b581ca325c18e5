"""run, run:detached, run:list, run:logs, run:stop."""

from __future__ import annotations

import re
from typing import Any, Final

import click

from gitreceive.commands.base import app_argument, json_option, registry
from gitreceive.commands.cron import TIMED_OUT
from gitreceive.commands.desk import Desk
from gitreceive.commands.passing import PassingCommand
from gitreceive.terminal import bridge, raw, tty_of
from runtime.errors import UsageError
from runtime.model import Role, RunState, env_name
from runtime.runs.operations import RunOperations
from runtime.runs.values import OneOff, Order
from runtime.runs.words import command_of
from runtime.text import printable

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}  # seconds
LONGEST: Final = 30 * 86400  # seconds that a detached run may take
ENDING: Final = 120.0  # seconds for a run whose log has ended to be closed
VALUE_LIMIT: Final = 64 * 1024  # bytes of one value of --env
_SPAN: Final = re.compile(r"([0-9]{1,7})([smhd]?)")

command_argument = click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="CMD…")
env_option = click.option("-e", "--env", multiple=True, metavar="KEY=VALUE", help="Add to its environment; repeatable.")
process_option = click.option("-p", "--process", metavar="NAME", help="With this process' limits and port, not web's.")
run_argument = click.argument("number", metavar="RUN")


@registry.command("run", role=Role.DEVELOPER, kind=PassingCommand)
@app_argument
@command_argument
@env_option
@process_option
async def run(desk: Desk, app: str, words: tuple[str, ...], env: tuple[str, ...], process: str | None) -> int:
    """Run a command in a container of its own from the live release, and end with its exit code.

    Input, output and errors are the client's; ssh -t gives a terminal. A client that goes away ends the command.

    Several words are a program and its arguments, as ssh leaves them: it takes one level of quotes away. One word
    with blanks or signs in it, and all that follows a --, is a line for a shell:

    ssh paas@HOST -- run shop python manage.py migrate

    ssh paas@HOST -- run shop -- 'ls uploads | wc -l'
    """
    order = Order(app, command_of(words), desk.operator.name, process, _pairs(env), tty_of(desk.streams))
    with raw(desk.streams):
        async with desk.operations.runs.attached(order) as console:
            return await bridge(console, desk.streams)


@registry.command("run:detached", role=Role.DEVELOPER, kind=PassingCommand)
@app_argument
@command_argument
@env_option
@process_option
@click.option("--timeout", default="24h", show_default=True, help="It is ended after that: 90s, 15m, 24h, 7d.")
async def detached(
    desk: Desk, app: str, words: tuple[str, ...], env: tuple[str, ...], process: str | None, timeout: str
) -> None:
    """Start a command as 'run' does, without input, print its name and let it go on by itself.

    ssh paas@HOST -- run:detached shop --timeout 2h python manage.py reindex
    """
    order = Order(app, command_of(words), desk.operator.name, process, _pairs(env), timeout=_seconds(timeout))
    started = await desk.operations.runs.detached(order)
    desk.say(started.id)
    desk.complain(f"'run:logs {app} {started.id} -f' follows it, 'run:stop {app} {started.id}' ends it")


@registry.command("run:list", role=Role.DEVELOPER, records=False)
@app_argument
@click.option("-n", "--number", "limit", type=click.IntRange(1, 1000), default=30, show_default=True)
@json_option
def run_list(desk: Desk, app: str, limit: int) -> None:
    """List one-off runs, newest first: what they run, for whom, how they ended.

    ssh paas@HOST -- run:list shop
    """
    rows = [_row(run) for run in RunOperations(desk.parts).of(app, limit=limit)]
    desk.show(rows, nothing=f"nothing was run in {app} yet")


@registry.command("run:logs", role=Role.DEVELOPER, records=False)
@app_argument
@run_argument
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until the run ends.")
async def run_logs(desk: Desk, app: str, number: str, follow: bool) -> int:
    """Print what a detached run wrote, both streams. With -f end with its exit code.

    ssh paas@HOST -- run:logs shop run.7 -f
    """
    operations = RunOperations(desk.parts)
    found = operations.find(app, number)
    async for line in operations.log(found, follow=follow):
        desk.streams.write(f"{printable(line.text)}\n".encode(), error=line.error)
        await desk.streams.drain()
    if not follow:
        return 0
    ended = await operations.until_ended(found, ENDING)
    if ended.state is RunState.SUCCEEDED:
        return 0
    desk.complain(f" !     {ended.id}: {_result(ended)}")
    return TIMED_OUT if ended.state is RunState.TIMED_OUT else ended.exit_code or 1


@registry.command("run:stop", role=Role.DEVELOPER, shows=("number",))
@app_argument
@run_argument
async def run_stop(desk: Desk, app: str, number: str) -> None:
    """End a one-off run: SIGTERM, ten seconds, SIGKILL.

    ssh paas@HOST -- run:stop shop run.7
    """
    ended = await RunOperations(desk.parts).stop(app, number, desk.operator.name)
    desk.say(f"{ended.id}: {_result(ended)}")


def _pairs(words: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = [word.partition("=") for word in words]
    for name, equals, value in pairs:
        if not equals:
            raise UsageError(f"'{name[:40]}' is not KEY=VALUE, as in --env DEBUG=1")
        try:
            env_name(name)
        except ValueError as error:
            raise UsageError(str(error)) from None
        if "\0" in value or len(value.encode()) > VALUE_LIMIT:
            raise UsageError(f"the value of {name} is not possible: use at most {VALUE_LIMIT} bytes without a NUL")
    return tuple((name, value) for name, _, value in pairs)


def _seconds(text: str) -> float:
    match = _SPAN.fullmatch(text)
    seconds = int(match[1]) * UNITS[match[2] or "s"] if match is not None else 0
    if not 1 <= seconds <= LONGEST:
        raise UsageError(f"'{text[:40]}' is not a time limit: say one as in 90s, 15m, 24h or 7d, up to 30d")
    return float(seconds)


def _result(run: OneOff) -> str:
    code = "" if run.exit_code in (None, 0) else f", exit code {run.exit_code}"
    reason = "" if run.reason is None else f": {run.reason}"
    return f"{run.state.value}{code}{reason}"


def _row(run: OneOff) -> dict[str, Any]:
    took = None if run.started_at is None or run.ended_at is None else (run.ended_at - run.started_at).total_seconds()
    return {
        "run": run.id,
        "state": run.state.value,
        "command": run.command,
        "detached": "yes" if run.detached else "no",
        "process": run.process,
        "release": f"v{run.release}",
        "who": run.who,
        "since": run.started_at or run.created_at,
        "took": took,
        "exit": run.exit_code,
        "reason": run.reason,
    }
