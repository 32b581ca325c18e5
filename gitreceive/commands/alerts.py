"""alerts."""

from __future__ import annotations

from typing import Any

import click

from gitreceive.access import sees
from gitreceive.commands.base import json_option, registry
from gitreceive.commands.desk import Desk
from runtime.alerts.model import Alert, Cause, Try
from runtime.model import Role


@registry.command("alerts", role=Role.VIEWER)
@click.argument("app", required=False)
@click.option("-n", "--number", "limit", type=click.IntRange(1, 1000), default=30, show_default=True)
@json_option
def alerts(desk: Desk, app: str | None, limit: int) -> None:
    """List failed deploys, cron jobs that failed or did not run, and who was told of them.

    Without APP of all apps, and of the platform. The address that is told is the manifest's notify.on_failure; with
    -o json every try to tell it is listed.

    ssh paas@HOST -- alerts shop
    """
    with desk.parts.store.read() as tx:
        found = tx.alerts.of(
            [app] if app is not None else _seen(desk, [one.name for one in tx.apps.all()]), limit=limit
        )
    whose = app or "any app"
    desk.show([_row(alert, desk.as_json) for alert in found], nothing=f"nothing of {whose} has failed yet")


def _seen(desk: Desk, apps: list[str]) -> list[str | None]:
    """The apps that the key may know of; one for all apps also sees what is the platform's."""
    platform: list[str | None] = [] if desk.operator.apps else [None]
    return platform + [name for name in apps if sees(desk.operator, name)]


def _row(alert: Alert, in_full: bool) -> dict[str, Any]:
    cause = alert.cause
    row = {
        "alert": alert.id,
        "when": alert.raised_at,
        "kind": cause.kind.value,
        "app": cause.app,
        "what": _what(cause),
        "status": cause.status,
        "error": cause.error,
        "told": alert.state.value,
        "next_try": alert.next_try_at,
    }
    if not in_full:
        return {**row, "tries": len(alert.tries), "last_try": _result(alert.tries[-1]) if alert.tries else None}
    facts = {"deploy": cause.deploy, "job": cause.job, "run": cause.run, "slot": cause.slot, "exit": cause.exit_code}
    return {**row, **facts, "tries": [one.model_dump(mode="json") for one in alert.tries]}


def _what(cause: Cause) -> str | None:
    if cause.deploy is not None:
        return f"deploy {cause.deploy}"
    return f"{cause.job}, run {cause.run}" if cause.run is not None else cause.job


def _result(one: Try) -> str:
    return one.error or ("under way" if one.status is None else str(one.status))
