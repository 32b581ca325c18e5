"""Bytes between an SSH channel and the pipes of a process, neither side ever running ahead of the other."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable

PIPE_SIZE = 1024 * 1024  # bytes that a pipe holds when the kernel lets us widen it
CHUNK = 128 * 1024  # bytes read from a process at a time


def open_pipe(*, wide: bool) -> tuple[int, int]:
    """A pipe (read end, write end) that children do not inherit by accident."""
    ends = os.pipe()
    if wide:
        # EPERM: the user's share of pipe memory is used up; the usual 64 KiB do as well, only slower.
        with contextlib.suppress(OSError):
            fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    return ends


class Inlet:
    """Into a process: written at once while there is room, else `hold(True)` asks the channel to wait."""

    def __init__(self, fd: int, hold: Callable[[bool], None]) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._hold = hold
        self._rest = b""  # what the pipe had no room for
        self._later: list[bytes] = []  # what came after it
        self._ended = False
        self._loop = asyncio.get_running_loop()

    def feed(self, data: bytes) -> None:
        """Take `data` from the channel. Dropped when the process has closed its end."""
        if self._fd < 0:
            return
        if self._rest:
            self._later.append(data)
            return
        if not self._write(data):
            self._hold(True)
            self._loop.add_writer(self._fd, self._go_on)

    def end(self) -> None:
        """No more will come: the process sees the end once all is written."""
        self._ended = True
        if not self._rest:
            self.close()

    def close(self) -> None:
        """Close the pipe now; what is not written is lost."""
        if self._fd < 0:
            return
        self._loop.remove_writer(self._fd)
        os.close(self._fd)
        self._fd, self._rest, self._later = -1, b"", []

    def _write(self, data: bytes) -> bool:
        """Whether all of `data` is out of our hands; what is not is the rest."""
        try:
            self._rest = data[os.write(self._fd, data) :]
        except BlockingIOError:
            self._rest = data
        except OSError:  # the process has closed its end: its exit code tells why
            self.close()
        return not self._rest

    def _go_on(self) -> None:
        done = self._write(self._rest)
        while done and self._later:
            done = self._write(self._later.pop(0))
        if not done:
            return
        if self._fd >= 0:
            self._loop.remove_writer(self._fd)
        if self._ended:
            self.close()
        self._hold(False)


class Outlet:
    """Out of a process: read while the channel takes it; `ended` is done when the process has closed its end."""

    def __init__(self, fd: int, write: Callable[[bytes], None]) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._write = write
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(fd, self._ready)

    def hold(self, full: bool) -> None:
        """Stop reading while the channel is full."""
        if self._fd < 0:
            return
        if full:
            self._loop.remove_reader(self._fd)
        else:
            self._loop.add_reader(self._fd, self._ready)

    def close(self) -> None:
        """Read no more."""
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1
        if not self.ended.done():
            self.ended.set_result(None)

    def _ready(self) -> None:
        try:
            data = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return
        if data:
            self._write(data)
        else:
            self.close()
