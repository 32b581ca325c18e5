"""One scheduler per instance: a record lock, of which the kernel says who holds it."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from runtime.errors import SettingsError

FLOCK: Final = "hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length, pid


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock. Raises SettingsError when another scheduler does."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SettingsError(f"a scheduler of {path.parent.parent} is running (process {holder(path)})") from None
    else:
        yield
    finally:
        os.close(handle)


def holder(path: Path) -> int | None:
    """The process that holds the lock."""
    if not path.exists():
        return None
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, asked))
        return None if kind == fcntl.F_UNLCK else int(pid)
    finally:
        os.close(handle)
