"""The streams of a process in a container: a connection to the engine that stops being HTTP after its answer.

Without a terminal the engine frames what it sends: 8 bytes (stream number, three zeros, length big-endian), then so
many bytes. With a terminal both directions are plain bytes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from runtime.engine.client import ANSWER_DEADLINE, CONNECT_DEADLINE, Engine, encoded, refusal, tls_context
from runtime.errors import EngineUnreachable

HEADER: Final = 8  # bytes in front of a frame
CHUNK: Final = 64 * 1024  # bytes read at a time; the engine has to wait while as much again is not taken
HEAD_LIMIT: Final = 64 * 1024  # bytes of the answer's head, and of a refusal
STDOUT: Final = 1
STDERR: Final = 2
TCP_PORT: Final = 2375
# The keys that leave a container's terminal: the engine's own begin with Ctrl-P, which shells use, and there have to
# be some. Nobody types these.
DETACH_KEYS: Final = ",".join(["ctrl-^", "ctrl-@"] * 8)


class Attached:
    """The connection. `close()` it when done: the process does not end by that."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tty: bool) -> None:
        self._reader = reader
        self._writer = writer
        self._tty = tty

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """(STDOUT or STDERR, bytes) as they come, to the end of both. Raises EngineUnreachable when it breaks off."""
        try:
            while (size := await self._next()) is not None:
                stream, left = size
                while left > 0:
                    data = await self._reader.read(min(left, CHUNK))
                    if not data:
                        if self._tty:
                            return
                        raise EngineUnreachable("the docker engine broke off the output in its middle")
                    left -= 0 if self._tty else len(data)
                    yield stream, data
        except (OSError, asyncio.IncompleteReadError) as error:
            raise EngineUnreachable(f"the docker engine broke off the output: {error}") from None

    async def write(self, data: bytes) -> None:
        """Hand over standard input and wait while the process has more of it than it reads. Raises OSError."""
        self._writer.write(data)
        await self._writer.drain()

    def end_input(self) -> None:
        """The process is to see the end of its input. An engine over TLS can not be told."""
        if self._writer.can_write_eof() and not self._writer.is_closing():
            self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()

    async def _next(self) -> tuple[int, int] | None:
        """The stream and the length of the next frame; None at the end."""
        if self._tty:
            return STDOUT, CHUNK
        try:
            header = await self._reader.readexactly(HEADER)
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            return None
        return (STDOUT if header[0] < STDERR else STDERR), int.from_bytes(header[4:], "big")


async def attach(engine: Engine, container: str, *, tty: bool) -> Attached:
    """All streams of a container's first process; before its start, so that nothing is missed."""
    wanted = {"stream": True, "stdin": True, "stdout": True, "stderr": True, "detachKeys": DETACH_KEYS}
    return await _hijack(engine, f"/containers/{container}/attach", wanted, b"", tty=tty)


async def start_exec(engine: Engine, number: str, *, tty: bool, size: tuple[int, int] | None) -> Attached:
    """Start an exec that was created, with all its streams; `size` is (rows, columns) of its terminal."""
    body: dict[str, Any] = {"Detach": False, "Tty": tty}
    if size is not None:
        body["ConsoleSize"] = list(size)  # engines before 23.0 pass over it
    return await _hijack(engine, f"/exec/{number}/start", {}, json.dumps(body).encode(), tty=tty)


async def _hijack(engine: Engine, path: str, params: dict[str, Any], body: bytes, *, tty: bool) -> Attached:
    """Raises NotFound, Conflict, EngineError, EngineUnreachable."""
    head = (
        f"POST {engine.prefix}{path}?{urlencode(encoded(params))} HTTP/1.1\r\nHost: engine\r\n"
        "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    try:
        async with asyncio.timeout(CONNECT_DEADLINE):
            reader, writer = await _dial(engine.host)
    except (OSError, TimeoutError) as error:
        raise EngineUnreachable(f"cannot reach the docker engine at {engine.host}: {error}") from None
    try:
        async with asyncio.timeout(ANSWER_DEADLINE):
            writer.write(head.encode() + body)
            await writer.drain()
            await _answer(reader)
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        writer.close()
        what = str(error) or "no answer"
        raise EngineUnreachable(f"the docker engine at {engine.host} did not take {path}: {what}") from None
    except BaseException:
        writer.close()
        raise
    return Attached(reader, writer, tty=tty)


async def _dial(host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(host)
    if parts.scheme == "unix":
        return await asyncio.open_unix_connection(parts.path, limit=CHUNK)
    return await asyncio.open_connection(parts.hostname, parts.port or TCP_PORT, ssl=tls_context(), limit=CHUNK)


async def _answer(reader: asyncio.StreamReader) -> None:
    """Read the answer's head; what follows it are the streams. Raises EngineError for a refusal."""
    first, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(first.split()[1])
    if status < 400:
        return
    lengths = [field.partition(":")[2] for field in fields if field.lower().startswith("content-length:")]
    length = min(int(lengths[0]), HEAD_LIMIT) if lengths else 0
    raise refusal(status, await reader.readexactly(length))
