"""A process in a group of its own, so that it and all that it started end together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

TERM_GRACE = 3.0  # seconds from SIGTERM to SIGKILL
KILL_DEADLINE = 10.0  # seconds until a killed process must be gone


class Child:
    """Started by its constructor. Each must be ended by `wait()` or `terminate()`."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], stdin: int, stdout: int, stderr: int) -> None:
        self._popen = subprocess.Popen(
            argv, stdin=stdin, stdout=stdout, stderr=stderr, env=env, cwd="/", start_new_session=True
        )
        loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[None] = loop.create_future()
        self._pidfd = os.pidfd_open(self._popen.pid)
        loop.add_reader(self._pidfd, self._on_exit)

    async def wait(self) -> int:
        """Its exit code, as a shell gives it: 128 + N when signal N ended it."""
        await asyncio.shield(self._exited)
        return self._reap()

    async def terminate(self, patience: float = 0.0) -> None:
        """End its whole group: `patience` seconds to end by itself, SIGTERM, then SIGKILL for what is left."""
        if self._popen.returncode is not None:
            return
        # The leader is not reaped before the last signal: until then no stranger can have its number.
        await asyncio.wait({self._exited}, timeout=patience)
        self._signal(signal.SIGTERM)
        await asyncio.wait({self._exited}, timeout=TERM_GRACE)
        self._signal(signal.SIGKILL)
        await asyncio.wait({self._exited}, timeout=KILL_DEADLINE)
        self._reap()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)

    def _on_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        if not self._exited.done():
            self._exited.set_result(None)

    def _reap(self) -> int:
        code = self._popen.wait(timeout=KILL_DEADLINE)
        return code if code >= 0 else 128 - code
