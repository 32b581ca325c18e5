"""Which release each part of the app runs, noted in Redis so that one page can show all parts side by side."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from app.store import db, key, now

BEAT_EVERY: Final = 2  # seconds between a worker's signs of life
BEAT_LASTS: Final = 10  # seconds after which a silent worker is no longer shown
SEQUENCE_LENGTH: Final = 1000
TOLD_TO_STOP: Final = 128 + signal.SIGTERM

# What the platform says about this process.
ME: Final = {
    "release": os.environ.get("LOCKSTEP_RELEASE", "local"),
    "commit": os.environ.get("LOCKSTEP_COMMIT", ""),
    "host": socket.gethostname(),
}
STARTED: Final = {**ME, "started_at": now().isoformat(timespec="milliseconds")}


def record(part: str, event: str) -> None:
    """Append to the sequence: a list, oldest first, in the order in which Redis heard of it."""
    entry = {"part": part, "event": event, **ME, "at": now().isoformat(timespec="milliseconds")}
    with db.pipeline() as pipe:
        pipe.rpush(key("sequence"), json.dumps(entry))
        pipe.ltrim(key("sequence"), -SEQUENCE_LENGTH, -1)
        pipe.execute()


def sequence() -> list[dict[str, str]]:
    return [json.loads(entry) for entry in db.lrange(key("sequence"), 0, -1)]


@contextmanager
def on_record(part: str, exit_code: int = TOLD_TO_STOP) -> Iterator[None]:
    """Record the start of `part`, and its stop however it ends, also on SIGTERM: then it exits with `exit_code`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(exit_code))
    record(part, "start")
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        record(part, "stop")


# Workers alive: a sorted set of who they are, by the time of the last sign of life. Two at once show as two.


def beat(at: datetime) -> None:
    with db.pipeline() as pipe:
        pipe.zadd(key("workers"), {json.dumps(STARTED): at.timestamp()})
        pipe.zremrangebyscore(key("workers"), "-inf", at.timestamp() - BEAT_LASTS)
        pipe.execute()


def beat_ends() -> None:
    db.zrem(key("workers"), json.dumps(STARTED))


def workers(at: datetime) -> list[dict[str, str]]:
    return [json.loads(who) for who in db.zrangebyscore(key("workers"), at.timestamp() - BEAT_LASTS, "+inf")]


def cron_ran(at: datetime, removed: int) -> None:
    last = {**ME, "at": at.isoformat(timespec="milliseconds"), "removed": removed}
    db.set(key("last-cron"), json.dumps(last))


def report(at: datetime) -> dict[str, Any]:
    """Web (this process), the workers that are alive, the last cron run, and whether web and workers agree."""
    alive = workers(at)
    last_cron = db.get(key("last-cron"))
    if not alive:
        state = "no worker"
    elif all((who["release"], who["commit"]) == (ME["release"], ME["commit"]) for who in alive):
        state = "in step"
    else:
        state = "drift"
    return {"state": state, "web": STARTED, "workers": alive, "cron": json.loads(last_cron) if last_cron else None}
