"""Text that comes from a build, made fit for a stranger's terminal: pure functions and one line cutter.

What a build prints is not to be trusted: it may move the cursor, set the title, or never end its
line. Printable text, tabs and colours pass; every other control sequence is taken out.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

from runtime.text import printable

LINE_LIMIT: Final = 4096  # characters of one line; a longer one is cut into several
NAME_LIMIT: Final = 100  # characters of a step's name
REASON_LIMIT: Final = 400  # characters of the engine's reason

_MOUNT_FLAG: Final = re.compile(r"--(?:mount|network|security)=\S+\s*")
_DIGEST: Final = re.compile(r"@sha256:[0-9a-f]{64}")
_HUB: Final = re.compile(r"(?<![\w.-])docker\.io/(?:library/)?")
_ENGINE_TALK: Final = re.compile(
    r"^(?:failed to (?:solve|create LLB definition|compute cache key)[^:]*: |rpc error: code = \w+ desc = )+"
)


def short_instruction(text: str) -> str:
    """A Dockerfile instruction for display: its first line, without mount flags, at most NAME_LIMIT characters."""
    line = text.strip().split("\n", 1)[0]
    line = _HUB.sub("", _DIGEST.sub("", _MOUNT_FLAG.sub("", line)))
    return _clipped(line, NAME_LIMIT)


def short_reason(text: str) -> str:
    """The engine's words about a failure in one line, without its own layers' prefixes."""
    return _clipped(_ENGINE_TALK.sub("", text.strip()), REASON_LIMIT)


def _clipped(text: str, limit: int) -> str:
    line = " ".join(printable(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


class LineCutter:
    """Turns pieces of output, cut anywhere, into whole lines; of a line rewritten with \\r the last text stays."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""

    def feed(self, data: bytes) -> list[str]:
        *whole, rest = (self._pending + self._decoder.decode(data)).split("\n")
        lines = [piece for line in whole for piece in _pieces(_rewritten(line))]
        rest = _rewritten(rest, keep_end=True)
        while len(rest) > LINE_LIMIT:
            lines.append(printable(rest[:LINE_LIMIT]))
            rest = rest[LINE_LIMIT:]
        self._pending = rest
        return lines

    def flush(self) -> list[str]:
        """The line that was never ended, if there is one."""
        rest = _rewritten(self._pending + self._decoder.decode(b"", final=True))
        self._pending = ""
        return _pieces(rest) if rest else []


def _rewritten(line: str, *, keep_end: bool = False) -> str:
    """What a terminal shows of `line` in the end; `keep_end` keeps a last \\r, whose \\n may be still to come."""
    if "\r" not in line:
        return line
    last = next((part for part in reversed(line.split("\r")) if part), "")
    return last + "\r" if keep_end and line.endswith("\r") else last


def _pieces(line: str) -> list[str]:
    if len(line) <= LINE_LIMIT:
        return [printable(line)]
    return [printable(line[start : start + LINE_LIMIT]) for start in range(0, len(line), LINE_LIMIT)]
