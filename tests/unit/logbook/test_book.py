"""The files of an app's log: appended, bounded, whole after any end; and the positions that are kept in them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.engine.logs import LogLine
from runtime.errors import StoreError
from runtime.logbook.book import SMALLEST, Book
from runtime.logbook.cursors import Resume
from runtime.logbook.entry import Entry, LogKind, Stream, decode, encode, note
from runtime.logbook.logbook import Logbook
from runtime.logbook.reading import DAMAGED, Follower, end_of, newest
from runtime.model import MIB
from tests.unit.runtime.samples import NOW

BUDGET = MIB
SOURCE = "c0ffee"


def moment(number: int) -> str:
    return f"2026-01-02T03:{number // 60 % 60:02d}:{number % 60:02d}.000000000Z"


def entry(number: int, text: str | None = None, **changes: object) -> Entry:
    values = {"release": 3, "source": SOURCE, **changes}
    return Entry(moment(number), LogKind.APP, "web.1", f"line {number}" if text is None else text, **values)  # type: ignore[arg-type]


def texts(book: Book, limit: int = 10**6) -> list[str]:
    return [item.text for item in newest(book.extent(), lambda _: True, limit)]


def fill(book: Book, numbers: Sequence[int], size: int = 1000) -> None:
    for number in numbers:
        book.append([entry(number, f"{number} {'x' * size}")])


def test_entry_survives_its_form_in_a_file() -> None:
    for item in (
        entry(1, "ü \x1b[31m \n \r \0 \\ \" ' \u2028"),
        Entry(moment(2), LogKind.DEPLOY, "v3", "", Stream.ERR, None, 7),
        note(moment(3), "5 lines were dropped"),
    ):
        line = encode(item)
        assert line.count(b"\n") == 1
        assert decode(line) == item


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"null", b'{"t":"x"}', b"\0\0\0", b'{"t":1,"k":"no","p":"","s":"","x":""}']
)
def test_damaged_line_is_none(line: bytes) -> None:
    assert decode(line) is None


def test_line_as_it_is_printed() -> None:
    found = Entry("2026-01-02T03:04:05.678901234Z", LogKind.CRON, "tidy_up", "a\x1b]0;title\x07b")
    assert str(found) == "2026-01-02T03:04:05.678Z cron[tidy_up]: ab"


def test_lines_are_there_after_the_server_opens_it_again(tmp_path: Path) -> None:
    book = Book(tmp_path, BUDGET)
    book.append([entry(1), entry(2)])
    again = Book(tmp_path, BUDGET)
    again.append([entry(3)])
    assert texts(again) == ["line 1", "line 2", "line 3"]
    assert (again.lines, again.cursors) == (3, Book(tmp_path, BUDGET).cursors)


def test_nothing_is_made_before_the_first_line(tmp_path: Path) -> None:
    book = Book(tmp_path / "shop", BUDGET)
    assert (texts(book), book.size, book.newest) == ([], 0, 0)
    assert not (tmp_path / "shop").exists()


@pytest.mark.parametrize("torn", [1, 10, 40])
def test_torn_last_line_is_dropped(tmp_path: Path, torn: int) -> None:
    book = Book(tmp_path, BUDGET)
    book.append([entry(1), entry(2)])
    path = book.path(1)
    path.write_bytes(path.read_bytes()[:-torn])
    assert texts(book) == ["line 1"]
    again = Book(tmp_path, BUDGET)
    again.append([entry(3)])
    assert texts(again) == ["line 1", "line 3"]
    assert again.lines == 2


@pytest.mark.parametrize("begun", [b"", b'{"before":1,"re', b"\0" * 20 + b"\n"])
def test_file_that_was_only_begun_is_dropped(tmp_path: Path, begun: bytes) -> None:
    book = Book(tmp_path, BUDGET)
    book.append([entry(1)])
    book.path(2).write_bytes(begun)
    again = Book(tmp_path, BUDGET)
    again.append([entry(2)])
    assert (texts(again), again.newest, again.lines) == (["line 1", "line 2"], 1, 2)


def test_oldest_files_go_when_the_budget_is_spent(tmp_path: Path) -> None:
    book = Book(tmp_path, BUDGET)
    fill(book, range(3000))
    on_disk = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert on_disk == book.size
    assert BUDGET - 2 * SMALLEST < on_disk <= BUDGET
    kept = [int(text.split()[0]) for text in texts(book)]
    assert kept == list(range(kept[0], 3000))
    assert book.lines == 3000
    assert Book(tmp_path, BUDGET).lines == 3000


def test_line_that_no_file_can_hold_is_cut(tmp_path: Path) -> None:
    book = Book(tmp_path, BUDGET)
    book.append([entry(1, "\x01" * 64 * 1024)])
    (text,) = texts(book)
    assert text.endswith("(the rest of this line is cut off)")
    assert book.size <= SMALLEST


def test_refusal_of_the_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book(tmp_path, BUDGET)
    book.append([entry(1)])
    real = __import__("os").write

    def full(handle: int, data: bytes) -> int:
        real(handle, data[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.write", full)
        with pytest.raises(StoreError, match="No space left on device"):
            book.append([entry(2)])
        with pytest.raises(StoreError):
            fill(book, range(2, 4), SMALLEST // 2 - 200)
    assert book.cursors.containers[SOURCE] == {Stream.OUT: (moment(1), 1)}
    book.append([entry(2)])
    assert texts(book) == texts(Book(tmp_path, BUDGET)) == ["line 1", "line 2"]


# ---- where sources are left ----------------------------------------------------------------------------------------


def told(*lines: tuple[int, str, bool]) -> list[LogLine]:
    return [LogLine(moment(number), text, error) for number, text, error in lines]


@pytest.mark.parametrize("files", [0, 100])
def test_container_is_read_on_from_where_the_log_ends(tmp_path: Path, files: int) -> None:
    """Lines of one moment, and two streams that are not quite in order, are neither lost nor doubled."""
    whole = told(
        (1, "a", False), (2, "b", False), (2, "c", False), (1, "x", True),
        (2, "d", False), (3, "y", True), (3, "e", False),
    )  # fmt: skip
    for cut in range(len(whole) + 1):
        folder = tmp_path / str(cut)
        book = Book(folder, BUDGET)
        for line in whole[:cut]:
            stream = Stream.ERR if line.error else Stream.OUT
            book.append([Entry(line.moment, LogKind.APP, "web.1", line.text, stream, source=SOURCE)])
        fill_others(book, files)
        resume = Resume(Book(folder, BUDGET).cursors.containers.get(SOURCE, {}))
        assert [line.text for line in whole if resume.is_new(line)] == [line.text for line in whole[cut:]]


def fill_others(book: Book, times: int) -> None:
    """Until the container's own lines stand in an older file."""
    for number in range(times):
        book.append([entry(number, "x" * 1000, source="other")])


