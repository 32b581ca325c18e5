"""Processes of containers as the host sees them: the engine starts a process in a container that runs, and has no
way to end it again.

A number of the engine's is believed only when the kernel says that the process is in that container: the engine may
be in another machine, and numbers are used again.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
SESSION_FIELD: Final = 3  # of what follows the name in /proc/N/stat: state, parent, group, session


def session_of(leader: int, container: str) -> list[int]:
    """The processes of a container in the session that `leader` began; it is among them as long as it runs."""
    found = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    return [pid for pid in found if _session(pid) == leader and is_in(pid, container)]


def is_in(pid: int, container: str) -> bool:
    """Whether the process is in this container, by the id of the container in its control groups' names."""
    try:
        return container in (PROC / str(pid) / "cgroup").read_text()
    except OSError:  # it has ended
        return False


def tell(pid: int, container: str, number: signal.Signals) -> bool:
    """Send a signal to that very process; False when there is no such process in the container (any more)."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not is_in(pid, container):  # looked at after the handle was taken, which stays with one process
            return False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
        return True
    finally:
        os.close(handle)


def _session(pid: int) -> int | None:
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[SESSION_FIELD])
