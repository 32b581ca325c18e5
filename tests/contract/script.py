"""The few shell words that the fake engine's containers understand, so that a real one does the same with them."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Final

MISSING: Final = 127  # what the init process of a container ends with when there is no such command
TERMINATED: Final = 128 + 15
KILLED: Final = 128 + 9

Tell = Callable[[str, bool], None]  # a line, and whether it goes to standard error


class Script:
    """`sleep N`, `exit N`, `echo TEXT [>&2]`, `trap '' TERM`, `true`, `false`, `chmod …`, joined by `;` or lines.

    Any other word runs until it is stopped; one that holds `no-such` is not there.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._steps = [step.strip() for step in re.split(r"[;\n]", _line(words)) if step.strip()]
        self.line = _line(words)
        self.ignores_term = False

    async def run(self, tell: Tell) -> int:
        """Run to the end; the exit code."""
        for step in self._steps:
            word, _, rest = step.partition(" ")
            if word == "exit":
                return int(rest)
            if "no-such" in word:
                return MISSING
            if (code := await self._step(word, rest, tell)) is not None:
                return code
        return 0

    async def _step(self, word: str, rest: str, tell: Tell) -> int | None:
        match word:
            case "sleep":
                await asyncio.sleep(float(rest))
            case "echo":
                text, error, _ = rest.partition(">&2")
                tell(shlex.split(text)[0] if text.strip()[:1] in "'\"" else text.strip(), bool(error))
            case "trap":
                self.ignores_term = True
            case "false":
                return 1
            case "true" | "chmod" | "#":
                pass
            case _:
                await asyncio.Event().wait()
        return None


def _line(words: Sequence[str]) -> str:
    """The shell line among the words of a container, as runtime.engine.specs makes them."""
    if list(words[:2]) in (["/bin/sh", "-c"], ["/bin/bash", "-c"]):
        return words[3] if "command -v bash" in words[2] else words[2]
    return shlex.join(words)
