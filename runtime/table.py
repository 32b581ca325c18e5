"""The process table of a release, asked for one process by its name."""

from __future__ import annotations

from runtime.errors import LockstepError
from runtime.model import Process, Release


def process_of(release: Release, name: str) -> Process:
    """Raises LockstepError, with the names that there are, for one that is not there."""
    known = {process.name: process for process in release.spec.processes}
    if name not in known:
        raise LockstepError(f"{release.app} has no process '{name[:40]}': it has {', '.join(known) or 'none'}")
    return known[name]
