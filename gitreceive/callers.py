"""Who is connected: what a command needs to know of the listener, so that a key that goes takes its sessions along."""

from __future__ import annotations

from typing import Protocol

from gitreceive.model import Streams


class Caller(Protocol):
    """One connection."""

    fingerprint: str  # of the key that it offered last, which is the proven one once it has sessions

    def shut_out(self, why: str, asker: Streams) -> int: ...
    async def gone(self) -> None: ...
    def close(self) -> None: ...


class Callers(set[Caller]):
    """All connections of one listener."""

    def shut_out(self, fingerprint: str, why: str, asker: Streams) -> int:
        """End the sessions of a key, telling each of them why, and close their connections; how many there were.

        The session that asks for it is left its answer, and its connection is closed after that.
        """
        return sum(caller.shut_out(why, asker) for caller in tuple(self) if caller.fingerprint == fingerprint)
