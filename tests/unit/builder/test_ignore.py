"""The ignore files against tables, and .dockerignore against Docker's own way of doing it."""

import posixpath
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder import ignore
from builder.globs import docker_glob, slug_glob
from builder.ignore import Patterns, Rules, Visible, ignore_rules
from runtime.errors import SourceError
from tests.unit.builder.plans import Files


def docker(*lines: str) -> Patterns:
    return Patterns([glob for line in lines if (glob := docker_glob(line))])


def slug(*lines: str) -> Patterns:
    return Patterns([glob for line in lines if (glob := slug_glob(line))])


@pytest.mark.parametrize(
    ("lines", "ignored", "kept"),
    [
        (["*.log"], ["a.log", ".log"], ["d/a.log", "a.logs"]),
        (["**/*.log"], ["a.log", "d/a.log", "d/e/a.log"], ["a.log2"]),
        (["node_modules"], ["node_modules/a/b"], ["web/node_modules/a", "node_modules2"]),
        (["**/node_modules"], ["node_modules/a", "web/node_modules/a/b"], ["node_modulesx/a"]),
        (["/build/"], ["build/x", "build"], ["src/build/x"]),
        (["./a//b/../c"], ["a/c", "a/c/d"], ["a/b"]),
        (["a?c"], ["abc"], ["ac", "a/c", "abbc"]),
        (["a/**"], ["a/b", "a/b/c"], ["a"]),
        (["a/**/z"], ["a/z", "a/b/z", "a/b/c/z/y"], ["a/bz", "z"]),
        (["a**z"], ["az", "a/b/z", "ab/z"], ["abz", "a/bz"]),
        (["**"], ["a", "a/b"], []),
        (["*"], ["a", "a/b"], []),
        (["*", "!keep"], ["a", "b/keep"], ["keep", "keep/a/b"]),
        (["docs", "!docs/api", "docs/api/x"], ["docs/a", "docs/api/x"], ["docs/api/y"]),
        (["!a", "a"], ["a"], []),
        (["# a", "  ", "b "], ["b"], ["a", "# a"]),
        (["[a-c]x", "[^0-9]y"], ["ax", "cx", "zy"], ["dx", "1y", "/y"]),
        ([r"\*", r"\[x\]"], ["*", "[x]"], ["a", "x"]),
        ([r"[\]]", "[-a]"], ["]", "-", "a"], ["b"]),
        (["."], [], ["a", "a/b"]),
        (["/", "../x", ""], [], ["a", "x"]),
        (["Ünï*"], ["Ünïcode"], ["Uni"]),
    ],
)
def test_dockerignore(lines: list[str], ignored: list[str], kept: list[str]) -> None:
    patterns = docker(*lines)
    assert [path for path in ignored if not patterns.ignores(path)] == []
    assert [path for path in kept if patterns.ignores(path)] == []


@pytest.mark.parametrize(
    ("lines", "ignored", "kept"),
    [
        (["*.psd"], ["a.psd", "d/e/a.psd"], ["a.psdx"]),
        (["tests"], ["tests", "tests/a", "app/tests/b"], ["tests2/a"]),
        (["tests/"], ["tests/a", "app/tests/b"], ["tests", "app/tests"]),
        (["/tests"], ["tests/a"], ["app/tests/a"]),
        (["app/*.txt"], ["app/a.txt"], ["app/b/a.txt", "x/app/a.txt"]),
        (["docs/**"], ["docs/a", "docs/b/c"], ["docs", "x/docs/a"]),
        (["**/gen"], ["gen", "a/b/gen/x"], ["agen"]),
        (["a/**/b"], ["a/b", "a/x/y/b/z"], ["ab", "a/xb"]),
        (["a***b"], ["ab", "axxb"], ["a/b"]),
        (["# x", "", "y  "], ["y"], ["x"]),
        ([r"\#x", r"z\ "], ["#x", "z "], ["z"]),
        (["[!a]b"], ["bb"], ["ab", "b"]),
    ],
)
def test_slugignore(lines: list[str], ignored: list[str], kept: list[str]) -> None:
    patterns = slug(*lines)
    assert [path for path in ignored if not patterns.ignores(path)] == []
    assert [path for path in kept if patterns.ignores(path)] == []


def moby(lines: list[str], path: str) -> bool:
    """Docker's own way: each pattern as a regular expression, tried on the path and on its parents."""
    ignored = False
    parts = path.split("/")
    candidates = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    for line in lines:
        text = line.strip()
        negated = text.startswith("!")
        clean = posixpath.normpath(text.lstrip("!").strip().lstrip("/") or "/")
        if any(re.fullmatch(moby_expression(clean), candidate, re.DOTALL) for candidate in candidates):
            ignored = not negated
    return ignored


def moby_expression(pattern: str) -> str:
    found, at = "", 0
    while at < len(pattern):
        if pattern.startswith("**", at):
            at += 3 if pattern.startswith("/", at + 2) else 2
            found += ".*" if at >= len(pattern) else "(.*/)?"
            continue
        found += {"*": "[^/]*", "?": "[^/]"}.get(pattern[at], re.escape(pattern[at]))
        at += 1
    return found


words = st.text("ab/*?.", min_size=1, max_size=9).filter(lambda text: text.strip("/."))
globs = st.tuples(st.sampled_from(["", "", "!"]), words).map("".join)
paths = st.lists(st.text("ab.", min_size=1, max_size=3), min_size=1, max_size=4).map("/".join)


@settings(max_examples=400)
@given(st.lists(globs, min_size=1, max_size=5), st.lists(paths, max_size=6))
def test_dockerignore_is_read_as_docker_reads_it(lines: list[str], tried: list[str]) -> None:
    patterns = docker(*lines)
    assert [patterns.ignores(path) for path in tried] == [moby(lines, path) for path in tried]


def test_states_that_are_forgotten_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ignore, "_STATE_LIMIT", 3)
    patterns = docker("**/a*b*c", "!x/**/abc")
    assert [patterns.ignores(path) for path in ("d/axbxc", "x/y/abc", "abc", "d/axbx")] == [True, False, True, False]


def test_no_pattern_takes_for_ever() -> None:
    """As a regular expression this one would not end before the machine does."""
    patterns = docker("**/" + "*a" * 19)
    started = time.perf_counter()
    assert not patterns.ignores("/".join(["a" * 200 + "b"] * 4))
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[a", "line 1: '[a' has a '[' without its ']'"),
        ("a\\", "line 1: 'a\\' ends in a backslash"),
        ("!", "line 1: '!' needs a pattern behind it"),
        ("*a" * 21, "has more than 20 wildcards"),
        ("a" * 20_000, "is too long: keep its patterns below 16384 characters"),
    ],
)
def test_wrong_patterns_are_told(line: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        ignore_rules(Files({".dockerignore": line}))
    assert str(caught.value).startswith(".dockerignore ")
    assert message in str(caught.value)


def test_both_files_count_and_slugignore_brings_nothing_back() -> None:
    source = Files({".dockerignore": "a\n", ".slugignore": "b\n!a\n", "a": "", "b": "", "c": ""})
    rules = ignore_rules(source)
    assert rules.warnings == (".slugignore can't bring files back with '!': '!a' is not applied",)
    visible = Visible(source, rules)
    assert visible.paths() == (".dockerignore", ".slugignore", "c")
    assert visible.read("a") is None
    assert visible.read("c") == b""


def test_without_files_nothing_is_ignored() -> None:
    assert not ignore_rules(Files({"a": ""})).ignores("a")
    assert not Rules().ignores("a")
