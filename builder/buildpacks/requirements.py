"""What a requirements file refers to in the app's own tree."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from builder import dockerfile
from builder.buildpacks import files
from builder.model import Source

_FILE_LIMIT: Final = 50  # files that include one another
_INCLUDE: Final = re.compile(r"(?:-r|-c|--requirement|--constraint)[ =]*(\S+)")
_EDITABLE: Final = re.compile(r"(?:-e|--editable)[ =]*(\S+)")
_LINKS: Final = re.compile(r"(?:-f|--find-links|-i|--index-url|--extra-index-url)[ =]*(\S+)")
_REMOTE: Final = re.compile(
    r"(?:[a-z]+\+)?(?!file:)[a-z]+://|git\+|[A-Za-z0-9_.\[\], -]+@ *(?:[a-z]+\+)?(?!file:)[a-z]+://"
)
_ARCHIVE: Final = re.compile(r"\.(?:whl|zip|tar|tar\.gz|tgz|tar\.bz2)(?=$|[\s;#])")


class Requirements(NamedTuple):
    """The requirements files of an app, and whether installing them needs more than those."""

    paths: tuple[str, ...]  # the file and all that it includes
    local: str | None  # a line that refers to the app's tree in another way


def read_requirements(source: Source, path: str) -> Requirements:
    """The file at `path` with its includes. Raises BuildError when one is not text."""
    todo, seen, local = [path], dict[str, None](), None
    known = set(source.paths())
    while todo and len(seen) < _FILE_LIMIT:
        current = todo.pop(0)
        if current in seen or current not in known:
            continue
        seen[current] = None
        for line in _lines(files.text(source, current) or ""):
            included = _INCLUDE.match(line)
            if included and _REMOTE.match(included[1]) is None:
                todo.append(posixpath.normpath(posixpath.join(posixpath.dirname(current), included[1])))
            elif not included and is_local(line):
                local = local or line
    odd = next((name for name in (*seen, *todo) if not dockerfile.is_plain_path(name)), None)
    return Requirements(tuple(seen), local or odd or next(iter(todo), None))


def is_local(line: str) -> bool:
    """Whether a line of a requirements file needs the app's tree."""
    option = _EDITABLE.match(line) or _LINKS.match(line)
    what = option[1] if option else line
    if _REMOTE.match(what):
        return False
    if option:
        return True
    if line.startswith("-"):
        return False
    return what.startswith((".", "/", "file:")) or "file:" in what or bool(_ARCHIVE.search(what)) or "/" in _name(what)


def _name(line: str) -> str:
    """The requirement without its markers, options and comment."""
    return re.split(r"[;#]|\s--", line, maxsplit=1)[0]


def _lines(content: str) -> Iterator[str]:
    """The lines that say something, continued ones joined."""
    for line in content.replace("\\\n", " ").splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield stripped
