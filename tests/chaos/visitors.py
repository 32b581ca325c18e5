"""Visitors of an app: requests at a fixed rate whether or not earlier ones were answered, over connections that
are fresh, kept from an earlier request, or were opened some time ahead as browsers do.

A kept or early connection may be closed by the server just as a request is sent on it; RFC 9110 (9.2.2) has
clients send a GET again then, and all browsers do. Such a request is asked once more on a fresh connection,
and counted in `again`. Whatever else goes wrong is in `lost`.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.observer import Sample

MOST: Final = 400  # requests under way at once; more means that answers do not come
PATIENCE: Final = 15.0  # seconds for one answer
AHEAD: Final = 4.0  # seconds that an early connection is open before its request

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Closed(Exception):
    """The connection ended before the first byte of an answer."""


@dataclass
class Score:
    answers: list[Sample] = field(default_factory=list)
    latencies: list[tuple[float, str]] = field(default_factory=list)  # seconds, kind of connection
    lost: list[str] = field(default_factory=list)
    again: int = 0

    def summary(self) -> str:
        slowest = sorted(self.latencies)
        if not slowest:
            return "no answers"
        median, p99, (worst, how) = slowest[len(slowest) // 2][0], slowest[len(slowest) * 99 // 100][0], slowest[-1]
        return (
            f"{len(self.answers)} answers, {len(self.lost)} lost, {self.again} asked again on a closed connection; "
            f"median {median * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, worst {worst * 1000:.0f} ms ({how})"
        )


class Visitors:
    """Runs in a thread of its own, so that a test can block meanwhile."""

    def __init__(self, port: int, host: str, rate: float, seed: int = 1) -> None:
        self.score = Score()
        self._port = port
        self._words = f"GET / HTTP/1.1\r\nHost: {host}\r\n"
        self._rate = rate
        self._random = random.Random(seed)
        self._kept: deque[Connection] = deque()
        self._stop = threading.Event()

    @contextmanager
    def visiting(self) -> Iterator[Score]:
        thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        thread.start()
        try:
            yield self.score
        finally:
            self._stop.set()
            thread.join()

    async def _run(self) -> None:
        under_way: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while not self._stop.is_set():
            if len(under_way) >= MOST:
                self.score.lost.append(f"{MOST} requests without an answer")
                break
            task = asyncio.create_task(self._visit(self._random.choice(("fresh", "kept", "kept", "early"))))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            due += 1 / self._rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.gather(*under_way)
        for _, writer in self._kept:
            writer.close()

    async def _visit(self, how: str) -> None:
        connection = None
        if how == "early":
            connection = await self._open()
            await asyncio.sleep(self._random.uniform(0, AHEAD))
        elif how == "kept" and self._kept:
            connection = self._kept.popleft()
        began, at = time.monotonic(), time.time_ns()
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._ask(connection, how)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, Closed) as error:
            self.score.lost.append(f"{how} request at {at}: {error!r}")
            return
        self.score.latencies.append((time.monotonic() - began, how))
        self.score.answers.append(answer)

    async def _ask(self, connection: Connection | None, how: str) -> Sample:
        """Raises ValueError for an answer that is not one of web."""
        keep = how == "kept"
        if connection is not None:
            try:
                return await self._exchange(connection, keep)
            except (Closed, ConnectionError):
                self.score.again += 1
        return await self._exchange(await self._open(), keep)

    async def _open(self) -> Connection:
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def _exchange(self, connection: Connection, keep: bool) -> Sample:
        reader, writer = connection
        kept = False
        try:
            writer.write((self._words + ("\r\n" if keep else "Connection: close\r\n\r\n")).encode())
            head = await self._head(reader)
            status, length = _read_head(head)
            body = await reader.readexactly(length)
            if status != 200:
                raise ValueError(f"{status} {body[:80]!r}")
            said = json.loads(body)
            kept = keep and b"connection: close" not in head.lower()
            return Sample(said["at"], said["at"], said["release"])
        finally:
            if kept:
                self._kept.append(connection)
            else:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if not error.partial:
                raise Closed from None
            raise


def _read_head(head: bytes) -> tuple[int, int]:
    first, *lines = head.decode().split("\r\n")
    named = dict(line.lower().split(": ", 1) for line in lines if line)
    return int(first.split()[1]), int(named.get("content-length", "0"))
