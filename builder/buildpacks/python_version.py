"""Which Python an app asks for, and which one of the stack it gets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from builder.buildpacks import files
from builder.model import Source
from runtime.errors import BuildError

_NUMBER: Final = re.compile(r"(?:c?python[-@]?)?(\d{1,2})(?:\.(\d{1,3}))?(?:\.(\d{1,3}))?", re.IGNORECASE)
_PATCHES: Final = range(60)  # patch releases that a minor version may come to
_MINORS: Final = range(60)


class Wish(NamedTuple):
    """A version that the app asks for."""

    text: str  # "3.9", ">=3.10"
    where: str  # the file that says so
    versions: SpecifierSet


class Pick(NamedTuple):
    """A version of the stack, and the warning that goes with it."""

    used: str
    warning: str | None = None


def python_wish(source: Source) -> Wish | None:
    """What the app's files ask for: .python-version, then runtime.txt, then pyproject.toml. Raises BuildError."""
    for where in (".python-version", "runtime.txt"):
        line = files.first_line(source, where)
        if line is not None:
            return Wish(*_pinned(line, where))
    wanted = files.table(files.toml(source, "pyproject.toml"), "project").get("requires-python")
    return None if wanted is None else Wish(*_ranged(wanted))


def pick_python(wish: Wish | None, pythons: Sequence[str]) -> Pick:
    """The newest of `pythons` that fits, else the nearest newer one with a warning. Raises BuildError."""
    ordered = sorted(pythons, key=_pair)
    newest = ordered[-1]
    if wish is None:
        return Pick(newest)
    fitting = [version for version in ordered if _fits(wish.versions, version)]
    if fitting:
        return Pick(fitting[-1])
    newer = _nearest_newer(wish, ordered)
    if newer is None:
        raise BuildError(
            f"python {wish.text} ({wish.where}) is not in the stack, whose newest is {newest}: "
            "ask for that one, or use a Dockerfile"
        )
    return Pick(
        newer, f"python {wish.text} ({wish.where}) is not in the stack: built with {newer}, the nearest newer one"
    )


def _nearest_newer(wish: Wish, ordered: Sequence[str]) -> str | None:
    """The oldest version of the stack that is newer than one that was asked for, within Python 3."""
    asked = [minor for minor in _MINORS if _fits(wish.versions, f"3.{minor}")]
    return next((version for version in ordered if any((3, minor) < _pair(version) for minor in asked)), None)


def _fits(versions: SpecifierSet, minor: str) -> bool:
    """Whether some patch release of a minor version is among `versions`."""
    return any(versions.contains(f"{minor}.{patch}") for patch in _PATCHES)


def _pair(version: str) -> tuple[int, int]:
    major, minor = version.split(".")
    return int(major), int(minor)


def _pinned(line: str, where: str) -> tuple[str, str, SpecifierSet]:
    found = _NUMBER.fullmatch(line)
    if found is None:
        raise BuildError(f"{where} asks for '{line[:60]}', which is no version of CPython: write one like '3.11'")
    major, minor, _ = found.groups()
    wanted = f"{major}.{minor}" if minor else major
    return wanted, where, SpecifierSet(f"=={wanted}.*")


def _ranged(wanted: object) -> tuple[str, str, SpecifierSet]:
    where = "requires-python in pyproject.toml"
    try:
        return str(wanted)[:60], where, SpecifierSet(wanted if isinstance(wanted, str) else "?")
    except InvalidSpecifier:
        raise BuildError(f"{where} is '{str(wanted)[:60]}': write a range like '>=3.11'") from None
