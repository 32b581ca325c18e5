"""cron, cron:run, cron:history, cron:logs, cron:cancel, cron:suspend, cron:resume."""

from __future__ import annotations

from typing import Any

import click

from gitreceive.commands.base import app_argument, json_option, registry
from gitreceive.commands.desk import Desk
from runtime.engine.logs import LogLine
from runtime.errors import UsageError
from runtime.model import CronRun, Role, RunState
from runtime.scheduler.operations import CronOperations
from runtime.text import printable

TIMED_OUT = 124  # the exit code of a run that was stopped at its time limit, as timeout(1) has it
END_DEADLINE = 7 * 24 * 3600.0  # seconds that `-f` waits for a run's end

run_argument = click.argument("number", type=int, metavar="RUN")
job_argument = click.argument("job", required=False)
follow_option = click.option("-f", "--follow", is_flag=True, help="Go on with new lines until the run ends.")


@registry.command("cron", role=Role.VIEWER)
@app_argument
@json_option
def cron(desk: Desk, app: str) -> None:
    """List the cron jobs of the live release: last result, next time, state.

    ssh paas@HOST -- cron shop
    """
    rows = [
        {
            "job": job.name,
            "schedule": job.schedule,
            "zone": job.timezone,
            "state": job.state,
            "last": None if job.last is None else _result(job.last),
            "last_at": None if job.last is None else job.last.slot,
            "next_due": job.next_due,
            "command": job.command,
        }
        for job in _operations(desk).jobs(app)
    ]
    desk.show(rows, nothing=f"the live release of {app} has no cron jobs")


@registry.command("cron:run", role=Role.DEVELOPER, shows=("job",))
@app_argument
@click.argument("job")
@follow_option
async def run(desk: Desk, app: str, job: str, follow: bool) -> int:
    """Run a job now. With -f print what it writes, and end with its exit code.

    ssh paas@HOST -- cron:run shop nightly -f
    """
    started = await _operations(desk).run_now(app, job, desk.operator.name)
    if not follow:
        desk.say(f"run {started.id} of {job} is due: 'cron:logs {app} {started.id} -f' follows it")
        return 0
    desk.complain(f"-----> Run {started.id} of {job}")
    return await _follow(desk, app, started.id)


@registry.command("cron:history", role=Role.VIEWER)
@app_argument
@job_argument
@click.option("-n", "--number", "limit", type=click.IntRange(1, 1000), default=30, show_default=True)
@json_option
def history(desk: Desk, app: str, job: str | None, limit: int) -> None:
    """List runs, newest first, skipped ones too: what started them, how they ended.

    ssh paas@HOST -- cron:history shop nightly -n 10
    """
    rows = [_row(run) for run in _operations(desk).history(app, job, limit=limit)]
    desk.show(rows, nothing=f"no cron job of {app} was due yet")


@registry.command("cron:logs", role=Role.VIEWER)
@app_argument
@run_argument
@follow_option
async def logs(desk: Desk, app: str, number: int, follow: bool) -> int:
    """Print what a run wrote, both streams. With -f end with its exit code.

    ssh paas@HOST -- cron:logs shop 42 -f
    """
    if follow:
        return await _follow(desk, app, number)
    async for line in _operations(desk).log(app, number):
        _print(desk, line)
    return 0


@registry.command("cron:cancel", role=Role.DEVELOPER, shows=("number",))
@app_argument
@click.argument("number", type=int, required=False, metavar="[RUN]")
@click.option("--all", "all_runs", is_flag=True, help="All runs of the app that are under way.")
async def cancel(desk: Desk, app: str, number: int | None, all_runs: bool) -> None:
    """Stop a run, or all of them: SIGTERM, the job's grace, SIGKILL.

    ssh paas@HOST -- cron:cancel shop 42
    """
    if (number is None) == (not all_runs):
        raise UsageError("name one RUN, or say --all: 'cron:history' shows the runs")
    for ended in await _operations(desk).cancel(app, desk.operator.name, number=number):
        desk.say(f"run {ended.id} of {ended.job}: {_result(ended)}")


@registry.command("cron:suspend", role=Role.DEVELOPER, shows=("job",))
@app_argument
@job_argument
def suspend(desk: Desk, app: str, job: str | None) -> None:
    """Let a job's schedule start no runs, or all jobs'; each slot passed over is in the history.

    ssh paas@HOST -- cron:suspend shop nightly
    """
    found = _operations(desk).suspend(app, job, desk.operator.name)
    desk.say(f"suspended: {', '.join(found)}")


@registry.command("cron:resume", role=Role.DEVELOPER, shows=("job",))
@app_argument
@job_argument
def resume(desk: Desk, app: str, job: str | None) -> None:
    """Let the schedule start runs again.

    ssh paas@HOST -- cron:resume shop nightly
    """
    found = _operations(desk).resume(app, job)
    desk.say(f"resumed: {', '.join(found)}")


async def _follow(desk: Desk, app: str, number: int) -> int:
    operations = _operations(desk)
    async for line in operations.log(app, number, follow=True):
        _print(desk, line)
        await desk.streams.drain()
    ended = await operations.until_ended(app, number, END_DEADLINE)
    if ended.state is RunState.SUCCEEDED:
        return 0
    desk.complain(f" !     run {number} of {ended.job}: {_result(ended)}")
    return TIMED_OUT if ended.state is RunState.TIMED_OUT else ended.exit_code or 1


def _operations(desk: Desk) -> CronOperations:
    return CronOperations(desk.parts)


def _print(desk: Desk, line: LogLine) -> None:
    desk.streams.write(f"{printable(line.text)}\n".encode(), error=line.error)


def _result(run: CronRun) -> str:
    code = "" if run.exit_code in (None, 0) else f", exit code {run.exit_code}"
    reason = "" if run.reason is None else f": {run.reason}"
    return f"{run.state.value}{code}{reason}"


def _row(run: CronRun) -> dict[str, Any]:
    took = None if run.started_at is None or run.ended_at is None else (run.ended_at - run.started_at).total_seconds()
    return {
        "run": run.id,
        "job": run.job,
        "slot": run.slot,
        "trigger": run.trigger.value,
        "state": run.state.value,
        "exit": run.exit_code,
        "took": took,
        "release": None if run.release is None else f"v{run.release}",
        "stands_for": run.stands_for,
        "who": run.who,
        "reason": run.reason,
    }
