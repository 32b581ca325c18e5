"""Keeping house: every push leaves one pack, a killed server a quarantine folder, and every deed an event."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import Final

from runtime.errors import StoreError, explain
from runtime.parts import Parts

log = logging.getLogger(__name__)

PERIOD: Final = 24 * 3600.0  # seconds between rounds
FIRST: Final = 300.0  # seconds after the start, when whoever waited for the server has had his turn
DEADLINE: Final = 3600.0  # seconds for one repository
PACKS: Final = 20  # packs that a repository may have before they are made one
STALE: Final = 24 * 3600.0  # seconds after which a quarantine folder belongs to no push any more
EVENTS_FOR: Final = timedelta(days=90)
EVENTS_KEPT: Final = 100_000
QUARANTINE: Final = "tmp_objdir-incoming-*"


async def maintain(repositories: Path, parts: Parts) -> None:
    """Round after round, one repository at a time at the lowest priority. Cancel to stop."""
    await asyncio.sleep(FIRST)
    while True:
        forget_old_events(parts)
        for repository in await asyncio.to_thread(lambda: sorted(repositories.glob("*.git"))):
            await asyncio.to_thread(remove_stale_quarantines, repository, time.time())
            await pack(repository)
        await asyncio.sleep(PERIOD)


def forget_old_events(parts: Parts) -> None:
    """Keep the record bounded; a store that refuses is asked again in the next round."""
    try:
        with parts.store.write() as tx:
            gone = tx.events.prune(parts.clock() - EVENTS_FOR, EVENTS_KEPT)
    except StoreError as error:
        log.warning("old events are not removed: %s", explain(error))
    else:
        log.info("%d old events are removed", gone)


def remove_stale_quarantines(repository: Path, now: float) -> list[str]:
    """Remove what pushes left behind whose git was killed; the names of what went. `now` is in Unix seconds."""
    stale = [path for path in repository.glob(f"objects/{QUARANTINE}") if now - path.stat().st_mtime > STALE]
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in stale]


async def pack(repository: Path) -> None:
    """Let git decide whether the repository is worth packing. Objects that nothing names stay for two weeks."""
    words = ("git", "-c", f"gc.autoPackLimit={PACKS}", "-c", "gc.autoDetach=false", "--git-dir", str(repository))
    git = await asyncio.create_subprocess_exec(
        *words,
        *("gc", "--auto", "--quiet"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        preexec_fn=_last_in_line,
    )
    try:
        async with asyncio.timeout(DEADLINE):
            output, _ = await git.communicate()
    except TimeoutError:
        log.warning("git gc of %s took longer than %g s and is stopped", repository.name, DEADLINE)
        output = b""
    finally:
        if git.returncode is None:
            git.terminate()
            await git.wait()
    if git.returncode:
        log.warning("git gc of %s ended with %d: %s", repository.name, git.returncode, output.decode(errors="replace"))


def _last_in_line() -> None:
    os.nice(19)
