"""The log of one app: numbered files that are only ever appended to, the oldest removed when the budget is spent.

    logs/apps/shop/00000012.log

A file begins with a line that says how many lines were written before it and how far each source has been read; a
JSON object a line follows. The newest file therefore tells all that a server has to know to go on after any end, and
lines and positions reach the disk in one write. A torn last line is cut off when the log is opened again.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from runtime.errors import StoreError
from runtime.logbook.cursors import Cursors
from runtime.logbook.entry import Entry, decode, encode
from runtime.model import MIB

PARTS: Final = 32  # files that a budget is divided into
SMALLEST: Final = 128 * 1024  # bytes of one file: the longest line there is usually fits
LARGEST: Final = MIB
CUT: Final = " (the rest of this line is cut off)"


@dataclass(frozen=True)
class Extent:
    """What there was at one moment."""

    files: tuple[tuple[Path, int], ...]  # oldest first, with their bytes
    number: int  # of the newest file, 0 when there is none
    lines: int  # all that were ever written


class Book:
    """Written by the server alone, and by one task at a time."""

    def __init__(self, folder: Path, budget: int) -> None:
        self.folder = folder
        self.budget = budget
        self.gone = False  # the app is destroyed
        self.lines = 0  # all that were ever written
        self.cursors = Cursors()
        self._limit = min(max(budget // PARTS, SMALLEST), LARGEST)
        self._sizes: dict[int, int] = {}  # number of a file -> bytes, oldest first
        self._handle: int | None = None
        self._grown = asyncio.Event()
        self._recover()

    @property
    def size(self) -> int:
        return sum(self._sizes.values())

    @property
    def newest(self) -> int:
        return max(self._sizes, default=0)

    def oldest_after(self, number: int) -> int | None:
        """The first file behind that one."""
        return min((other for other in self._sizes if other > number), default=None)

    def path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.log"

    def extent(self) -> Extent:
        files = tuple((self.path(number), size) for number, size in self._sizes.items())
        return Extent(files, self.newest, self.lines)

    def append(self, entries: Sequence[Entry]) -> None:
        """Write the entries, and how far their sources are read with them. Raises StoreError when the disk refuses."""
        if self.gone or not entries:
            return
        try:
            pending: list[tuple[Entry, bytes]] = []
            room = self._limit - self._sizes.get(self.newest, self._limit)
            for entry in entries:
                line = self._fitted(entry)
                if len(line) > room:
                    self._write(pending)
                    room = self._limit - self._begin_file()
                    pending = []
                pending.append((entry, line))
                room -= len(line)
            self._write(pending)
        except OSError as error:
            raise StoreError(
                f"the log in {self.folder} can not be written ({error.strerror}): free some space"
            ) from error
        finally:
            self.stir()

    async def grown(self) -> None:
        await self._grown.wait()

    def stir(self) -> None:
        """Wake who follows."""
        self._grown.set()
        self._grown = asyncio.Event()

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def remove(self) -> None:
        """Remove all of it; who follows it comes to its end."""
        self.gone = True
        self.close()
        self._sizes.clear()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.stir()

    # ---- writing -------------------------------------------------------------------------------------------

    def _fitted(self, entry: Entry) -> bytes:
        """The line of an entry, cut when a file could not hold it (control characters take six bytes)."""
        line, text, most = encode(entry), entry.text, self._limit * 3 // 4
        while len(line) > most:
            text = text[: len(text) * 2 // 3]
            line = encode(replace(entry, text=text + CUT))
        return line

    def _write(self, pending: list[tuple[Entry, bytes]]) -> None:
        if not pending:
            return
        self._put(b"".join(line for _, line in pending))
        self.lines += len(pending)
        for entry, _ in pending:
            self.cursors.note(entry)

    def _begin_file(self) -> int:
        """Open the next file, and remove the oldest ones for it; the bytes it has."""
        self.close()
        number = self.newest + 1
        while self._sizes and self.size + self._limit > self.budget:
            oldest = min(self._sizes)
            self.path(oldest).unlink(missing_ok=True)
            del self._sizes[oldest]
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self._handle = os.open(self.path(number), flags, 0o600)
        self._sizes[number] = 0
        try:
            self._put(_header(self.lines, self.cursors))
        except OSError:
            self.close()
            del self._sizes[number]
            self.path(number).unlink()
            raise
        return self._sizes[number]

    def _put(self, data: bytes) -> None:
        """All of it or nothing."""
        number = self.newest
        if self._handle is None:
            self._handle = os.open(self.path(number), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        written = 0
        try:
            while written < len(data):
                written += os.write(self._handle, data[written:])
        except OSError:
            os.ftruncate(self._handle, self._sizes[number])
            raise
        self._sizes[number] += written

    # ---- opening -------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Find what there is, and read the newest file for the rest."""
        if not self.folder.is_dir():
            return
        found = sorted(path for path in self.folder.glob("*.log") if path.stem.isdigit())
        self._sizes = {int(path.stem): path.stat().st_size for path in found}
        while self._sizes and not self._read_newest():
            self.path(self.newest).unlink()  # the server ended while it began this file
            del self._sizes[self.newest]

    def _read_newest(self) -> bool:
        """False when the file has no whole header."""
        path = self.path(self.newest)
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        first, _, rest = data[:whole].partition(b"\n")
        header = read_header(first)
        if header is None:
            return False
        self.lines, self.cursors = header
        if whole < len(data):
            os.truncate(path, whole)
            self._sizes[self.newest] = whole
        for line in rest.split(b"\n")[:-1]:
            self.lines += 1
            if (entry := decode(line)) is not None:
                self.cursors.note(entry)
        return True


def _header(before: int, cursors: Cursors) -> bytes:
    return json.dumps({"before": before, "read": cursors.to_json()}, separators=(",", ":")).encode() + b"\n"


def read_header(line: bytes) -> tuple[int, Cursors] | None:
    """The lines written before a file, and the cursors at its beginning; None for what is no header."""
    try:
        found: Any = json.loads(line)
        return int(found["before"]), Cursors.from_json(found["read"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
