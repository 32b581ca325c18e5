"""Reading an app's log: the newest lines there are, and then those that come, at the reader's own pace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Final

from runtime.logbook.book import Book, Extent, read_header
from runtime.logbook.entry import Entry, decode, note, stamp

CHUNK: Final = 64 * 1024  # bytes that a follower reads at a time
DAMAGED: Final = "a damaged line of the log is left out"

Takes = Callable[[Entry], bool]


@dataclass(frozen=True)
class Place:
    """Where a reader stands: it has had so many of all lines, and so many bytes of a file."""

    number: int
    offset: int
    lines: int


def end_of(extent: Extent) -> Place:
    return Place(extent.number, extent.files[-1][1] if extent.files else 0, extent.lines)


def newest(extent: Extent, takes: Takes, limit: int) -> list[Entry]:
    """The last `limit` entries that `takes` wants, in the order of their moments. Slow: not for the event loop.

    Entries of one container are in order, those of several can be mixed up by a second or so.
    """
    found: list[Entry] = []
    for path, size in reversed(extent.files):
        if len(found) >= limit:
            break
        try:
            with path.open("rb") as file:
                data = file.read(size)
        except FileNotFoundError:
            break  # the oldest went while the newer ones were read
        found = [entry for entry in _entries(data) if takes(entry)] + found
    return sorted(found, key=lambda entry: entry.moment)[-limit:] if limit else []


def _entries(data: bytes) -> Iterator[Entry]:
    """What a file holds, its header and a torn end left out."""
    for line in data[: data.rfind(b"\n") + 1].split(b"\n")[1:-1]:
        if (entry := decode(line)) is not None:
            yield entry


class Follower:
    """Reads on from a place. Its file stays readable for it while the log drops it."""

    def __init__(self, book: Book, place: Place, clock: Callable[[], datetime]) -> None:
        self._book = book
        self._clock = clock
        self._number = place.number
        self._lines = place.lines
        self._file: IO[bytes] | None = None
        if place.number and (path := book.path(place.number)).exists():
            self._file = path.open("rb")
            self._file.seek(place.offset)

    def read(self) -> list[Entry]:
        """Some of the entries behind its place; none when it has come to the end."""
        found: list[Entry] = []
        while not found:
            following = self._book.oldest_after(self._number)  # before the look at the file, which then is complete
            found += self._read_file()
            if found or following is None:
                break
            found += self._open(following)
        return found

    async def wait(self) -> None:
        """Until there may be more."""
        await self._book.grown()

    @property
    def ended(self) -> bool:
        """The app is gone, and its log with it."""
        return self._book.gone

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read_file(self) -> list[Entry]:
        if self._file is None:
            return []
        data = self._file.read(CHUNK)
        if data and not data.endswith(b"\n"):
            data += self._file.readline()
        if not data.endswith(b"\n"):  # a write that is under way
            self._file.seek(-(len(data) - data.rfind(b"\n") - 1), 1)
            data = data[: data.rfind(b"\n") + 1]
        lines = data.split(b"\n")[:-1]
        self._lines += len(lines)
        return [decode(line) or note(stamp(self._clock()), DAMAGED) for line in lines]

    def _open(self, number: int) -> list[Entry]:
        """Go on with another file; a note when lines between were dropped before this reader came to them."""
        self.close()
        self._number = number
        self._file = self._book.path(number).open("rb")
        header = read_header(self._file.readline())
        before = self._lines if header is None else header[0]
        skipped, self._lines = before - self._lines, before
        if skipped <= 0:
            return []
        return [
            note(stamp(self._clock()), f"{skipped} lines were skipped: they were dropped before they could be sent")
        ]
