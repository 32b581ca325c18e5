"""One-off runs: what is asked for, and the row that says how it went."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from runtime.model import AppName, RunState, Value


@dataclass(frozen=True)
class Tty:
    """The terminal that a program is to have."""

    kind: str  # its TERM
    rows: int
    columns: int


@dataclass(frozen=True)
class Command:
    """What is to be run: a line for a shell, or words that are a program and its arguments."""

    line: str | None = None
    words: tuple[str, ...] = ()
    shown: str = ""  # as a person would type it


@dataclass(frozen=True)
class Order:
    """A one-off run that is asked for."""

    app: str
    command: Command
    who: str
    process: str | None = None  # whose environment and limits it has; None: web's
    env: tuple[tuple[str, str], ...] = ()  # added to the environment, the last word
    tty: Tty | None = None
    timeout: float | None = None  # seconds from its start to SIGTERM; None: it is attached and ends with its client


class OneOff(Value):
    """A container of the live release that ran a command once, beside the processes."""

    app: AppName
    number: int  # of the app: run.7
    process: str  # whose environment and limits it has
    command: str  # as typed
    release: int
    detached: bool  # it goes on without its client
    state: RunState
    who: str
    created_at: datetime
    timeout: float | None = None  # seconds from its start to SIGTERM
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    reason: str | None = None  # why it did not start, or was stopped
    stop: str | None = None  # why it is to be stopped, from the moment that is wanted

    @property
    def id(self) -> str:
        return f"run.{self.number}"
