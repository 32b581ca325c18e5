"""Stored logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.engine.logs import LogLine
from runtime.scheduler.jobs import Key
from runtime.scheduler.runlog import CUT, RunLogs

KEY = Key("shop", "tick")


def line(number: int, text: str | None = None, *, error: bool = False) -> LogLine:
    return LogLine(f"2026-05-04T12:00:00.{number:09}Z", text if text is not None else f"line {number}", error)


def test_lines_come_back_as_they_were(tmp_path: Path) -> None:
    logs = RunLogs(tmp_path)
    lines = [line(1), line(2, "", error=True), line(3, " \u2028 ä \x1b[1m\r"), line(4, "last", error=True)]
    with logs.writer(KEY, 7) as writer:
        assert all(writer.add(one) for one in lines)
    assert list(logs.read(KEY, 7) or ()) == lines


def test_a_long_log_keeps_its_head_and_its_tail(tmp_path: Path) -> None:
    logs = RunLogs(tmp_path)
    lines = [line(number) for number in range(1000)]
    with logs.writer(KEY, 7, cap=8000) as writer:
        for one in lines:
            if not writer.add(one):
                break
        for one in lines[-300:]:
            writer.add_tail(one)
    found = list(logs.read(KEY, 7) or ())
    cut = [one.text for one in found].index(CUT)
    assert found[:cut] == lines[:cut]
    assert found[cut + 1 :] == lines[-len(found[cut + 1 :]) :]
    assert cut > 50
    assert len(found) - cut > 50
    assert sum(len(one.moment) + len(one.text) for one in found if one.text != CUT) < 8000


def test_a_tail_that_overlaps_the_head_repeats_nothing(tmp_path: Path) -> None:
    logs = RunLogs(tmp_path)
    lines = [line(number) for number in range(120)]
    with logs.writer(KEY, 7, cap=8000) as writer:
        for one in lines:
            if not writer.add(one):
                break
        for one in lines:
            writer.add_tail(one)
    assert [one for one in logs.read(KEY, 7) or () if one.text != CUT] == lines


def test_a_log_that_is_not_whole_is_not_there(tmp_path: Path) -> None:
    logs = RunLogs(tmp_path)
    with pytest.raises(OSError, match="full"), logs.writer(KEY, 7) as writer:
        writer.add(line(1))
        raise OSError("full")
    assert logs.read(KEY, 7) is None
    assert list(tmp_path.rglob("*.*")) == []


def test_removing(tmp_path: Path) -> None:
    logs = RunLogs(tmp_path)
    for number in (1, 2):
        with logs.writer(KEY, number) as writer:
            writer.add(line(number))
    logs.remove(KEY, [1, 99])
    assert logs.read(KEY, 1) is None
    assert logs.read(KEY, 2) is not None
    assert logs.apps() == ["shop"]
    logs.remove_app("shop")
    assert logs.apps() == []