def test_clock_that_was_set_back_hides_no_line_once_reading_goes_on() -> None:
    resume = Resume({Stream.OUT: (moment(50), 1)})
    assert [resume.is_new(line) for line in told((50, "a", False), (51, "b", False), (20, "c", False))] == [
        False, True, True,
    ]  # fmt: skip


def test_engine_is_asked_from_a_little_before() -> None:
    resume = Resume({Stream.OUT: (moment(50), 1), Stream.ERR: (moment(40), 1)})
    assert resume.since == str(int(NOW.replace(minute=0, second=39).timestamp()))
    assert Resume({}).since is None


def test_containers_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    book = Book(tmp_path, BUDGET)
    book.append([entry(1), entry(2, source="other")])
    book.cursors.keep({"other"})
    assert list(book.cursors.containers) == ["other"]


# ---- reading -------------------------------------------------------------------------------------------------------


@contextmanager
def following(book: Book) -> Iterator[Follower]:
    reader = Follower(book, end_of(book.extent()), lambda: NOW)
    yield reader
    reader.close()


def rest(reader: Follower) -> list[str]:
    found: list[str] = []
    while lines := reader.read():
        found += [item.text for item in lines]
    return found


def test_newest_are_in_the_order_of_their_moments(tmp_path: Path) -> None:
    book = Book(tmp_path, BUDGET)
    book.append([entry(1), entry(5), entry(3), entry(4)])
    assert texts(book) == ["line 1", "line 3", "line 4", "line 5"]
    assert texts(book, 2) == ["line 4", "line 5"]
    assert texts(book, 0) == []
    found = newest(book.extent(), lambda item: item.text != "line 4", 2)
    assert [item.text for item in found] == ["line 3", "line 5"]


