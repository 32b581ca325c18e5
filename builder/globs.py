"""Patterns of ignore files, cut into tokens: each token is one place that a match can stand at."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

StarParser = Callable[[str, int], tuple[tuple["Token", ...], int]]

WILDCARD_LIMIT: Final = 20  # '*' and '**' of one pattern


class Kind(Enum):
    CHAR = "one character"
    ANY = "one character that is not a slash"
    SET = "one character of a set"
    STAR = "any characters but slashes"
    ALL = "any characters"
    FOLDERS = "nothing, or what the next token takes"  # always in front of INSIDE
    INSIDE = "any characters, the last one a slash"


class Token(NamedTuple):
    kind: Kind
    char: str = ""
    ranges: tuple[tuple[str, str], ...] = ()
    negated: bool = False

    def moves(self, char: str) -> bool:
        """Whether `char` leads to the next token."""
        if self.kind is Kind.CHAR:
            return char == self.char
        if self.kind is Kind.SET:
            return any(low <= char <= high for low, high in self.ranges) != self.negated
        return (char != "/") if self.kind is Kind.ANY else (char == "/" and self.kind is Kind.INSIDE)

    def stays(self, char: str) -> bool:
        """Whether `char` is taken and the place kept."""
        return self.kind in (Kind.ALL, Kind.INSIDE) or (self.kind is Kind.STAR and char != "/")

    @property
    def skips(self) -> tuple[int, ...]:
        """How many tokens may be passed without a character."""
        if self.kind is Kind.FOLDERS:
            return (1, 2)
        return (1,) if self.kind in (Kind.STAR, Kind.ALL) else ()


SLASH: Final = Token(Kind.CHAR, "/")
STAR: Final = Token(Kind.STAR)
ALL: Final = Token(Kind.ALL)
FOLDERS: Final = (Token(Kind.FOLDERS), Token(Kind.INSIDE))


@dataclass(frozen=True, slots=True)
class Glob:
    """One pattern, matched against paths from the root of the source."""

    text: str
    tokens: tuple[Token, ...]
    negated: bool = False  # brings back what earlier patterns left out
    folders_only: bool = False


def docker_glob(line: str) -> Glob | None:
    """A line of .dockerignore: from the root, '**' for any folders, '!' for exceptions. Raises ValueError."""
    if line.startswith("#"):
        return None
    text = line.strip()
    negated = text.startswith("!")
    pattern = text[1:].strip() if negated else text
    if negated and not pattern:
        raise ValueError("'!' needs a pattern behind it")
    if not pattern:
        return None
    clean = (
        posixpath.normpath("/" + pattern.lstrip("/"))[1:] if pattern.startswith("/") else posixpath.normpath(pattern)
    )
    return Glob(text, _tokens(clean, _docker_stars), negated)


def slug_glob(line: str) -> Glob | None:
    """A line of .slugignore: as git reads it, but for '!', which is only noted. Raises ValueError."""
    text = line.rstrip(" \t\r")
    if text.endswith("\\") and line.startswith(text + " "):
        text += " "
    if not text or text.startswith("#"):
        return None
    if text.startswith("!"):
        return Glob(text, (), negated=True)
    pattern = text.removesuffix("/")
    tokens = _tokens(pattern.removeprefix("/"), _git_stars)
    return Glob(text, tokens if "/" in pattern else FOLDERS + tokens, folders_only=text.endswith("/"))


def _docker_stars(text: str, at: int) -> tuple[tuple[Token, ...], int]:
    """The tokens for the stars at `at`, and where it goes on."""
    if not text.startswith("**", at):
        return (STAR,), at + 1
    end = at + 3 if text.startswith("/", at + 2) else at + 2
    return ((ALL,) if end >= len(text) else FOLDERS), end


def _git_stars(text: str, at: int) -> tuple[tuple[Token, ...], int]:
    alone = at == 0 or text[at - 1] == "/"
    if alone and text.startswith("**/", at):
        return FOLDERS, at + 3
    if alone and text[at:] == "**":
        return (ALL,), at + 2
    return (STAR,), at + len(text[at:]) - len(text[at:].lstrip("*"))


def _tokens(text: str, stars: StarParser) -> tuple[Token, ...]:
    tokens: list[Token] = []
    at = wildcards = 0
    while at < len(text):
        char = text[at]
        if char == "*":
            found, at = stars(text, at)
            wildcards += 1
            tokens += found
        elif char == "[":
            token, at = _set(text, at + 1)
            tokens.append(token)
        elif char == "\\":
            if at + 1 == len(text):
                raise ValueError(f"'{text[:100]}' ends in a backslash")
            tokens.append(Token(Kind.CHAR, text[at + 1]))
            at += 2
        else:
            tokens.append(Token(Kind.ANY) if char == "?" else Token(Kind.CHAR, char))
            at += 1
    if wildcards > WILDCARD_LIMIT:
        raise ValueError(f"'{text[:100]}' has more than {WILDCARD_LIMIT} wildcards")
    return tuple(tokens)


def _set(text: str, at: int) -> tuple[Token, int]:
    """The token of a set like [a-z], of which `at` is the place behind the bracket, and the place behind it."""
    negated = text[at : at + 1] in ("^", "!")
    at += negated
    ranges: list[tuple[str, str]] = []
    while text[at : at + 1] != "]" or not ranges:
        low, at = _member(text, at)
        high = low
        if text[at : at + 1] == "-" and text[at + 1 : at + 2] != "]":
            high, at = _member(text, at + 1)
        ranges.append((low, high))
    if negated:
        ranges.append(("/", "/"))
    return Token(Kind.SET, "", tuple(ranges), negated), at + 1


def _member(text: str, at: int) -> tuple[str, int]:
    at += text[at : at + 1] == "\\"
    if at >= len(text):
        raise ValueError(f"'{text[:100]}' has a '[' without its ']'")
    return text[at], at + 1
