"""The record of who did what: one event for each thing that was tried, also when it failed."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import click

from runtime.errors import LockstepError, StoreError, UsageError, explain
from runtime.model import APP_NAME
from runtime.parts import Parts
from runtime.text import printable

log = logging.getLogger(__name__)

DETAIL_LIMIT = 200  # characters
RESULT_LIMIT = 300


@dataclass
class Deed:
    """What somebody is about to do; `detail` may grow until it is done, and holds nothing secret."""

    who: str
    source: str  # the client's address
    action: str
    app: str | None = None
    detail: str = ""


def code_told(result: Any) -> str:
    """How a command ended that answers with an exit code, or with None."""
    return f"exit code {result}" if isinstance(result, int) and result else "ok"


async def recorded(
    parts: Parts,
    deed: Deed,
    work: Callable[[], Awaitable[Any] | Any],
    *,
    ending: Callable[[Any], str] = code_told,
) -> Any:
    """Do the work, then write how it ended. What did not fit its command was not tried and leaves no event."""
    try:
        result = work()
        if inspect.isawaitable(result):
            result = await result
    except (UsageError, click.ClickException, click.exceptions.Exit):
        raise
    except asyncio.CancelledError:
        write_down(parts, deed, "its client went away, its key was removed, or the server was stopped, before it ended")
        raise
    except LockstepError as error:
        write_down(parts, deed, explain(error))
        raise
    except Exception:
        write_down(parts, deed, "internal error, see the server's log")
        raise
    write_down(parts, deed, ending(result))
    return result


def write_down(parts: Parts, deed: Deed, result: str) -> None:
    """Write one event; a store that refuses it must not turn what was done into a failure."""
    app = deed.app if deed.app is not None and APP_NAME.fullmatch(deed.app) else None
    try:
        with parts.store.write() as tx:
            tx.events.add(
                who=deed.who,
                source=deed.source,
                app=app,
                action=deed.action,
                detail=one_line(deed.detail, DETAIL_LIMIT),
                result=one_line(result, RESULT_LIMIT),
                now=parts.clock(),
            )
    except StoreError as error:
        log.warning("%s by %s is not in the record (%s): %s", deed.action, deed.who, result, explain(error))


def one_line(text: str, limit: int) -> str:
    """The first line, printable, and no longer than `limit`."""
    line = printable(text.partition("\n")[0])
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
