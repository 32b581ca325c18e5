"""Which lines a reader asks for, from the words of the command."""

from __future__ import annotations

import pytest

from runtime.errors import UsageError
from runtime.logbook.entry import OWN, Entry, LogKind, note
from runtime.logbook.wanted import Wanted, kinds_in, release_in, since_in
from tests.unit.runtime.samples import NOW

LINE = Entry("2026-01-02T03:04:05.000000000Z", LogKind.APP, "web.1", "hello", release=3)


def test_kinds() -> None:
    assert kinds_in(()) == OWN == {LogKind.APP, LogKind.CRON, LogKind.PREDEPLOY}
    assert kinds_in(("app,cron", "router")) == {LogKind.APP, LogKind.CRON, LogKind.ROUTER}
    assert kinds_in(("app, build",)) == {LogKind.APP, LogKind.BUILD}
    assert kinds_in(("cron", "all")) == set(LogKind)


@pytest.mark.parametrize("word", ["", "web", "app,", "APP", "app;cron"])
def test_unknown_kind(word: str) -> None:
    with pytest.raises(UsageError, match="there is no kind of line"):
        kinds_in((word,))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", "2026-01-02T03:02:35.678901000Z"),
        ("10m", "2026-01-02T02:54:05.678901000Z"),
        ("2h", "2026-01-02T01:04:05.678901000Z"),
        ("3d", "2025-12-30T03:04:05.678901000Z"),
        ("1h30m", "2026-01-02T01:34:05.678901000Z"),
        ("1d2h3m4s", "2026-01-01T01:01:01.678901000Z"),
        ("99999d", "1752-03-20T03:04:05.678901000Z"),
        ("0900-01-01", "0900-01-01T00:00:00.000000000Z"),
        ("0m", "2026-01-02T03:04:05.678901000Z"),
        ("2026-01-02", "2026-01-02T00:00:00.000000000Z"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000000Z"),
        ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678000000Z"),
        ("2026-01-02T03:04", "2026-01-02T03:04:00.000000000Z"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05.000000000Z"),
    ],
)
def test_since(text: str, moment: str) -> None:
    assert since_in(text, NOW) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "m",
        "-1m",
        "1w",
        "1h30",
        "1h 30m",
        "9999999d",
        "99999d" * 99,
        "yesterday",
        "2026-13-01",
        "٣m",
        "0001-01-01T00:00:00+14:00",
    ],
)
def test_no_moment(text: str) -> None:
    with pytest.raises(UsageError, match="is no moment: use 10m, 1h30m, 3d"):
        since_in(text, NOW)


def test_release() -> None:
    assert (release_in("3"), release_in("v12")) == (3, 12)
    for text in ("", "0", "v0", "-1", "vv3", "3 ", "latest", "9" * 20):
        with pytest.raises(UsageError, match="is no release"):
            release_in(text)


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        (Wanted(), True),
        (Wanted(kinds=frozenset({LogKind.CRON})), False),
        (Wanted(process="web"), True),
        (Wanted(process="web.1"), True),
        (Wanted(process="web.2"), False),
        (Wanted(process="we"), False),
        (Wanted(since="2026-01-02T03:04:05.000000000Z"), True),
        (Wanted(since="2026-01-02T03:04:05.000000001Z"), False),
        (Wanted(release=3), True),
        (Wanted(release=4), False),
        (Wanted(release=4, deploys=frozenset({7})), False),
    ],
)
def test_what_is_taken(wanted: Wanted, takes: bool) -> None:
    assert wanted.takes(LINE) is takes


def test_what_a_deploy_told_belongs_to_the_release_that_it_made() -> None:
    told = Entry(LINE.moment, LogKind.BUILD, "d7", "-----> Building", deploy=7)
    assert Wanted(kinds=frozenset(LogKind), release=3, deploys=frozenset({7})).takes(told)
    assert not Wanted(kinds=frozenset(LogKind), release=3, deploys=frozenset({8})).takes(told)


def test_note_about_the_log_is_for_everybody() -> None:
    assert Wanted(process="mailer", release=9, kinds=frozenset({LogKind.CRON})).takes(note(LINE.moment, "engine away"))
    assert not Wanted(process="mailer").takes(note(LINE.moment, "dropped", process="web.1"))
