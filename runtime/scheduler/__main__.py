"""The scheduler's process: `python -m runtime.scheduler --home DIR`."""

from __future__ import annotations

import argparse
import asyncio
import functools
import logging
import os
import resource
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from runtime.engine.client import Engine
from runtime.errors import LockstepError, explain
from runtime.faults import fault_point
from runtime.scheduler.agenda import Agenda
from runtime.scheduler.containers import Containers, Link
from runtime.scheduler.execution import Office, boot_time
from runtime.scheduler.gate import Gate
from runtime.scheduler.heartbeat import Heartbeat
from runtime.scheduler.housekeeping import keep_house
from runtime.scheduler.ledger import Ledger
from runtime.scheduler.lock import alone
from runtime.scheduler.loop import Scheduler
from runtime.scheduler.runlog import RunLogs
from runtime.secrets import Vault
from runtime.settings import Settings, load_settings
from runtime.store import Store

STARTS: Final = max(4, 2 * (os.cpu_count() or 1))  # containers that are started at once


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m runtime.scheduler", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the instance's folder")
    try:
        settings = load_settings(parser.parse_args().home)
        _prepare(settings)
        with alone(settings.run / "scheduler.lock"):
            asyncio.run(_until_stopped(settings))
    except LockstepError as error:
        print(f"scheduler: {explain(error)}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def _prepare(settings: Settings) -> None:
    for folder in (settings.logs, settings.run):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(filename=settings.logs / "scheduler.log", format=form, level=logging.INFO)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each run under way has a connection to the engine


async def _until_stopped(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    working = asyncio.create_task(_run(settings), name="scheduler")
    stopping = asyncio.create_task(stop.wait(), name="stop signal")
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working


async def _run(settings: Settings) -> None:
    store = Store(settings.database, Vault(settings.secret_key))
    ledger, logs = Ledger(store, settings.instance), RunLogs(settings.logs)
    link, heartbeat = Link(Engine(settings.engine)), Heartbeat(settings.database)
    containers = Containers(link, settings.instance)
    fault = functools.partial(_fault, settings)
    gate = Gate(STARTS, ledger.held)
    office = Office(ledger, containers, logs, gate, _now, fault, boot_time())
    scheduler = Scheduler(Agenda(ledger, fault), ledger, office, heartbeat, _now)
    house = asyncio.create_task(keep_house(ledger, containers, logs, _now), name="housekeeping")
    try:
        await scheduler.run(settings.scheduler_socket)
    finally:
        house.cancel()
        await asyncio.gather(house, return_exceptions=True)
        await link.close()
        heartbeat.close()
        store.close()


def _fault(settings: Settings, step: str, moment: str) -> None:
    fault_point(settings, f"cron-{step}", moment)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
