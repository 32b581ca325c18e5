"""What one container writes on its way into the log: all of it, and of a flood as much as is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.engine.logs import LONGEST_LINE, LineSplitter, LogLine, NotFramed
from runtime.logbook import inflow
from runtime.logbook.book import Book
from runtime.logbook.entry import Entry, LogKind, Stream
from runtime.logbook.inflow import Inflow, Tag
from runtime.logbook.reading import newest
from runtime.model import MIB

TAG = Tag("shop", LogKind.APP, "web.1", 3, "c0ffee")
MOMENT = "2026-01-02T03:04:05.{:09d}Z"


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    found = Book(tmp_path, MIB)
    yield found
    found.close()


def entries(book: Book) -> list[Entry]:
    return newest(book.extent(), lambda _: True, 10**6)


def flood(first: int, count: int) -> list[LogLine]:
    return [LogLine(MOMENT.format(number), f"{number} {'x' * 850}", False) for number in range(first, first + count)]


async def test_line_has_the_name_of_its_process(book: Book) -> None:
    Inflow(book, TAG, lambda: 0.0).take([LogLine(MOMENT.format(1), "hello", True)])
    assert entries(book) == [
        Entry(MOMENT.format(1), LogKind.APP, "web.1", "hello", Stream.ERR, 3, None, "c0ffee"),
    ]


async def test_flood_keeps_its_first_and_its_newest_lines_and_tells_how_many_were_dropped(book: Book) -> None:
    taken = Inflow(book, TAG, lambda: 0.0)
    for first in range(0, 5000, 100):
        taken.take(flood(first, 100))
    before = taken.flooded
    taken.release()
    written = book.lines
    assert (before, taken.flooded) == (True, False)
    last = entries(book)[-1]
    assert last.text.startswith("4999 ")
    (said,) = (item for item in entries(book) if item.stream is Stream.NOTE)
    dropped = int(said.text[1:].split()[0])
    assert (said.process, said.text) == ("web.1", f"({dropped} lines were dropped: web.1 wrote more than is kept)")
    assert written - 1 + dropped == 5000


async def test_flood_that_pauses_is_written_without_another_line(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflow, "REOPEN", 0.01)
    taken = Inflow(book, TAG, lambda: 0.0)
    taken.take(flood(0, 2000))
    assert not entries(book)[-1].text.startswith("1999 ")
    async with asyncio.timeout(10):
        while not entries(book)[-1].text.startswith("1999 "):
            await book.grown()


async def test_steady_writer_within_the_rate_loses_nothing(book: Book) -> None:
    now = [0.0]
    taken = Inflow(book, TAG, lambda: now[0])
    for number in range(3000):
        taken.take(flood(number, 1))
        now[0] += 1000 / inflow.RATE
        assert not taken.flooded
    assert book.lines == 3000


# ---- the engine's frames -------------------------------------------------------------------------------------------


def frame(stream: int, text: str) -> bytes:
    data = text.encode()
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
def test_lines_of_both_streams_whatever_the_pieces_they_come_in(step: int) -> None:
    data = frame(1, "T1 one\n") + frame(2, "T2 two\r\n") + frame(1, "T3 \n") + frame(1, "T4 ü")
    splitter = LineSplitter()
    found = [line for start in range(0, len(data), step) for line in splitter.feed(data[start : start + step])]
    assert found == [LogLine("T1", "one", False), LogLine("T2", "two", True), LogLine("T3", "", False)]
    assert splitter.end() == [LogLine("T4", "ü", False)]
    assert splitter.end() == []


def test_long_line_comes_in_frames_that_each_have_a_moment() -> None:
    splitter = LineSplitter()
    data = frame(1, "T1 " + "a" * 16384) + frame(2, "T2 between\n") + frame(1, "T1 " + "b" * 10 + "\n")
    assert splitter.feed(data) == [LogLine("T2", "between", True), LogLine("T1", "a" * 16384 + "b" * 10, False)]


def test_endless_line_is_cut() -> None:
    splitter = LineSplitter()
    found = [line for _ in range(10) for line in splitter.feed(frame(1, "T1 " + "a" * 16384))] + splitter.end()
    assert sum(len(line.text) for line in found) == 10 * 16384
    assert max(len(line.text) for line in found) <= LONGEST_LINE + 16384


def test_log_of_a_terminal_is_not_taken_for_frames() -> None:
    with pytest.raises(NotFramed):
        LineSplitter().feed(b"root@host:/# ls\r\n")
