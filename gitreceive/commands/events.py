"""events."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import click

from gitreceive.access import sees_instance
from gitreceive.commands.base import json_option, registry
from gitreceive.commands.desk import Desk, plain
from runtime.model import Role
from runtime.store.people import Event

STEP: Final = 0.5  # seconds between two looks at the store, which other processes write as well


@registry.command("events", role=Role.VIEWER)
@click.argument("app", required=False)
@click.option("-n", "--number", "limit", type=click.IntRange(0, 10000), default=30, show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Go on with new ones until Ctrl-C.")
@json_option
async def events(desk: Desk, app: str | None, limit: int, follow: bool) -> None:
    """List who did what, when, from where, and how it ended.

    That is pushes and commands that change something, also those that were refused; the oldest comes first.
    What is about no app, such as keys, is shown to admins.

    ssh paas@HOST -- events shop -n 100

    ssh paas@HOST -- events -f -o json
    """
    found = _look(desk, app, limit=limit)
    if not follow:
        desk.show([_row(event) for event in found], nothing="nothing has happened yet")
        return
    last = found[-1].id if found else _newest(desk)
    for event in found:
        _print(desk, event)
    while True:
        await desk.streams.drain()
        await asyncio.sleep(STEP)
        for event in _look(desk, app, after=last):
            _print(desk, event)
            last = event.id


def _look(desk: Desk, app: str | None, *, after: int = 0, limit: int | None = None) -> list[Event]:
    """What this key may see, oldest first."""
    instance, among = sees_instance(desk.operator), desk.operator.apps
    with desk.parts.store.read() as tx:
        return tx.events.of(app, among=among, instance=instance, after=after, limit=limit)[::-1]


def _newest(desk: Desk) -> int:
    with desk.parts.store.read() as tx:
        return max((event.id for event in tx.events.of(None, limit=1)), default=0)


def _row(event: Event) -> dict[str, Any]:
    return {
        "when": event.at,
        "who": event.who,
        "from": event.source or None,
        "app": event.app,
        "what": event.action,
        "detail": event.detail,
        "result": event.result,
    }


def _print(desk: Desk, event: Event) -> None:
    row = _row(event)
    if desk.as_json:
        desk.say(json.dumps({key: plain(value) for key, value in row.items()}))
        return
    words = (f"{event.at:%Y-%m-%d %H:%M:%S}", event.who, event.source, event.app, event.action, event.detail)
    desk.say(f"{' '.join(desk.text(word) for word in words if word)}: {desk.text(event.result)}")
