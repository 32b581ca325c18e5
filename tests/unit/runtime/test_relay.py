"""Telling the log of a container that ends before all of it was read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from runtime.engine import logs
from runtime.engine.client import Engine
from runtime.engine.logs import CUT, LAST, UNREAD, LogLine, Relay


class Log:
    """What a container wrote, of which the first lines are read at once and the others never come."""

    def __init__(self, lines: int, read: int, *, tail_comes: bool = True, ends: bool = False) -> None:
        self._lines = [LogLine(f"2026-01-01T00:00:00.{number:09}Z", str(number), False) for number in range(lines)]
        self._read = read
        self._tail_comes = tail_comes
        self._ends = ends  # whether the stream ends behind what is read

    def swap(self, one: int, other: int) -> None:
        self._lines[one], self._lines[other] = self._lines[other], self._lines[one]

    async def container_logs(
        self, engine: Engine, container: str, *, follow: bool = False, tail: int | None = None
    ) -> AsyncIterator[LogLine]:
        for line in self._lines[: self._read] if tail is None else self._lines[-tail:]:
            yield line
        if (follow and not self._ends) or not (follow or self._tail_comes):
            await asyncio.Event().wait()


async def told(monkeypatch: pytest.MonkeyPatch, log: Log) -> list[str]:
    monkeypatch.setattr(logs, "container_logs", log.container_logs)
    lines: list[str] = []
    relay = Relay(cast(Any, None), "c", lambda line: lines.append(line.text))
    await relay.finish(0.01)
    return lines


@pytest.mark.parametrize(("lines", "read"), [(5, 2), (5, 5), (LAST + 2, 2), (LAST, 1), (3, 0)])
async def test_end_follows_what_was_told(monkeypatch: pytest.MonkeyPatch, lines: int, read: int) -> None:
    heard = [text for text in await told(monkeypatch, Log(lines, read)) if text != CUT]
    assert heard == [str(number) for number in range(lines)]


@pytest.mark.parametrize("ends", [True, False])
async def test_what_is_left_out_between_is_said(monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    heard = await told(monkeypatch, Log(LAST + 50, 20, ends=ends))
    assert heard == [*map(str, range(20)), CUT, *map(str, range(50, LAST + 50))]


async def test_end_that_does_not_come_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "TAIL_DEADLINE", 0.01)
    assert await told(monkeypatch, Log(3, 1, tail_comes=False)) == ["0", UNREAD]


async def test_lines_that_came_in_another_order_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(4, 4, ends=True)
    log.swap(2, 3)
    assert await told(monkeypatch, log) == ["0", "1", "3", "2"]
