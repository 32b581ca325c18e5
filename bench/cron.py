"""How late rows are when a thousand jobs are due in one minute, and what ten thousand jobs cost at rest.

Runs the scheduler's own loop on a real store in a process of its own, with runs that start no container.
`python -m bench.cron` takes about two minutes and prints a table; `-o json` prints the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from runtime.model import AppSpec, CronJob, CronRun, Dialect, Image, Release, RunState
from runtime.scheduler.agenda import Agenda
from runtime.scheduler.ending import End
from runtime.scheduler.heartbeat import Heartbeat
from runtime.scheduler.ledger import Ledger
from runtime.scheduler.loop import Scheduler
from runtime.secrets import Vault, make_key
from runtime.settings import load_settings, render_settings
from runtime.store import Store, prepare_store

JOBS_PER_APP: Final = 50
RUN_LASTS: Final = 2.0  # seconds of a pretended run
REST: Final = 30.0  # seconds over which rest is measured
ROOM: Final = 45.0  # seconds before the minute in which the jobs are due


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--due", type=int, default=1_000, help="jobs that are due in the same minute")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        print(json.dumps(asyncio.run(measure(arguments.child, arguments.due))))
        return
    figures = run(arguments.jobs, arguments.due)
    if arguments.output == "json":
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        print(f"{name:<42} {value}")


def run(jobs: int, due: int) -> dict[str, Any]:
    """Fill a store and measure in a fresh process."""
    home = Path(tempfile.mkdtemp(prefix="bench-cron-"))
    try:
        fill(home, jobs, due)
        words = [sys.executable, "-m", "bench.cron", "--child", str(home), "--due", str(due)]
        answer = subprocess.run(words, check=True, stdout=subprocess.PIPE, timeout=300)
        figures: dict[str, Any] = json.loads(answer.stdout)
        return {"jobs": jobs, "due in one minute": due, **figures}
    finally:
        shutil.rmtree(home)


def fill(home: Path, jobs: int, due: int) -> None:
    """An instance whose apps have `jobs` jobs, of which `due` are due in a minute that is near."""
    (home / "lockstep.toml").write_text(render_settings({"instance": "bench"}))
    settings = load_settings(home)
    make_key(settings.secret_key)
    prepare_store(settings.database)
    settings.run.mkdir()
    now = datetime.now(UTC)
    minute = next_minute(now)
    crons = [job(number, minute, is_due=number % (jobs // due) == 0) for number in range(jobs)]
    store = Store(settings.database, Vault(settings.secret_key))
    with store.write() as tx:
        for number in range(0, jobs, JOBS_PER_APP):
            app = f"app{number // JOBS_PER_APP}"
            tx.apps.create(app, now)
            tx.releases.add(release(app, tuple(crons[number : number + JOBS_PER_APP]), now))
            tx.apps.set_current(app, 1)
            tx.releases.mark_live(app, 1, now)
    store.close()
    (home / "minute").write_text(minute.isoformat())


def next_minute(now: datetime) -> datetime:
    later = now + timedelta(seconds=ROOM + REST)
    return later.replace(second=0, microsecond=0) + timedelta(minutes=1)


def job(number: int, minute: datetime, *, is_due: bool) -> CronJob:
    schedule = f"{minute.minute} {minute.hour} * * *" if is_due else f"{number % 60} {number % 24} 1 1 *"
    return CronJob(name=f"job{number}", schedule=schedule, command="true")


def release(app: str, crons: tuple[CronJob, ...], now: datetime) -> Release:
    return Release(
        app=app,
        number=1,
        commit="c" * 40,
        image=Image(id="sha256:" + "0" * 64),
        spec=AppSpec(dialect=Dialect.PAAS, crons=crons),
        config={},
        created_at=now,
        created_by="bench",
        description="bench",
    )


async def measure(home: Path, due: int) -> dict[str, Any]:
    """The scheduler's loop, first at rest and then through the minute in which jobs are due."""
    settings = load_settings(home)
    store = Store(settings.database, Vault(settings.secret_key))
    ledger, heartbeat = Ledger(store, settings.instance), Heartbeat(settings.database)
    late: list[float] = []

    async def pretend(run: CronRun, stop: asyncio.Event) -> None:
        late.append((datetime.now(UTC) - run.slot).total_seconds() * 1000)
        await asyncio.sleep(RUN_LASTS)
        ledger.started(run, datetime.now(UTC))
        ledger.ended(run, End(RunState.SUCCEEDED, datetime.now(UTC), 0), None)

    agenda = Agenda(ledger)
    began = time.monotonic()
    scheduler = Scheduler(agenda, ledger, pretend, heartbeat, lambda: datetime.now(UTC))
    loop = asyncio.create_task(scheduler.run(settings.scheduler_socket))
    while not len(agenda):
        await asyncio.sleep(0.01)
    loaded = time.monotonic() - began
    await asyncio.sleep(2)
    rest = await at_rest()
    while len(late) < due or ledger.open():
        await asyncio.sleep(0.5)
    loop.cancel()
    with suppress(asyncio.CancelledError):
        await loop
    late.sort()
    return {
        "load, s": round(loaded, 2),
        **rest,
        "rows": len(late),
        "lateness of a row p50, ms": round(statistics.median(late), 1),
        "lateness of a row p99, ms": round(late[int(len(late) * 0.99)], 1),
        "lateness of a row max, ms": round(late[-1], 1),
        "memory after, MB (PSS)": memory(),
    }


async def at_rest() -> dict[str, Any]:
    before = time.process_time()
    await asyncio.sleep(REST)
    used = (time.process_time() - before) / REST
    return {"CPU at rest, % of a core": round(100 * used, 3), "memory at rest, MB (PSS)": memory()}


def memory() -> float:
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise RuntimeError("no Pss line")


if __name__ == "__main__":
    main()
