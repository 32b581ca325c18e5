"""What each deploy told, kept to be read again, and to be followed while it is told."""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from runtime.folders import move_folder

LIMIT: Final = 5 * 1024 * 1024  # characters of one deploy's log; of what comes after only the end is kept
END_LIMIT: Final = 256 * 1024  # characters of that end
TAIL_LIMIT: Final = 64 * 1024  # bytes of the end of a log that are looked at for its last lines
CUT: Final = "(the log of this deploy is too long to be kept whole: lines are left out here)"


class DeployLog:
    """The log of a deploy under way: its head is on disk at once, its end, if it is a long one, when it is closed."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._size = 0
        self._end: deque[str] = deque()
        self._end_size = 0
        self._is_cut = False
        self._grown = asyncio.Event()

    def write(self, line: str) -> None:
        if self._size >= LIMIT:
            self._hold(line)
        else:
            self._size += self._file.write(line + "\n")
            self.stir()

    def close(self) -> None:
        """Write what is held of the end."""
        if self._is_cut:
            self._file.write(CUT + "\n")
        self._file.writelines(line + "\n" for line in self._end)
        self.stir()

    def _hold(self, line: str) -> None:
        self._end.append(line)
        self._end_size += len(line)
        while self._end_size > END_LIMIT and len(self._end) > 1:
            self._end_size -= len(self._end.popleft())
            self._is_cut = True

    def stir(self) -> None:
        """Wake who follows."""
        self._grown.set()
        self._grown = asyncio.Event()

    async def grown(self) -> None:
        await self._grown.wait()


class DeployLogs:
    """All deploys' logs, one file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "deploys"
        self._open: dict[int, DeployLog] = {}

    @contextmanager
    def open(self, app: str, deploy: int) -> Iterator[DeployLog]:
        """The log of a deploy that begins."""
        path = self.path(app, deploy)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", buffering=1) as file:
            log = self._open[deploy] = DeployLog(file)
            try:
                yield log
            finally:
                del self._open[deploy]
                log.close()

    async def until_closed(self, deploy: int) -> None:
        """Return when nothing more is written to the log of a deploy."""
        while (log := self._open.get(deploy)) is not None:
            await log.grown()

    def tail(self, app: str, deploy: int, lines: int) -> list[str]:
        """The last lines of a deploy's log. Raises OSError when it has none."""
        path = self.path(app, deploy)
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_LIMIT))
            return file.read().decode(errors="replace").splitlines()[-lines:]

    def path(self, app: str, deploy: int) -> Path:
        return self._folder / app / f"{deploy}.log"

    def rename(self, app: str, new: str) -> None:
        """Have the logs of an app without a deploy under way be those of `new`. Raises OSError."""
        move_folder(self._folder / app, self._folder / new)

    def forget(self, app: str) -> None:
        """Remove the logs of all deploys of an app."""
        shutil.rmtree(self._folder / app, ignore_errors=True)

    async def follow(self, app: str, deploy: int) -> AsyncIterator[bytes]:
        """What is there, then what comes, until the deploy ends. Raises FileNotFoundError when there is none."""
        with self.path(app, deploy).open("rb") as file:
            while True:
                log = self._open.get(deploy)
                if text := file.read():
                    yield text
                elif log is None:
                    return
                else:
                    await log.grown()
