"""deploys, deploys:info, deploys:log, deploys:cancel."""

from __future__ import annotations

import asyncio

import click

from gitreceive.commands.base import app_argument, json_option, registry
from gitreceive.commands.desk import Desk
from runtime.errors import LockstepError
from runtime.model import Deploy, DeployState, Role


@registry.command("deploys", role=Role.VIEWER)
@app_argument
@click.option("-n", "--number", "limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
def deploys(desk: Desk, app: str, limit: int) -> None:
    """List pushes, config changes and rollbacks, newest first: how they ended, how long they took.

    ssh paas@HOST -- deploys shop
    """
    with desk.parts.store.read() as tx:
        found = tx.deploys.of(app, limit=limit)
    rows = [
        {
            "deploy": deploy.id,
            "kind": deploy.kind,
            "state": deploy.state.value,
            "release": None if deploy.release is None else f"v{deploy.release}",
            "commit": None if deploy.commit is None else deploy.commit[:7],
            "who": deploy.who,
            "when": deploy.started_at,
            "took": None if deploy.ended_at is None else (deploy.ended_at - deploy.started_at).total_seconds(),
            "cut_over": deploy.cut_over if deploy.state is DeployState.LIVE else None,
            "worker_pause": deploy.worker_pause,
            "error": deploy.error,
        }
        for deploy in found
    ]
    desk.show(rows, nothing=f"nothing was deployed to {app} yet: push to it")


@registry.command("deploys:info", role=Role.VIEWER)
@app_argument
@click.argument("number", type=int)
@json_option
def info(desk: Desk, app: str, number: int) -> None:
    """Show one deploy: its end, its cause, and what each phase took.

    ssh paas@HOST -- deploys:info shop 7
    """
    deploy = _deploy(desk, app, number)
    facts: dict[str, object] = {
        "deploy": deploy.id,
        "kind": deploy.kind,
        "state": deploy.state.value,
        "release": None if deploy.release is None else f"v{deploy.release}",
        "before": None if deploy.previous is None else f"v{deploy.previous}",
        "commit": deploy.commit,
        "who": deploy.who,
        "started": deploy.started_at,
        "ended": deploy.ended_at,
        "cut_over": deploy.cut_over,
        "worker_pause": deploy.worker_pause,
        "error": deploy.error,
    }
    if desk.as_json:
        facts["phases"] = deploy.phases
    else:
        facts["phases"] = [f"{phase} {seconds:.2f} s" for phase, seconds in deploy.phases.items()]
    desk.show_one(f"deploy {number} of {app}", facts)


@registry.command("deploys:log", role=Role.VIEWER)
@app_argument
@click.argument("number", type=int, required=False, metavar="[NUMBER]")
@click.option("-f", "--follow", is_flag=True, help="Go on until the deploy ends.")
async def log(desk: Desk, app: str, number: int | None, follow: bool) -> int:
    """Print what a deploy told its pusher, the newest without NUMBER.

    With -f be told what is still to come, and end with 1 if it did not go live.

    ssh paas@HOST -- deploys:log shop 7 -f
    """
    logs = desk.operations.deployer.logs
    number = _deploy(desk, app, number).id
    if not logs.path(app, number).is_file():
        raise LockstepError(f"there is no log of deploy {number} of {app}: 'deploys {app}' lists its deploys")
    if not follow:
        desk.streams.write(await asyncio.to_thread(logs.path(app, number).read_bytes))
        return 0
    async for text in logs.follow(app, number):
        desk.streams.write(text)
        await desk.streams.drain()
    return 0 if _deploy(desk, app, number).state in (DeployState.RETIRE, DeployState.LIVE) else 1


@registry.command("deploys:cancel", role=Role.DEVELOPER, shows=("number",))
@app_argument
@click.argument("number", type=int, required=False, metavar="[NUMBER]")
def cancel(desk: Desk, app: str, number: int | None) -> None:
    """Stop the deploy under way, or the one of that number while it waits; the live release stays.

    ssh paas@HOST -- deploys:cancel shop
    """
    deploy = desk.operations.deployer.cancel(app, desk.operator.name, number)
    desk.say(f"deploy {deploy.id} of {app} is being cancelled: 'deploys {app}' shows its end")


def _deploy(desk: Desk, app: str, number: int | None) -> Deploy:
    """That one, or the newest. Raises LockstepError, the same for one of another app as for one that never was."""
    with desk.parts.store.read() as tx:
        newest = tx.deploys.of(app, limit=1)
        deploy = tx.deploys.find(number) if number is not None else next(iter(newest), None)
    if deploy is None and number is None:
        raise LockstepError(f"nothing was deployed to {app} yet: push to it")
    if deploy is None or deploy.app != app:
        raise LockstepError(f"{app} has no deploy {number}: 'deploys {app}' lists its deploys")
    return deploy
