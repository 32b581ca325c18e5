"""README.md as the tests read it: its sections, tables, and the fenced blocks that a comment names.

`<!-- test: NAME -->` on the line before a fence gives the block its name.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
README: Final = ROOT / "README.md"
TEXT: Final = README.read_text()

_BLOCK: Final = re.compile(
    r"(?:<!-- test: (?P<name>[a-z-]+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)


def blocks(language: str) -> list[tuple[str | None, str]]:
    """Name and text of every fenced block of a language; None for one without a name."""
    return [(found["name"], found["text"]) for found in _BLOCK.finditer(TEXT) if found["language"] == language]


def block(name: str) -> str:
    [text] = [found["text"] for found in _BLOCK.finditer(TEXT) if found["name"] == name]
    return text


def section(title: str) -> str:
    """What stands below a heading of the second level."""
    [text] = [part.partition("\n")[2] for part in TEXT.split("\n## ") if part.startswith(f"{title}\n")]
    return text


def rows(title: str) -> list[list[str]]:
    """The cells of the table in a section, without its head; an empty first cell repeats the one above."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    for above, row in pairwise(found):
        row[0] = row[0] or above[0]
    return found


def quoted(text: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", text)
