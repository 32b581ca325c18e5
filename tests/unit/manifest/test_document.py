"""YAML that is loaded, and YAML that is refused before it can do harm."""

from __future__ import annotations

import time

import pytest

from builder.manifest.document import load
from runtime.errors import ManifestError

F = "f.yaml"


def loaded(text: str | bytes) -> dict[str, object]:
    return load(F, text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("\ufeffa: 1\r\n", {"a": 1}),
        ("--- {a: [1, {b: c}]}", {"a": (1, {"b": "c"})}),
        ("a: yes\nb: off\nno: n", {"a": "yes", "b": "off", "no": "n"}),
        ("a: true\nb: False\nc: ~\nd:\ne: 'true'", {"a": True, "b": False, "c": None, "d": None, "e": "true"}),
        ("a: 010\nb: 12:30\nc: 0x1F\nd: 1_000\ne: -7", {"a": "010", "b": "12:30", "c": "0x1F", "d": "1_000", "e": -7}),
        ("a: 1.10\nb: .5\nc: 1e3\nd: .inf\ne: 1e999", {"a": 1.1, "b": 0.5, "c": 1000.0, "d": ".inf", "e": "1e999"}),
        ("a: 2024-01-01", {"a": "2024-01-01"}),
        ("a: !!str 5\nb: ! 6", {"a": "5", "b": "6"}),
        ("a: &x [1]\nb: *x", {"a": (1,), "b": (1,)}),
        ("a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}", {"a": {"k": 1, "l": 2}, "b": {"k": 1, "l": 3}}),
        ("a: &x {k: 1}\nb: {<<: [*x, {k: 2, m: 3}]}", {"a": {"k": 1}, "b": {"k": 1, "m": 3}}),
        ("'<<': 1", {"<<": 1}),
        ("a: |\n  one\n  two\n", {"a": "one\ntwo\n"}),
        ("a: &x 1\nb: &x 2\nc: *x", {"a": 1, "b": 2, "c": 2}),
        ("{}", {}),
    ],
)  # fmt: skip
def test_plain_data_is_loaded(text: str, value: dict[str, object]) -> None:
    assert loaded(text) == value


EMPTY = "f.yaml: the file is empty, write at least one key or remove the file"
NOT_KEYS = "f.yaml: expected keys such as 'port: 8000' at the top, found something else"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", EMPTY),
        ("# only a comment", EMPTY),
        ("- a", NOT_KEYS),
        ("word", NOT_KEYS),
        ("a: 1\na: 2", "f.yaml: line 2, column 1: the key 'a' is there twice, keep one"),
        ("a: {b: 1, 'b': 2}", "f.yaml: line 1, column 11: the key 'b' is there twice, keep one"),
        ("x: &x {}\na: {<<: *x, <<: *x}", "f.yaml: line 2, column 13: the key '<<' is there twice, keep one"),
        ("1: a", "f.yaml: line 1, column 1: a key must be a text, put it in quotes"),
        ("true: a", "f.yaml: line 1, column 1: a key must be a text, put it in quotes"),
        ("? [a]\n: b", "f.yaml: line 1, column 3: a key must be a text, found a list or mapping"),
        ("a: &x [1]\n*x : 1", "f.yaml: line 2, column 1: a key must be a text, put it in quotes"),
        ("a: 1\n---\nb: 2", "f.yaml: line 2, column 1: a second document begins here, keep one and remove the '---'"),
        (
            "a: !!python/object:os.system x",
            "f.yaml: line 1, column 4: the tag 'tag:yaml.org,2002:python/object:os.system' is not allowed, remove it",
        ),
        ("a: !include x", "f.yaml: line 1, column 4: the tag '!include' is not allowed, remove it"),
        ("a: !!binary aGk=", "f.yaml: line 1, column 4: the tag 'tag:yaml.org,2002:binary' is not allowed, remove it"),
        ("a: !!set {b}", "f.yaml: line 1, column 4: the tag 'tag:yaml.org,2002:set' is not allowed, remove it"),
        ("a: &x [*x]", "f.yaml: line 1, column 8: '*x' stands inside of what it names, remove it"),
        ("a: *x", "f.yaml: line 1, column 4: '*x' names nothing above it, add '&' or quote the text"),
        ("a: {<<: 5}", "f.yaml: line 1, column 9: '<<' takes a mapping or a list of mappings"),
        ('a: "\\0"', "f.yaml: line 1, column 4: the text holds a character that no program takes, remove it"),
        ("a: [" * 30, "f.yaml: line 1, column 41: nested deeper than 20 levels, make it flatter"),
        (
            "a: * * * * *",
            "f.yaml: line 1, column 5: not valid YAML (did not find expected alphabetic or numeric character), "
            "quote a text that begins with '*' or '&'",
        ),
        (
            "a: b: c",
            "f.yaml: line 1, column 5: not valid YAML (mapping values are not allowed in this context), "
            "check the indentation, or quote a text that holds ': '",
        ),
        (
            "a:\n\tb: c",
            "f.yaml: line 2, column 1: not valid YAML (found character that cannot start any token), "
            "indent with spaces, and quote a text that begins with '@', '`' or '%'",
        ),
        (b"a: \xff", "f.yaml: byte 4 is not UTF-8 text, save the file as UTF-8"),
        ("a: 1".encode("utf-16"), "f.yaml: byte 1 is not UTF-8 text, save the file as UTF-8"),
        (
            "a: \x07",
            "f.yaml: not valid YAML (control characters are not allowed), see docs/manifest for a complete example",
        ),
    ],
)
def test_anything_else_is_one_sentence(text: str | bytes, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        loaded(text)
    assert str(caught.value) == message


LAUGHS = "a0: &a0 [" + "x, " * 10 + "]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 10}]\n" for n in range(1, 10))
LONG_TEXT = f"a: &a {'x' * 200_000}\nb: [{'*a, ' * 1000}]"
MERGES = f"a: &a {{{', '.join(f'k{n}: 1' for n in range(1000))}}}\n" + "".join(
    f"b{n}: {{<<: *a}}\n" for n in range(100)
)


@pytest.mark.parametrize(
    "text",
    [LAUGHS, LONG_TEXT, MERGES, f"a: [{'1,' * 20_000}]", "[" * 200_000, "- " * 90_000, "? " * 90_000, "{a: " * 60_000],
)  # fmt: skip
def test_bombs_are_refused_quickly(text: str) -> None:
    began = time.monotonic()
    with pytest.raises(ManifestError):
        loaded(text)
    assert time.monotonic() - began < 2


def test_an_aliased_value_is_not_shared() -> None:
    document = loaded("a: &x {k: {l: 1}}\nb: *x")
    assert document["a"] == document["b"]
    assert document["a"] is not document["b"]
