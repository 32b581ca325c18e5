"""The app's Redis. Its user may touch only keys that begin with its prefix, so every key is made by `key`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Final

from redis import Redis

PREFIX: Final = os.environ.get("LOCKSTEP_REDIS_PREFIX", "jobboard:")

db: Final = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)


def key(*names: str) -> str:
    return PREFIX + ":".join(names)


def now() -> datetime:
    return datetime.now(UTC)
