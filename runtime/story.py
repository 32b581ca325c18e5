"""What a deploy tells the person who waits for it, in the form that hands expect of a git push."""

from __future__ import annotations

from collections.abc import Callable

from runtime.model import Secret
from runtime.text import printable

SHORTEST_SECRET = 6  # characters


class Story:
    """Writes steps, details and troubles to its sinks; values of secrets are blotted out on the way."""

    def __init__(self, sink: Callable[[str], None]) -> None:
        self._sinks = [sink]
        self._secrets: tuple[str, ...] = ()
        self.topic: str | None = None  # the hook whose lines are told now

    def hide(self, secrets: tuple[Secret, ...]) -> None:
        """Never write these values, line by line; short ones would blot out ordinary words and are left alone."""
        lines = {printable(line) for secret in secrets for line in secret.reveal().splitlines()}
        self._secrets = tuple(sorted((line for line in lines if len(line) >= SHORTEST_SECRET), key=len, reverse=True))

    def also(self, sink: Callable[[str], None]) -> None:
        """From now on write to `sink` too."""
        self._sinks.append(sink)

    def step(self, text: str) -> None:
        self.line(f"-----> {text}")

    def detail(self, text: str) -> None:
        for line in text.splitlines() or [""]:
            self.line(f"       {line}")

    def trouble(self, text: str) -> None:
        for line in text.splitlines() or [""]:
            self.line(f" !     {line}")

    def headline(self, text: str) -> None:
        self.line(f"=====> {text}")

    def line(self, text: str) -> None:
        clean = printable(text)
        for value in self._secrets:
            clean = clean.replace(value, "***")
        for sink in self._sinks:
            sink(clean)
