"""What the words of `run` and `enter` mean: ssh joins them with blanks, so only one level of quotes is left."""

from __future__ import annotations

import re
import shlex
from typing import Final

from runtime.errors import UsageError
from runtime.runs.values import Command
from runtime.text import printable

LONGEST_SHOWN: Final = 500  # characters of a command in listings
ENDS_OPTIONS: Final = "--"  # in front of a line for a shell
_PLAIN: Final = re.compile(r"[\w@%+=:,./-]+")  # a word that means the same to a shell and without one


def command_of(words: tuple[str, ...]) -> Command:
    """Several words are a program and its arguments; one word with blanks or signs in it is a line for a shell.

    So is what follows `--`. Raises UsageError when there is nothing.
    """
    if words[:1] == (ENDS_OPTIONS,):
        return line_of(" ".join(words[1:]))
    if len(words) == 1 and not _PLAIN.fullmatch(words[0]):
        return line_of(words[0])
    _check(*words)
    if not words or not words[0]:
        raise UsageError("there is no command to run: name one behind the app, as in 'run shop ls -l'")
    return Command(words=words, shown=_shown(shlex.join(words)))


def line_of(line: str) -> Command:
    """A line for a shell. Raises UsageError when it is blank."""
    _check(line)
    if not line.strip():
        raise UsageError("there is no command to run: name one behind the app, as in 'run shop ls -l'")
    return Command(line=line, shown=_shown(line))


def _check(*words: str) -> None:
    if any("\0" in word for word in words):
        raise UsageError("a command can not hold a NUL character: pass such bytes on standard input")


def _shown(text: str) -> str:
    text = printable(" ".join(text.split()))
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"
