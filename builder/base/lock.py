"""One process at a time makes the base images: a lock on a file that ends with its holder, however that ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from runtime.errors import BuildError, DeadlinePassed

LOCK_DEADLINE: Final = 1800.0  # seconds to wait for another process that builds the same
LOCK_STEP: Final = 0.1  # seconds between two tries to get the lock


@asynccontextmanager
async def alone(path: Path, say: Callable[[str], None], deadline: float = LOCK_DEADLINE) -> AsyncIterator[None]:
    """Hold the lock file; say who has it and wait when another process does. Raises DeadlinePassed, BuildError."""
    handle = _open(path)
    try:
        await _lock(handle, say, deadline)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise BuildError(
            f"the lock file {path} can't be opened ({error.strerror}): remove it and start again"
        ) from None


async def _lock(handle: int, say: Callable[[str], None], deadline: float) -> None:
    give_up = time.monotonic() + deadline
    said = False
    while not _try_lock(handle):
        if not said:
            owner = os.pread(handle, 20, 0).decode(errors="replace") or "unknown"
            say(f"waiting for another Lockstep that builds the base images (process {owner})")
            said = True
        if time.monotonic() > give_up:
            raise DeadlinePassed("the end of another process's build of the base images", deadline)
        await asyncio.sleep(LOCK_STEP)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
