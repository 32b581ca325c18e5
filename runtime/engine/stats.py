"""What a container uses right now, and how it ended: from the engine's one-shot statistics."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from runtime.engine.client import Engine
from runtime.engine.tasks import moment

WINDOW: Final = 0.5  # seconds between the two readings that a rate is made of
DEADLINE: Final = 8.0  # seconds for one container's figures
NANO: Final = 1e9


@dataclass(frozen=True)
class Usage:
    """One container, just now."""

    cpu: float  # cores
    memory: int  # bytes, without the cache that the kernel can take back


async def usage(engine: Engine, container: str) -> Usage:
    """Raises EngineError, or TimeoutError after DEADLINE seconds."""
    async with asyncio.timeout(DEADLINE):
        first = await _read(engine, container)
        await asyncio.sleep(WINDOW)
        return usage_in(first, await _read(engine, container))


def usage_in(first: dict[str, Any], second: dict[str, Any]) -> Usage:
    """From two readings. Raises ValueError for those of a container that does not run."""
    try:
        spent = _spent(second) - _spent(first)
        passed = (_at(second) - _at(first)).total_seconds()
        memory = second["memory_stats"]
        details = memory.get("stats") or {}
        cache = details.get("total_inactive_file", details.get("inactive_file", 0))
        used = int(memory["usage"]) - int(cache)
    except (KeyError, TypeError) as error:
        raise ValueError(f"the engine's statistics lack {error}") from None
    if passed <= 0:
        raise ValueError("the engine's statistics did not move on")
    return Usage(cpu=max(0.0, spent / NANO / passed), memory=max(0, used))


async def was_out_of_memory(engine: Engine, container: str) -> bool:
    """Whether the kernel ended it over its memory. Raises NotFound when the container is gone."""
    found = await engine.get(f"/containers/{container}/json")
    return bool(found["State"].get("OOMKilled"))


async def _read(engine: Engine, container: str) -> dict[str, Any]:
    found: dict[str, Any] = await engine.get(f"/containers/{container}/stats", **{"stream": False, "one-shot": True})
    return found


def _spent(reading: dict[str, Any]) -> int:
    return int(reading["cpu_stats"]["cpu_usage"]["total_usage"])


def _at(reading: dict[str, Any]) -> datetime:
    return moment(reading["read"])
