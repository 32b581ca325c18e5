"""The scheduler's sign of life: a row written each second, so it also shows that the store takes writes.

It has a connection of its own without a sync to disk (12 µs of CPU instead of 500, see bench/cron.py): a sign of
life is worth nothing after a power cut. `tx.cron.heartbeat(NAME)` reads it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

NAME: Final = "scheduler"
BUSY: Final = 0.2  # seconds to wait for a writer before this beat is left out
WRITE: Final = (
    "insert into heartbeats (name, at, pid, next_due, jobs, running) values (?, ?, ?, ?, ?, ?) on conflict (name) "
    "do update set at = excluded.at, pid = excluded.pid, next_due = excluded.next_due, jobs = excluded.jobs, "
    "running = excluded.running"
)


class Heartbeat:
    """Writes the row; a beat that can not be written is logged and left out."""

    def __init__(self, database: Path) -> None:
        self._connection = sqlite3.connect(database, timeout=BUSY, isolation_level=None)
        self._connection.execute("PRAGMA synchronous = NORMAL")

    def beat(self, now: datetime, next_due: datetime | None, jobs: int, running: int) -> None:
        values = (NAME, _text(now), os.getpid(), None if next_due is None else _text(next_due), jobs, running)
        try:
            self._connection.execute(WRITE, values)
        except sqlite3.OperationalError as error:
            log.warning("this sign of life is left out: %s", error)

    def close(self) -> None:
        self._connection.close()


def _text(moment: datetime) -> str:
    """As `runtime.store.schema.Moment` writes it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def last_beat(database: Path) -> str | None:
    """When the last sign of life was given, as the row has it; None when it can not be read."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=BUSY)) as connection:
            row = connection.execute("select at from heartbeats where name = ?", (NAME,)).fetchone()
    except sqlite3.Error as error:
        log.warning("the scheduler's sign of life cannot be read: %s", error)
        return None
    return None if row is None else str(row[0])
