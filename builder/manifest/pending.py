"""Keys that are read and kept, but on which nothing acts yet: each use of one is a warning.

Remove a row when something acts on its key; nothing else has to change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from builder.manifest.check import Path, lines
from runtime.model import Dialect

PENDING: Final[dict[Dialect, dict[str, str]]] = {
    Dialect.PAAS: {},
    Dialect.DEPLOIO: {
        "enableBasicAuth": "is kept, but no password protects the app yet, protect it in the app itself",
        "healthProbe.periodSeconds": "is kept, but web is asked while it starts alone",
    },
}


def not_acted_on(dialect: Dialect, document: dict[str, object]) -> tuple[str, ...]:
    """A warning for each key of the table that `document` gives a value other than 0 or false."""
    found: dict[Path, str] = {}
    for key, sentence in PENDING.get(dialect, {}).items():
        found |= dict.fromkeys(_uses(document, tuple(key.split("."))), sentence)
    return tuple(lines(dialect.value, found))


def _uses(value: object, key: Path, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _uses(item, key, (*path, index))
    elif not key:
        if value:
            yield path
    elif isinstance(value, dict) and key[0] in value:
        yield from _uses(value[key[0]], key[1:], (*path, key[0]))
