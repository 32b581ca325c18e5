"""The app's Redis. Its user may touch only keys that begin with the app's name, so every key is made by `key`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Final

from redis import Redis

APP: Final = os.environ.get("LOCKSTEP_APP", "jobboard")

db: Final = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)


def key(*names: str) -> str:
    return ":".join((APP, *names))


def now() -> datetime:
    return datetime.now(UTC)
