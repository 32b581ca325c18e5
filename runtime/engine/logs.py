"""Reading what containers wrote: the engine's framed stream, split into lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runtime.engine.client import Engine
from runtime.errors import EngineError, NotFound

HEADER = 8  # bytes: stream number, three zeros, length big-endian
TAIL_DEADLINE = 10.0  # seconds for the last lines of a log, which nothing is to wait for
LONGEST_LINE = 64 * 1024  # bytes; a longer line is cut into several


@dataclass(frozen=True)
class LogLine:
    """One line; `moment` is the engine's own RFC 3339 text."""

    moment: str
    text: str
    error: bool


async def container_logs(
    engine: Engine, container: str, *, follow: bool = False, tail: int | None = None, since: datetime | None = None
) -> AsyncIterator[LogLine]:
    """Both streams of a container, oldest first, each line with the engine's timestamp."""
    params: dict[str, Any] = {"stdout": True, "stderr": True, "timestamps": True, "follow": follow}
    params["since"] = None if since is None else f"{since.timestamp():.6f}"
    params["tail"] = "all" if tail is None else tail
    partial: dict[int, bytearray] = {}
    async with engine.request("GET", f"/containers/{container}/logs", params, streaming=True) as response:
        async for stream, chunk in _frames(response.content.iter_any()):
            pending = partial.setdefault(stream, bytearray())
            pending += chunk
            *whole, rest = pending.split(b"\n")
            partial[stream] = bytearray(rest)
            for line in whole:
                yield _line(bytes(line), stream)
            if len(rest) > LONGEST_LINE:
                partial[stream] = bytearray()
                yield _line(bytes(rest), stream)
        for stream, pending in partial.items():
            if pending:
                yield _line(bytes(pending), stream)


async def log_tail(engine: Engine, container: str, lines: int = 20) -> tuple[str, ...]:
    """The last lines of a container; empty when it is gone (its log went with it)."""
    try:
        async with asyncio.timeout(TAIL_DEADLINE):
            return tuple([line.text async for line in container_logs(engine, container, tail=lines)])
    except NotFound:
        return ()
    except TimeoutError:
        return (f"(the log could not be read within {TAIL_DEADLINE:g} s)",)
    except EngineError as error:
        return (f"(the log can not be read: {error})",)


async def _frames(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    pending = bytearray()
    async for chunk in chunks:
        pending += chunk
        while len(pending) >= HEADER:
            size = int.from_bytes(pending[4:HEADER], "big")
            if len(pending) < HEADER + size:
                break
            yield pending[0], bytes(pending[HEADER : HEADER + size])
            del pending[: HEADER + size]


def _line(raw: bytes, stream: int) -> LogLine:
    moment, _, text = raw.partition(b" ")
    return LogLine(moment.decode(errors="replace"), text.decode(errors="replace").rstrip("\r"), stream == 2)
