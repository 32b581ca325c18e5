"""What every command is given: the operator, the operations, and its session's streams to print on."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gitreceive.model import Streams
from gitreceive.push import Pushes
from runtime.apps import Apps
from runtime.deployer import Deployer
from runtime.logs import AppLogs
from runtime.model import Key
from runtime.parts import Parts
from runtime.runs.keeper import Runs

PLAIN_WIDTH = 200  # columns of a table that goes into a file or a pipe


@dataclass(frozen=True)
class Operations:
    """The core that all doors call."""

    parts: Parts
    deployer: Deployer
    apps: Apps
    logs: AppLogs
    pushes: Pushes
    runs: Runs


@dataclass
class Desk:
    """One command of one session."""

    operator: Key
    operations: Operations
    streams: Streams
    as_json: bool = False

    @property
    def parts(self) -> Parts:
        return self.operations.parts

    def say(self, text: str) -> None:
        self.streams.write(f"{text}\n".encode())

    def complain(self, text: str) -> None:
        self.streams.write(f"{text}\n".encode(), error=True)

    def show(self, rows: Sequence[dict[str, Any]], *, nothing: str) -> None:
        """Print rows as a table under their keys, or as JSON; `nothing` is said when there are none."""
        if self.as_json:
            self.say(json.dumps([{key: _plain(value) for key, value in row.items()} for row in rows], indent=2))
        elif not rows:
            self.complain(nothing)
        else:
            self._print_table(rows)

    def show_one(self, title: str, facts: dict[str, Any]) -> None:
        """Print one thing's facts, one a line, or as a JSON object."""
        if self.as_json:
            self.say(json.dumps({key: _plain(value) for key, value in facts.items()}, indent=2))
            return
        self.say(f"=====> {title}")
        width = max(len(key) for key in facts) + 1
        for key, value in facts.items():
            self.say(f"       {key.replace('_', ' ') + ':':<{width}} {self.text(value)}")

    def text(self, value: Any) -> str:
        if value is None or value == "" or value == []:
            return "-"
        if isinstance(value, datetime):
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} ({ago(value, self.parts.clock())})"
        if isinstance(value, float):
            return f"{value:.2f} s"
        if isinstance(value, list | tuple):
            return ", ".join(str(item) for item in value)
        return str(value)

    def _print_table(self, rows: Sequence[dict[str, Any]]) -> None:
        from rich.console import Console
        from rich.table import Table

        terminal = self.streams.terminal
        console = Console(
            file=io.StringIO(),
            width=terminal.columns if terminal is not None and terminal.columns > 0 else PLAIN_WIDTH,
            force_terminal=terminal is not None,
            highlight=False,
            markup=False,
            emoji=False,
        )
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for key in rows[0]:
            table.add_column(key.replace("_", " ").upper(), overflow="fold")
        for row in rows:
            table.add_row(*(self.text(value) for value in row.values()))
        console.print(table)
        assert isinstance(console.file, io.StringIO)
        self.streams.write("".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines()).encode())


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


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, tuple):
        return list(value)
    return value
