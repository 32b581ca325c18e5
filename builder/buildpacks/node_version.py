"""Which Node an app asks for, as a range that npm understands."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from builder.buildpacks import files
from builder.model import Source
from runtime.errors import BuildError

DEFAULT: Final = "22"
_RANGE: Final = re.compile(r"[\dvxX*^~<>=|. -]{1,100}")
_CODENAMES: Final = {"hydrogen": "18", "iron": "20", "jod": "22", "krypton": "24"}
_NEWEST: Final = ("node", "stable", "latest", "current", "lts", "lts/*")


class NodeWish(NamedTuple):
    """A version of Node."""

    range: str  # for npm
    text: str | None  # as the app wrote it, None when it did not
    where: str  # the file that says so

    @property
    def major(self) -> int:
        """The first number of the range, the default's when it has none."""
        found = re.search(r"\d+", self.range)
        return int(found[0][:4]) if found else int(DEFAULT)


def node_wish(source: Source, package: dict[str, Any]) -> NodeWish:
    """.node-version, then .nvmrc, then engines.node of package.json, else DEFAULT. Raises BuildError."""
    for where in (".node-version", ".nvmrc"):
        line = files.first_line(source, where)
        if line is not None:
            return NodeWish(_range(line, where), line, where)
    wanted = files.table(package, "engines").get("node")
    if wanted is None:
        return NodeWish(DEFAULT, None, "")
    where = "engines.node in package.json"
    return NodeWish(_range(wanted, where), str(wanted), where)


def _range(wanted: object, where: str) -> str:
    word = str(wanted).strip()
    if word.lower() in _NEWEST:
        return DEFAULT
    if word.lower().startswith("lts/") and word.lower()[4:] in _CODENAMES:
        return _CODENAMES[word.lower()[4:]]
    if not isinstance(wanted, str) or not _RANGE.fullmatch(word):
        raise BuildError(
            f"{where} asks for '{word[:60]}', which is no version of node: write a range like '22' or '>=20'"
        )
    return " ".join(word.split())
