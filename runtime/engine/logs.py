"""Reading what containers wrote: the engine's framed stream, split into lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final

from runtime.engine.client import Engine
from runtime.errors import EngineError, NotFound

HEADER: Final = 8  # bytes: stream number, three zeros, length big-endian
TAIL_DEADLINE: Final = 10.0  # seconds for the last lines of a log, which nothing is to wait for
LAST: Final = 200  # lines that are told of the end of a log when it is too long to be told whole
CUT: Final = "(lines are left out here: the log is too long to be told whole)"
UNREAD: Final = f"(the end of the log could not be read within {TAIL_DEADLINE:g} s)"
LONGEST_LINE: Final = 64 * 1024  # bytes; a longer line is cut into several


class NotFramed(EngineError):
    """The container has a terminal: what it writes is for the eyes at that terminal, in one raw stream."""


@dataclass(frozen=True)
class LogLine:
    """One line; `moment` is the engine's own RFC 3339 text."""

    moment: str
    text: str
    error: bool


async def log_batches(
    engine: Engine, container: str, *, follow: bool = False, tail: int | None = None, since: str | None = None
) -> AsyncGenerator[list[LogLine], None]:
    """Both streams of a container, oldest first, as many lines at a time as came together.

    `since` is in seconds since 1970, with nanoseconds. Leaving it before its end keeps the connection: use
    `contextlib.aclosing`. Raises NotFramed for a container with a terminal.
    """
    params: dict[str, Any] = {"stdout": True, "stderr": True, "timestamps": True, "follow": follow}
    params |= {"since": since, "tail": "all" if tail is None else tail}
    splitter = LineSplitter()
    async with engine.request("GET", f"/containers/{container}/logs", params, streaming=True) as response:
        async for chunk in response.content.iter_any():
            if lines := splitter.feed(chunk):
                yield lines
        if lines := splitter.end():
            yield lines


async def container_logs(
    engine: Engine, container: str, *, follow: bool = False, tail: int | None = None
) -> AsyncIterator[LogLine]:
    """Both streams of a container, oldest first, each line with the engine's timestamp."""
    async with aclosing(log_batches(engine, container, follow=follow, tail=tail)) as batches:
        async for batch in batches:
            for line in batch:
                yield line


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


class Relay:
    """Tells the lines of a container from its start on, as they come."""

    def __init__(self, engine: Engine, container: str, tell: Callable[[LogLine], None]) -> None:
        self._engine = engine
        self._container = container
        self._tell = tell
        self._told = ""  # the latest moment of what was told; lines of the two streams may come in another order
        self._reading = asyncio.create_task(self._follow())

    async def finish(self, seconds: float) -> None:
        """The rest, once the container has ended: all that is read within `seconds`, and its last lines in any case.

        They are asked for even when the stream has ended: the engine ends it too when a log is rotated faster than it
        is read. Raises EngineError.
        """
        await asyncio.wait({self._reading}, timeout=seconds)
        if self._reading.done():
            self._reading.result()
        await self.leave()
        try:
            async with asyncio.timeout(TAIL_DEADLINE):
                await self._tell_end()
        except TimeoutError:
            self._tell(LogLine(self._told, UNREAD, error=True))

    async def leave(self) -> None:
        """Tell nothing more."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _follow(self) -> None:
        with suppress(NotFound):
            async for line in container_logs(self._engine, self._container, follow=True):
                self._told = max(self._told, line.moment)
                self._tell(line)

    async def _tell_end(self) -> None:
        with suppress(NotFound):
            end = [line async for line in container_logs(self._engine, self._container, tail=LAST)]
            if len(end) == LAST and end[0].moment > self._told:
                self._tell(LogLine(self._told, CUT, error=True))
            for line in end:
                if line.moment > self._told:
                    self._tell(line)


class LineSplitter:
    """Makes lines of the engine's frames.

    A frame is a line, or up to 16 KiB of a longer one; each begins with the moment, those of one line with the same.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self._begun: dict[int, tuple[str, bytearray]] = {}  # stream -> the line that has not ended

    def feed(self, chunk: bytes) -> list[LogLine]:
        """The lines that end in this chunk."""
        self._pending += chunk
        return [line for stream, frame in self._frames() for line in self._lines(stream, frame)]

    def end(self) -> list[LogLine]:
        """What was written without an end of line."""
        left = [_line(moment, text, stream) for stream, (moment, text) in self._begun.items() if text]
        self._begun.clear()
        return left

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        position, data = 0, self._pending
        while len(data) - position >= HEADER:
            if data[position] > 2 or any(data[position + 1 : position + 4]):
                raise NotFramed("the container has a terminal: its log is not kept")
            end = position + HEADER + int.from_bytes(data[position + 4 : position + HEADER], "big")
            if len(data) < end:
                break
            yield data[position], bytes(data[position + HEADER : end])
            position = end
        del data[:position]

    def _lines(self, stream: int, frame: bytes) -> Iterator[LogLine]:
        stamp, _, rest = frame.partition(b" ")
        *whole, rest = rest.split(b"\n")
        moment, begun = self._begun.pop(stream, (stamp.decode(errors="replace"), bytearray()))
        for text in whole:
            begun += text
            yield _line(moment, begun, stream)
            moment, begun = stamp.decode(errors="replace"), bytearray()
        begun += rest
        if len(begun) > LONGEST_LINE:
            yield _line(moment, begun, stream)
            begun = bytearray()
        if begun:
            self._begun[stream] = moment, begun


def _line(moment: str, text: bytearray, stream: int) -> LogLine:
    return LogLine(moment, text.decode(errors="replace").rstrip("\r"), stream == 2)
