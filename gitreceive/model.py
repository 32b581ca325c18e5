"""The values and the two interfaces that pass between the SSH listener and what stands behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from runtime.model import Key


class Lines(Protocol):
    """Where the story of a push goes; each call reaches the client at once."""

    def write(self, text: str) -> None:
        """Send `text`, which may hold several lines; a newline is added when it has none at its end."""


@dataclass(frozen=True)
class RefUpdate:
    """One ref that a push wants to move; an id of 40 zeros means the ref is not there."""

    ref: str
    old: str
    new: str


@dataclass(frozen=True)
class Push:
    """What `git push` asks, after its objects are stored and before any ref has moved."""

    app: str
    updates: tuple[RefUpdate, ...]
    options: tuple[str, ...]
    operator: Key
    atomic: bool = False  # `git push --atomic`: all of the updates or none
    source: str = ""  # the client's address


@dataclass(frozen=True)
class RefResult:
    """The answer for one ref: with an error it stays where it is, and the client is told why."""

    ref: str
    error: str | None = None
    moved: bool = False  # the server has moved it already; else git does
    instead: str | None = None  # nothing moves, and the client is shown this name in its place


class PushDoor(Protocol):
    """What the listener needs to know of apps and deploys."""

    async def admit(self, operator: Key, app: str, *, write: bool, source: str = "") -> str:
        """The path of the bare repository of `app`, made when `write` and not there yet.

        `source` is the client's address.

        Raises LockstepError (NoSuchApp, Refused, UsageError) with the sentence for the client.
        """

    async def push(self, push: Push, out: Lines) -> tuple[RefResult, ...]:
        """Deploy what the push moves; one answer for each update. Cancelled when the client goes away."""


class Streams(Protocol):
    """The three streams of one SSH session without a git command."""

    terminal: Terminal | None  # None when the client asked for no terminal
    on_signal: Callable[[str], None] | None  # who gets the client's signals ("INT"); None: they end the session
    source: str  # the client's address

    async def read(self, limit: int = 65536) -> bytes:
        """Up to `limit` bytes of standard input; b"" at its end."""

    def write(self, data: bytes, *, error: bool = False) -> None:
        """Send to standard output, or to standard error."""

    async def drain(self) -> None:
        """Wait until the client has taken most of what was written."""


@dataclass
class Terminal:
    """The pseudo-terminal that a client asked for."""

    kind: str
    columns: int
    rows: int
    modes: dict[int, int] = field(default_factory=dict)
    raw: bool = False  # keys and bytes pass unchanged, for a program with a terminal of its own
    on_resize: Callable[[], None] | None = None  # is told that the client's window has another size

    def resize(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        if self.on_resize is not None:
            self.on_resize()


class CommandDoor(Protocol):
    """Runs one operator command."""

    async def run(self, operator: Key, words: tuple[str, ...], streams: Streams) -> int:
        """Run the command and return its exit code. Cancelled when the client goes away."""


@dataclass(frozen=True)
class Knock:
    """How a session asks to come in."""

    user: str  # the user name that ssh gave
    line: str | None  # its command line; None: a shell
    subsystem: str | None  # e.g. "sftp"


class ShellDoor(Protocol):
    """Leads into the containers of an app that is named as the user."""

    async def answer(self, operator: Key, knock: Knock, streams: Streams) -> int | None:
        """Serve the session and return its exit code; None when the user name is no app that the key may see."""


class KeyRing(Protocol):
    """Whose keys may come in."""

    def find(self, fingerprint: str) -> Key | None:
        """The key with this SHA256 fingerprint, or None."""

    def used(self, key: Key) -> None:
        """Remember that somebody has come in with this key just now."""
