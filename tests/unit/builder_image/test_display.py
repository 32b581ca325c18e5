"""What a build prints reaches the pusher's terminal only as text, tabs and colours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.display import LINE_LIMIT, LineCutter, short_instruction, short_reason
from runtime.text import printable


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain text\twith a tab", "plain text\twith a tab"),
        ("grüße 漢字 🎉", "grüße 漢字 🎉"),
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        ("\x1b[1;38:5:9mbright", "\x1b[1;38:5:9mbright\x1b[0m"),
        ("\x1b[31mred\x1b[m", "\x1b[31mred\x1b[m"),
        ("a\x1b[2Jb\x1b[Hc\x1b[?25ld", "abcd"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;AAAA", ""),
        ("\x1bP+q544e\x1b\\x", "x"),
        ("\x1bcreset", "reset"),
        ("\x1b(0line", "line"),
        ("bell\x07 back\x08 null\x00 del\x7f", "bell back null del"),
        ("\x9b2Jeight bit", "2Jeight bit"),
        ("right\u202eto left", "rightto left"),
        ("lone escape\x1b", "lone escape"),
    ],
)
def test_only_text_tabs_and_colours_pass(raw: str, shown: str) -> None:
    assert printable(raw) == shown


@given(st.text())
def test_nothing_else_passes_whatever_comes(raw: str) -> None:
    shown = printable(raw)
    rest = "".join(part for part in shown.split("\x1b["))
    assert all(character.isprintable() or character == "\t" for character in rest)


def test_a_line_rewritten_with_carriage_returns_shows_its_last_text() -> None:
    cutter = LineCutter()
    assert cutter.feed(b"10%\r50%\r100%\r\nwindows\r\nnext") == ["100%", "windows"]
    assert cutter.flush() == ["next"]


def test_a_progress_bar_is_not_kept_whole() -> None:
    cutter = LineCutter()
    for percent in range(100_000):
        assert cutter.feed(b"%d done\r" % percent) == []
    assert cutter.flush() == ["99999 done"]


def test_a_line_without_end_is_cut() -> None:
    cutter = LineCutter()
    lines = cutter.feed(b"x" * (3 * LINE_LIMIT + 5))
    assert [len(line) for line in lines] == [LINE_LIMIT] * 3
    assert cutter.flush() == ["xxxxx"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert LineCutter().feed(b"ab\xff\xfecd\n") == ["ab\ufffd\ufffdcd"]


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=8), st.lists(st.integers(1, 7)))
def test_lines_are_the_same_wherever_the_output_was_cut(lines: list[str], cuts: list[int]) -> None:
    data = "\n".join(lines).encode()
    whole = LineCutter()
    expected = whole.feed(data) + whole.flush()
    cutter, found, position = LineCutter(), [], 0
    for cut in [*cuts, len(data)]:
        found += cutter.feed(data[position : position + cut])
        position += cut
    assert found + cutter.flush() == expected


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("RUN --mount=type=cache,id=a,target=/c --network=none pip install  x", "RUN pip install x"),
        ("FROM docker.io/library/debian:12@sha256:" + "a" * 64, "FROM debian:12"),
        ("FROM docker.io/lockstep/run:1", "FROM lockstep/run:1"),
        ("RUN <<EOF\nfirst\nEOF", "RUN <<EOF"),
        ("RUN " + "x" * 200, "RUN " + "x" * 95 + "…"),
        ("COPY \x1b[2Ja .", "COPY a ."),
    ],
)
def test_an_instruction_is_shown_short(name: str, shown: str) -> None:
    assert short_instruction(name) == shown


def test_the_engines_own_layers_are_left_out_of_a_reason() -> None:
    message = (
        "failed to solve with frontend dockerfile.v0: failed to create LLB definition: "
        "dockerfile parse error line 2: unknown instruction: FOO"
    )
    assert short_reason(message) == "dockerfile parse error line 2: unknown instruction: FOO"
    assert short_reason("rpc error: code = Unknown desc = no space left") == "no space left"
