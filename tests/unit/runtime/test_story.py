"""What reaches the person who waits: shaped lines, no secrets, nothing that moves a terminal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.model import Secret
from runtime.story import Story
from runtime.text import printable

KEY = "-----BEGIN KEY-----\nc2VjcmV0IGtleQ==\n\ttabbed-line\n-----END KEY-----"


def told(*secrets: str) -> tuple[Story, list[str]]:
    lines: list[str] = []
    story = Story(lines.append)
    story.hide(tuple(Secret(value) for value in secrets))
    return story, lines


def test_shapes() -> None:
    story, lines = told()
    story.step("Building")
    story.detail("one\ntwo")
    story.detail("")
    story.trouble("no\nway")
    story.headline("shop v1 is live")
    assert lines == [
        "-----> Building",
        "       one",
        "       two",
        "       ",
        " !     no",
        " !     way",
        "=====> shop v1 is live",
    ]


def test_secrets_are_blotted_wherever_they_come() -> None:
    story, lines = told("hunter22", "s3cr3t+")
    story.step("with hunter22")
    story.detail("a=hunter22\nb=s3cr3t+hunter22")
    story.trouble("hunter22!")
    story.headline("hunter22")
    assert lines == ["-----> with ***", "       a=***", "       b=******", " !     ***!", "=====> ***"]


def test_longer_secret_goes_before_one_that_it_holds() -> None:
    story, lines = told("secret", "secret-and-more")
    story.detail("secret-and-more secret")
    assert lines == ["       *** ***"]


def test_short_values_are_left_alone() -> None:
    story, lines = told("1", "true", "five5", "sixsix")
    story.detail("1 true five5 sixsix")
    assert lines == ["       1 true five5 ***"]


def test_each_line_of_a_long_secret_is_blotted() -> None:
    story, lines = told(KEY)
    story.detail(f"key: {KEY}")
    assert lines == ["       key: ***", "       ***", "       ***", "       ***"]


def test_secret_is_blotted_though_control_characters_hide_it() -> None:
    story, lines = told("hunter22")
    story.detail("hun\x00ter\x1b[2J22")
    assert lines == ["       ***"]


def test_secret_with_control_characters_of_its_own() -> None:
    story, lines = told("pass\x07word")
    story.detail("is pass\x07word")
    assert lines == ["       is ***"]


def test_several_sinks_hear_the_same() -> None:
    story, lines = told("hunter22")
    more: list[str] = []
    story.step("before")
    story.also(more.append)
    story.step("hunter22")
    assert lines == ["-----> before", "-----> ***"]
    assert more == ["-----> ***"]


# ---- printable --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 漢 \t.", "plain ü 漢 \t."),
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        ("\x1b[31mred", "\x1b[31mred\x1b[0m"),
        ("\x1b[1;31mred\x1b[m plain", "\x1b[1;31mred\x1b[m plain"),
        ("a\x1b[2J\x1b[Hb", "ab"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b]52;c;Y2xpcA==\x1b\\b", "ab"),
        ("a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
        ("a\x1bPdevice\x1b\\b", "ab"),
        ("a\x1b(0b", "ab"),
        ("a\x1bcb", "ab"),
        ("a\rb\bc\x7fd\x00", "abcd"),
        ("a\x9b31mb", "a31mb"),
        ("a\u202eb\u200b", "ab"),
        ("\x1b", ""),
        ("50%\x1b[", "50%"),
        ("", ""),
    ],
)
def test_what_is_left_of_a_text(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.sampled_from("\x1b\x9b[]PX(0;31mJab\x07\\\n\r\t \x00ü")))
def test_nothing_moves_the_terminal(text: str) -> None:
    shown = printable(text)
    without_colours = re.sub(r"\x1b\[[0-9;:]*m", "", shown)
    assert all(character.isprintable() or character == "\t" for character in without_colours)


@given(st.text(st.sampled_from("\x1b[31;0mab")))
def test_colours_end_with_the_line(text: str) -> None:
    colours = re.findall(r"\x1b\[[0-9;:]*m", printable(text))
    assert not colours or colours[-1] in ("\x1b[0m", "\x1b[m")


@given(st.text())
def test_making_printable_twice_changes_nothing(text: str) -> None:
    assert printable(printable(text)) == printable(text)
