"""Config values as a file: the .env form that shells and most tools read, or a JSON object.

The .env form is read here and not by a library, since what comes is a stranger's text: every pattern below looks
at each character once, and what is not understood is an error, not a guess. Nothing in it is interpolated.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from runtime.errors import UsageError

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")  # values that need no quotes anywhere
_BETWEEN: Final = re.compile(r"(?:\s++|#[^\n]*+)*+")  # empty lines and comments
_HEAD: Final = re.compile(r"(?:export[ \t]++)?+([^\s=]++)[ \t]*+=([ \t]*+)")
_QUOTED: Final = re.compile(r"""'([^']*+)'|"((?:[^"\\]|\\.)*+)\"""", re.DOTALL)
_TAIL: Final = re.compile(r"[ \t\r]*+(?:#[^\n]*+)?+(?:\n|\Z)")  # what may follow a closing quote
_REST: Final = re.compile(r"[^\n]*+")
_COMMENT: Final = re.compile(r"[ \t]#")
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_MEANT: Final = {"n": "\n", "r": "\r", "t": "\t", "v": "\v", "f": "\f", "\\": "\\", '"': '"', "$": "$", "`": "`"}
_ESCAPES: Final = {char: f"\\{char}" for char in '\\"$`'}  # what shells take in double quotes, and no more


def parse(text: str, limit: int) -> dict[str, str]:
    """Name -> value, of at most `limit` names; the last of two that are the same counts.

    Raises UsageError, which names the line or the name and never a value.
    """
    text = text.removeprefix("\ufeff")
    found = _parse_json(text) if text.lstrip().startswith("{") else _parse_env(text, limit)
    if len(found) > limit:
        raise UsageError(f"there are more than {limit} values: give fewer")
    return found


def render_env(values: dict[str, str]) -> str:
    """A line for each value, sorted; `parse` reads back the same."""
    return "".join(f"{name}={_quoted(value)}\n" for name, value in sorted(values.items()))


def render_json(values: dict[str, str]) -> str:
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _parse_env(text: str, limit: int) -> dict[str, str]:
    found: dict[str, str] = {}
    position = _after(_BETWEEN, text, 0)
    while position < len(text) and len(found) <= limit:
        head = _HEAD.match(text, position)
        if head is None:
            raise UsageError(f"line {_line(text, position)} is not KEY=VALUE")
        value, end = _value(text, head)
        found[head[1]] = value
        position = _after(_BETWEEN, text, end)
    return found


def _value(text: str, head: re.Match[str]) -> tuple[str, int]:
    """The value behind a KEY=, and where the text goes on."""
    start = head.end()
    if text[start : start + 1] not in ("'", '"'):
        line = _REST.match(text, start)
        assert line is not None
        commented = head[2] and line[0].startswith("#")
        return "" if commented else _COMMENT.split(line[0], maxsplit=1)[0].strip(), line.end()
    quoted = _QUOTED.match(text, start)
    if quoted is None:
        raise UsageError(f"line {_line(text, start)} opens a quote that is not closed")
    if _TAIL.match(text, quoted.end()) is None:
        raise UsageError(f"line {_line(text, quoted.end())} goes on behind the closing quote: quote the whole value")
    value = quoted[1] if quoted[1] is not None else _ESCAPE.sub(lambda found: _MEANT.get(found[1], found[0]), quoted[2])
    return value, _after(_TAIL, text, quoted.end())


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return position if found is None else found.end()


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _parse_json(text: str) -> dict[str, str]:
    try:
        found: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"line {error.lineno} is not valid JSON: {error.msg.lower()}") from None
    except (ValueError, RecursionError):
        raise UsageError('this is not a JSON object of texts: write {"KEY": "VALUE"}') from None
    for name, value in found.items():
        if not isinstance(value, str):
            raise UsageError(f"the value of {name[:60]} is no text: put it in quotes")
    return dict(found)


def _quoted(value: str) -> str:
    """As shells read it, and .env readers as far as they agree: bare, in single quotes, or else with escapes."""
    if _PLAIN.fullmatch(value):
        return value
    if "'" not in value:
        return f"'{value}'"
    return '"' + "".join(_ESCAPES.get(char, char) for char in value) + '"'
