"""What one container writes, on its way into the log: named, counted, and held back when it is too much."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from runtime.engine.logs import LogLine
from runtime.errors import StoreError, explain
from runtime.logbook.book import Book
from runtime.logbook.entry import Entry, LogKind, Stream, note

log = logging.getLogger(__name__)

RATE: Final = 256 * 1024  # bytes a second that one container may write for long; a budget's worth may come at once
HELD: Final = 128 * 1024  # bytes of the newest lines that are held while it writes more
OVERHEAD: Final = 150  # bytes of an entry beside its text
REOPEN: Final = 1.0  # seconds after which the lines that are held are written


@dataclass(frozen=True)
class Tag:
    """Whose lines they are."""

    app: str
    kind: LogKind
    process: str
    release: int | None
    source: str

    def entry(self, line: LogLine) -> Entry:
        stream = Stream.ERR if line.error else Stream.OUT
        return Entry(line.moment, self.kind, self.process, line.text, stream, self.release, None, self.source)


class Inflow:
    """Takes lines in their order. Of those that are over the measure the newest are kept, the others counted."""

    def __init__(self, book: Book, tag: Tag, ticks: Callable[[], float]) -> None:
        self._book = book
        self._tag = tag
        self._ticks = ticks
        self._room = float(book.budget)  # bytes that may be written now
        self._seen = ticks()
        self._held: deque[Entry] = deque()
        self._held_size = 0
        self._dropped = 0
        self._later: asyncio.TimerHandle | None = None

    @property
    def flooded(self) -> bool:
        return bool(self._held)

    def take(self, lines: Sequence[LogLine]) -> None:
        """Raises StoreError when the disk refuses."""
        self._refill()
        passed: list[Entry] = []
        for line in lines:
            entry = self._tag.entry(line)
            if not self._held and _cost(entry) <= self._room:
                self._room -= _cost(entry)
                passed.append(entry)
            else:
                self._hold(entry)
        self._book.append(passed)
        if self._held and self._later is None:
            self._later = asyncio.get_running_loop().call_later(REOPEN, self._reopen)

    def release(self) -> None:
        """Write what is held, behind the number of lines that were dropped. Raises StoreError."""
        held, size, dropped = list(self._held), self._held_size, self._dropped
        self.reset()
        self._refill()
        self._room -= size
        if dropped:
            text = f"{dropped} lines were dropped: {self._tag.process} wrote more than is kept"
            held.insert(0, note(held[0].moment, text, kind=self._tag.kind, process=self._tag.process))
        self._book.append(held)

    def reset(self) -> None:
        """Forget what is held: it is read again."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._held.clear()
        self._held_size = self._dropped = 0

    def _reopen(self) -> None:
        try:
            self.release()
        except StoreError as error:
            log.warning("lines of %s are lost: %s", self._tag.process, explain(error))

    def _hold(self, entry: Entry) -> None:
        self._held.append(entry)
        self._held_size += _cost(entry)
        while self._held_size > HELD and len(self._held) > 1:
            self._held_size -= _cost(self._held.popleft())
            self._dropped += 1

    def _refill(self) -> None:
        now = self._ticks()
        self._room = min(float(self._book.budget), self._room + (now - self._seen) * RATE)
        self._seen = now


def _cost(entry: Entry) -> int:
    return len(entry.text) + OVERHEAD
