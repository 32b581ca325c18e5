"""Text from builds, apps and clients, made fit for a stranger's terminal.

What they print is not to be trusted: it may move the cursor, set the title, or write to the clipboard.
"""

from __future__ import annotations

import re
from typing import Final

_COLOUR: Final = r"\x1b\[[0-9;:]*m"
_CONTROL: Final = re.compile(
    rf"(?P<colour>{_COLOUR})"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # cursor, erase, modes
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links, clipboard, device strings
    r"|\x1b[ -/]*[0-~]"  # character sets and the like
)
_RESET: Final = "\x1b[0m"


def printable(text: str) -> str:
    """`text` with nothing in it but printable characters, tabs and colours; colours end with the line."""
    coloured = False
    parts: list[str] = []
    position = 0
    for match in _CONTROL.finditer(text):
        parts.append(_visible(text[position : match.start()]))
        if match["colour"]:
            parts.append(match["colour"])
            coloured = match["colour"] not in (_RESET, "\x1b[m")
        position = match.end()
    parts.append(_visible(text[position:]))
    return "".join(parts) + (_RESET if coloured else "")


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(character for character in text if character.isprintable() or character == "\t")
