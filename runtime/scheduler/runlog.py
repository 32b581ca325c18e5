"""What runs wrote, kept on disk: one compressed file per run, both streams, its middle left out when it is long.

A line of the file is the engine's timestamp, `o` or `e` for the stream, and the text.
"""

from __future__ import annotations

import gzip
import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

from runtime.engine.logs import LogLine
from runtime.folders import move_folder
from runtime.model import MIB
from runtime.scheduler.jobs import Key

CAP: Final = 5 * MIB  # bytes of one run's log before compression; half is the head, half the tail
TAIL_LINES: Final = 20_000  # lines of the tail that are asked of the engine
CRON, ONE_OFF = "cron", "runs"  # kinds of runs, each with a folder of its own
CUT: Final = "[lockstep: the log is too long to be kept whole; what stood here is left out]"


class RunLogs:
    """The logs of all runs, in a folder per job; those of one-off runs are of another `kind`."""

    def __init__(self, folder: Path, kind: str = CRON) -> None:
        self._folder = folder / kind

    def writer(self, key: Key, number: int, cap: int = CAP) -> LogWriter:
        return LogWriter(self._file(key, number), cap)

    def read(self, key: Key, number: int) -> Iterator[LogLine] | None:
        """The lines, oldest first; None when there is no log (any more)."""
        path = self._file(key, number)
        return _lines(path) if path.is_file() else None

    def remove(self, key: Key, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._file(key, number).unlink(missing_ok=True)

    def apps(self) -> list[str]:
        return [entry.name for entry in self._folder.iterdir()] if self._folder.is_dir() else []

    def rename(self, app: str, new: str) -> None:
        """Have the logs of an app without a run under way be those of `new`. Raises OSError."""
        move_folder(self._folder / app, self._folder / new)

    def remove_app(self, app: str) -> None:
        shutil.rmtree(self._folder / app, ignore_errors=True)

    def _file(self, key: Key, number: int) -> Path:
        return self._folder / key.app / key.job / f"{number}.gz"


class LogWriter:
    """Takes lines in their order: `add` until it says no, then those from the end with `add_tail`.

    The file appears under its name when it is whole; one that was there before is replaced.
    """

    def __init__(self, path: Path, cap: int) -> None:
        self._path = path
        self._part = path.with_suffix(".part")
        self._half = cap // 2
        self._taken = 0
        self._tail: deque[LogLine] = deque()
        self._tail_size = 0
        self._is_cut = False
        self.last_moment = ""  # of the head

    def __enter__(self) -> LogWriter:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = gzip.open(self._part, "wt", compresslevel=6, encoding="utf-8", errors="replace")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._write_tail()
        self._file.close()
        if kind is None:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)

    def add(self, line: LogLine) -> bool:
        """Write a line of the head; False, and it is not written, when the head is full."""
        if self._taken + _size(line) > self._half:
            return False
        self._taken += _size(line)
        self._file.write(_text(line))
        self.last_moment = line.moment
        return True

    def add_tail(self, line: LogLine) -> None:
        """A line of the last ones; those the head has are left out, the newest that fit are kept."""
        self._is_cut = True
        if line.moment <= self.last_moment:
            return
        self._tail.append(line)
        self._tail_size += _size(line)
        while self._tail_size > self._half:
            self._tail_size -= _size(self._tail.popleft())

    def _write_tail(self) -> None:
        if self._is_cut:
            self._file.write(_text(LogLine(self.last_moment, CUT, error=True)))
        for line in self._tail:
            self._file.write(_text(line))


def _size(line: LogLine) -> int:
    return len(line.moment) + len(line.text) + 4


def _text(line: LogLine) -> str:
    return f"{line.moment} {'e' if line.error else 'o'} {line.text}\n"


def _lines(path: Path) -> Iterator[LogLine]:
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        for raw in file:
            moment, stream, text = raw.rstrip("\n").split(" ", 2)
            yield LogLine(moment, text, stream == "e")