def test_damaged_line_among_others_is_left_out_and_said_to_who_follows(tmp_path: Path) -> None:
    book = Book(tmp_path, BUDGET)
    book.append([entry(1)])
    with following(book) as reader:
        with book.path(1).open("ab") as file:
            file.write(b"\0\0\0\n")
        book.append([entry(2)])
        assert texts(Book(tmp_path, BUDGET)) == ["line 1", "line 2"]
        assert rest(reader) == [f"({DAMAGED})", "line 2"]


def test_follower_reads_on_over_many_files_without_a_gap(tmp_path: Path) -> None:
    book = Book(tmp_path, BUDGET)
    found = []
    with following(book) as reader:
        for number in range(500):
            fill(book, [number])
            if number % 50 == 49:
                found += rest(reader)
    assert [int(text.split()[0]) for text in found] == list(range(500))


def test_slow_follower_is_told_how_many_it_missed(tmp_path: Path) -> None:
    book = Book(tmp_path, BUDGET)
    fill(book, range(10))
    with following(book) as reader:
        fill(book, range(10, 3000))
        found = rest(reader)
    numbers = [int(text.split()[0]) for text in found if not text.startswith("(")]
    (skipped,) = (int(text[1:].split()[0]) for text in found if "were skipped" in text)
    assert numbers[-1] == 2999
    assert skipped + len(numbers) == 2990


async def test_follower_is_woken_by_a_line_and_by_the_end_of_the_app(tmp_path: Path) -> None:
    logbook = Logbook(tmp_path, BUDGET)
    book = logbook.of("shop")
    with following(book) as reader:
        waiting = asyncio.create_task(reader.wait())
        await asyncio.sleep(0)
        logbook.append("shop", [entry(1)])
        await waiting
        assert rest(reader) == ["line 1"]
        waiting = asyncio.create_task(reader.wait())
        await asyncio.sleep(0)
        logbook.forget("shop")
        await waiting
        assert reader.ended


def test_forgotten_app_leaves_nothing_and_may_come_again(tmp_path: Path) -> None:
    logbook = Logbook(tmp_path, BUDGET)
    old = logbook.of("shop")
    logbook.append("shop", [entry(1)])
    logbook.forget("shop")
    old.append([entry(2)])
    assert list((tmp_path / "apps").iterdir()) == []
    logbook.append("shop", [entry(3)])
    assert texts(logbook.of("shop")) == ["line 3"]


def test_logs_of_apps_that_are_not_there_are_removed(tmp_path: Path) -> None:
    logbook = Logbook(tmp_path, BUDGET)
    for app in ("shop", "blog"):
        logbook.append(app, [entry(1)])
    logbook.keep({"blog"})
    assert [path.name for path in (tmp_path / "apps").iterdir()] == ["blog"]


def test_logbook_without_a_folder_keeps_nothing_and_says_so_when_it_is_read() -> None:
    logbook = Logbook()
    logbook.append("shop", [entry(1)])
    logbook.add("shop", entry(1))
    logbook.forget("shop")
    with pytest.raises(StoreError, match="ask the server"):
        logbook.of("shop")
