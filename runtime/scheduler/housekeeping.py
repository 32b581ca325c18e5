"""What the scheduler does now and then: leftover containers, old runs and old logs go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from runtime.errors import LockstepError, explain
from runtime.scheduler.containers import Containers
from runtime.scheduler.ledger import Ledger
from runtime.scheduler.runlog import RunLogs

log = logging.getLogger(__name__)

PERIOD: Final = 3600.0  # seconds between two rounds
ENGINE_DEADLINE: Final = 600.0  # seconds that a round waits for the engine
KEEP: Final = 200  # runs of one job that are kept, and as many skipped ones
KEEP_FOR: Final = timedelta(days=90)


async def keep_house(ledger: Ledger, containers: Containers, logs: RunLogs, clock: Callable[[], datetime]) -> None:
    """A round at once and then each hour, until cancelled; what fails is logged and tried again in the next."""
    while True:
        for chore in (remove_old_runs(ledger, logs, clock()), remove_leftovers(ledger, containers)):
            try:
                await chore
            except (LockstepError, OSError) as error:
                log.warning("keeping house: %s", explain(error))
        await asyncio.sleep(PERIOD)


async def remove_leftovers(ledger: Ledger, containers: Containers) -> None:
    """Remove the containers of runs that are closed, or that no one knows."""
    await containers.link.up(ENGINE_DEADLINE)
    found = await containers.all()
    open_runs = {run.id for run in ledger.open()}
    for container, number in found.items():
        if number not in open_runs:
            log.info("removing the container of run %d, which is closed", number)
            await containers.remove_named(container)


async def remove_old_runs(ledger: Ledger, logs: RunLogs, now: datetime) -> None:
    """Runs beyond what is kept, with their logs; and the logs of apps that are gone."""
    before = now - KEEP_FOR
    for key in ledger.with_old_runs(KEEP, before):
        logs.remove(key, ledger.prune(key, KEEP, before))
        await asyncio.sleep(0)
    there = ledger.app_names()
    for app in logs.apps():
        if app not in there:
            logs.remove_app(app)
