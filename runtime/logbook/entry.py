"""One line of an app's log as a value, and its form in a file: a JSON object a line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from runtime import names
from runtime.text import printable

PLATFORM: Final = "lockstep"  # the process of notes that are about no process in particular


class LogKind(StrEnum):
    """Who wrote a line."""

    APP = "app"  # web and workers
    CRON = "cron"  # cron runs
    PREDEPLOY = "predeploy"  # hooks
    BUILD = "build"  # what a deploy told until its image was there
    DEPLOY = "deploy"  # what it told from then on
    ROUTER = "router"  # one line per request of a visitor


OWN: Final = frozenset({LogKind.APP, LogKind.CRON, LogKind.PREDEPLOY})  # written by the app's own code
OF_CONTAINERS: Final = {  # a one-off run's output goes to its client, or to a log of its own (runtime.runs)
    names.WEB: LogKind.APP,
    names.WORKER: LogKind.APP,
    names.CRON: LogKind.CRON,
}


class Stream(StrEnum):
    OUT = "stdout"
    ERR = "stderr"
    NOTE = "note"  # said by the platform about the log itself


@dataclass(frozen=True, slots=True)
class Entry:
    """One line."""

    moment: str  # RFC 3339 in UTC with nine digits, so that texts compare as the moments do
    kind: LogKind
    process: str  # "web.1", a job's or a hook's name, "v3" for a deploy
    text: str  # as it was written
    stream: Stream = Stream.OUT
    release: int | None = None
    deploy: int | None = None  # the deploy that told it
    source: str | None = None  # where it was read: a container, or a position in the router's file

    def __str__(self) -> str:
        return f"{self.head} {printable(self.text)}"

    @property
    def head(self) -> str:
        """2026-01-02T03:04:05.678Z app[web.1]:"""
        return f"{self.moment[:23]}Z {self.kind.value}[{printable(self.process)}]:"


def note(moment: str, text: str, *, kind: LogKind = LogKind.APP, process: str = PLATFORM) -> Entry:
    """What the platform says about the log itself."""
    return Entry(moment, kind, process, f"({text})", Stream.NOTE)


def stamp(moment: datetime) -> str:
    """As entries have it."""
    return f"{moment.astimezone(UTC).isoformat(timespec='microseconds')[:26]}000Z"


def encode(entry: Entry) -> bytes:
    """The entry's line; what is None is left out."""
    fields: dict[str, Any] = {
        "t": entry.moment,
        "k": entry.kind.value,
        "p": entry.process,
        "s": entry.stream.value,
    }
    for key, value in (("r", entry.release), ("d", entry.deploy), ("c", entry.source)):
        if value is not None:
            fields[key] = value
    fields["x"] = entry.text
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\n"


def decode(line: bytes) -> Entry | None:
    """The entry of a line; None when the line is damaged."""
    try:
        found = json.loads(line)
        return Entry(
            found["t"], LogKind(found["k"]), found["p"], found["x"],
            Stream(found["s"]), found.get("r"), found.get("d"), found.get("c"),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
