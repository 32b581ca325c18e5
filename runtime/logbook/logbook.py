"""The logs of all apps of an instance."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from runtime.errors import StoreError, explain
from runtime.folders import move_folder
from runtime.logbook.book import Book
from runtime.logbook.entry import Entry

log = logging.getLogger(__name__)


class Source(Protocol):
    """What writes into the logbook by itself."""

    async def read_out(self, app: str, release: int | None, seconds: float) -> list[str]:
        """Wait until all is written that ended containers wrote; those of `release` may go on. The processes whose
        logs were not read to their end in that time."""

    def forget(self, app: str) -> None:
        """Write no more under this name, and look anew at what there is."""


class Logbook:
    """Opened by the server alone. Without a folder nothing is kept: where no server runs."""

    def __init__(self, folder: Path | None = None, budget: int = 0) -> None:
        self._folder = None if folder is None else folder / "apps"
        self._budget = budget
        self._books: dict[str, Book] = {}
        self.sources: list[Source] = []

    def of(self, app: str) -> Book:
        """The app's log, opened; an app that has none yet begins one. Raises StoreError."""
        if self._folder is None:
            raise StoreError(f"the log of {app} is not kept by this process: ask the server")
        book = self._books.get(app)
        if book is None:
            try:
                book = self._books[app] = Book(self._folder / app, self._budget)
            except OSError as error:
                raise StoreError(f"the log in {self._folder / app} can not be opened: {error.strerror}") from error
        return book

    def append(self, app: str, entries: Sequence[Entry]) -> None:
        """Raises StoreError when the disk refuses."""
        if self._folder is not None:
            self.of(app).append(entries)

    def add(self, app: str, entry: Entry) -> None:
        """Write a line whose loss must not stop what it tells of."""
        try:
            self.append(app, [entry])
        except StoreError as error:
            log.warning("a line of %s is lost: %s", app, explain(error))

    async def read_out(self, app: str, release: int | None, seconds: float) -> list[str]:
        """As of a Source, of all of them."""
        return [process for source in self.sources for process in await source.read_out(app, release, seconds)]

    def rename(self, app: str, new: str) -> None:
        """Have the log of an app go on as that of `new`; who follows it goes on too. Raises OSError."""
        for source in self.sources:
            source.forget(app)
        if self._folder is not None:
            move_folder(self._folder / app, self._folder / new)
            if (book := self._books.pop(app, None)) is not None:
                book.folder = self._folder / new
                self._books[new] = book

    def forget(self, app: str) -> None:
        """Remove the app's log; nothing of what the app did comes into it any more."""
        for source in self.sources:
            source.forget(app)
        if self._folder is not None:
            book = self._books.pop(app, None)
            if book is not None:
                book.remove()
            shutil.rmtree(self._folder / app, ignore_errors=True)

    def keep(self, apps: set[str]) -> None:
        """Remove the logs of all other apps: their removal was interrupted."""
        if self._folder is not None and self._folder.is_dir():
            for folder in self._folder.iterdir():
                if folder.name not in apps:
                    self.forget(folder.name)

    def close(self) -> None:
        for book in self._books.values():
            book.close()
