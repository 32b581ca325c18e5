"""Reading the files that say how an app is built; what is wrong in them is a BuildError that names the file."""

from __future__ import annotations

import json
import tomllib
from typing import Any, Final

from builder.model import Source
from runtime.errors import BuildError
from runtime.model import MIB

_LARGE: Final = 64 * MIB  # bytes of a lock file
_HEAD: Final = 4096  # bytes


def text(source: Source, path: str) -> str | None:
    """The file as text, None when there is none."""
    content = source.read(path)
    if content is None:
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BuildError(f"{path} is not UTF-8: save it as UTF-8") from None


def head(source: Source, path: str) -> str:
    """The beginning of a file that may be large, empty when there is none."""
    return (source.read(path, _LARGE) or b"")[:_HEAD].decode("utf-8", "replace")


def first_line(source: Source, path: str) -> str | None:
    """The first line that is neither empty nor a comment, None when there is none."""
    lines = (line.partition("#")[0].strip() for line in (text(source, path) or "").splitlines())
    return next((line for line in lines if line), None)


def toml(source: Source, path: str) -> dict[str, Any]:
    """The file's tables, empty when there is no file."""
    try:
        return tomllib.loads(text(source, path) or "")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BuildError(f"{path} is not valid TOML: {str(error)[:200]}") from None


def json_object(source: Source, path: str) -> dict[str, Any]:
    """The file's object, empty when there is no file."""
    content = text(source, path)
    if content is None:
        return {}
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BuildError(f"{path} is not valid JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise BuildError(f"{path} must hold an object: see the documentation of the tool that reads it")
    return found


def table(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """The table at the end of a chain of names, empty when there is none."""
    for name in names:
        found = values.get(name)
        values = found if isinstance(found, dict) else {}
    return values
