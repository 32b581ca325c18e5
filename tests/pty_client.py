"""A client on a terminal: what a person's terminal program does, for tests."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Sequence
from types import TracebackType

DEADLINE = 60.0  # seconds for what is expected to come


class PtyClient:
    """`words` on a terminal of `rows` by `columns`. Use as a context manager: at its end the program is gone."""

    def __init__(self, words: Sequence[str], rows: int = 31, columns: int = 97) -> None:
        self.code: int | None = None
        self._seen = b""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, _size(rows, columns))
            os.execvp(words[0], list(words))  # noqa: S606 - there is no shell in this

    def __enter__(self) -> PtyClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._terminal)  # the program gets SIGHUP
        if self.code is None:
            os.waitpid(self.pid, 0)

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, _size(rows, columns))

    def expect(self, text: str) -> str:
        """What came up to and with `text`."""
        deadline = time.monotonic() + DEADLINE
        while text.encode() not in self._seen:
            more = self._read(deadline)
            assert more, f"{text!r} did not come, but {self._seen!r}"
            self._seen += more
        before, found, self._seen = self._seen.partition(text.encode())
        return (before + found).decode(errors="replace")

    def wait(self) -> tuple[int, str]:
        """The exit code, and all that had still come."""
        deadline = time.monotonic() + DEADLINE
        while more := self._read(deadline):
            self._seen += more
        _, status = os.waitpid(self.pid, 0)
        self.code = os.waitstatus_to_exitcode(status)
        return self.code, self._seen.decode(errors="replace")

    def _read(self, deadline: float) -> bytes:
        ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"nothing more came within {DEADLINE:g} s after {self._seen!r}"
        try:
            return os.read(self._terminal, 65536)
        except OSError:  # the other end is closed
            return b""


def _size(rows: int, columns: int) -> bytes:
    return struct.pack("HHHH", rows, columns, 0, 0)
