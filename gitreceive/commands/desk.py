"""What every command is given: the operator, the operations, and its session's streams to print on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from gitreceive.callers import Callers
from gitreceive.commands.table import table
from gitreceive.model import Streams
from gitreceive.push import Pushes
from gitreceive.record import Deed
from runtime.apps import Apps
from runtime.deployer import Deployer
from runtime.errors import UsageError
from runtime.logs import AppLogs
from runtime.model import Key
from runtime.outranked import outranked
from runtime.parts import Parts
from runtime.runs.keeper import Runs
from runtime.text import printable


class Verbatim(str):
    """A text in a table whose emptiness is shown as nothing at all, so that it is no '-'."""

    __slots__ = ()


@dataclass(frozen=True)
class Operations:
    """The core that all doors call."""

    parts: Parts
    deployer: Deployer
    apps: Apps
    logs: AppLogs
    pushes: Pushes
    runs: Runs
    callers: Callers = field(default_factory=Callers)


@dataclass
class Desk:
    """One command of one session."""

    operator: Key
    operations: Operations
    streams: Streams
    as_json: bool = False
    deed: Deed = field(default_factory=lambda: Deed("", "", ""))  # what the event will say; the gate fills it in

    @property
    def parts(self) -> Parts:
        return self.operations.parts

    def note(self, detail: str) -> None:
        """Say in the event what this command is about, without anything secret."""
        self.deed.detail = detail

    def say(self, text: str) -> None:
        self.streams.write(f"{text}\n".encode(errors="replace"))

    def complain(self, text: str) -> None:
        self.streams.write(f"{text}\n".encode(errors="replace"), error=True)

    def warn_outranked(self, app: str, names: Iterable[str]) -> None:
        """Say of which config values the platform's own take the place."""
        for sentence in outranked(self.parts, app, names):
            self.complain(f" !     {sentence}")

    async def read_all(self, limit: int, what: str) -> str:
        """Standard input to its end as text. Raises UsageError when it is longer than `limit` bytes, or no UTF-8."""
        found = bytearray()
        while chunk := await self.streams.read():
            found += chunk
            if len(found) > limit:
                raise UsageError(f"{what} on standard input is longer than {limit} bytes: give less")
        try:
            return found.decode()
        except UnicodeDecodeError:
            raise UsageError(
                f"{what} on standard input is not text in UTF-8: encode it, for example with base64"
            ) from None

    def show(self, rows: Sequence[dict[str, Any]], *, nothing: str) -> None:
        """Print rows as a table under their keys, or as JSON; `nothing` is said when there are none."""
        if self.as_json:
            self.say(json.dumps([{key: plain(value) for key, value in row.items()} for row in rows], indent=2))
        elif not rows:
            self.complain(nothing)
        else:
            self._print_table(rows)

    def show_one(self, title: str, facts: dict[str, Any]) -> None:
        """Print one thing's facts, one a line, or as a JSON object."""
        if self.as_json:
            self.say(json.dumps({key: plain(value) for key, value in facts.items()}, indent=2))
            return
        self.say(f"=====> {title}")
        width = max(len(key) for key in facts) + 1
        for key, value in facts.items():
            self.say(f"       {key.replace('_', ' ') + ':':<{width}} {self.text(value)}")

    def text(self, value: Any) -> str:
        if value is None or value == [] or (value == "" and not isinstance(value, Verbatim)):
            return "-"
        if isinstance(value, datetime):
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} ({ago(value, self.parts.clock())})"
        if isinstance(value, float):
            return f"{value:.2f} s"
        if isinstance(value, list | tuple):
            return ", ".join(self.text(item) for item in value)
        return "\n".join(map(printable, str(value).splitlines()))

    def _print_table(self, rows: Sequence[dict[str, Any]]) -> None:
        terminal = self.streams.terminal
        headings = [key.replace("_", " ").upper() for key in rows[0]]
        cells = [[self.text(value) for value in row.values()] for row in rows]
        text = table(headings, cells, None if terminal is None else terminal.columns)
        self.streams.write(text.encode(errors="replace"))


def ago(moment: datetime, now: datetime) -> str:
    """ "3 m ago", "in 2 h"."""
    gap = now - moment
    text = length(abs(gap))
    return f"{text} ago" if gap >= timedelta(0) else f"in {text}"


def length(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, tuple):
        return list(value)
    return value
