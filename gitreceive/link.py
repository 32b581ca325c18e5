"""One TCP connection below SSH: quick acknowledgements, a halt of all output while it is full, word of lost readers.

asyncssh leaves both to the kernel and to chance: it ignores the transport's pause_writing, so a client
that announces a huge window and then reads nothing would fill our memory; and delayed acknowledgements
cost the handshake of an OpenSSH client 40 ms each time it waits on Nagle's algorithm. And it knows nothing of the
request by which OpenSSH says that the reader of a command's output is gone, as in `ssh … | head -1`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final, Protocol

import asyncssh

SMALL = 4096  # a read below this is a message on its own, not a part of a stream
# The method that asyncssh looks for when a channel gets the request eow@openssh.com (PROTOCOL, 2.1, of OpenSSH).
READER_GONE: Final = "_process_eow_at_openssh_dot_com_request"
SLICE = 40 * 1024  # asyncssh copies the rest of its buffer after each packet: never give it much more than one


class Halting(Protocol):
    """A session whose output can be held back."""

    def link_full(self, full: bool) -> None: ...


def listen_for_lost_reader(channel: asyncssh.SSHServerChannel[bytes], tell: Callable[[], None]) -> None:
    """Call `tell` when the client says that nobody reads what the channel sends. Only OpenSSH says so."""

    def heard(packet: Any) -> bool:
        packet.check_end()
        tell()
        return True

    setattr(channel, READER_GONE, heard)


class Link:
    """Stands between the transport and asyncssh's connection by shadowing three of its protocol methods."""

    def __init__(self, connection: asyncssh.SSHServerConnection) -> None:
        self.full = False
        self.sessions: set[Halting] = set()
        self._connection = connection
        self._leaving = False
        self._socket: socket.socket = connection.get_extra_info("socket")
        self._receive: Callable[[bytes], None] = connection.data_received
        for name in ("data_received", "pause_writing", "resume_writing"):
            setattr(connection, name, getattr(self, name))
        self.acknowledge()

    def remove(self, session: Halting) -> None:
        """A session's channel is closed."""
        self.sessions.discard(session)
        if self._leaving and not self.sessions:
            self._connection.close()

    def leave(self) -> None:
        """Close the connection once its last session is over."""
        self._leaving = True
        if not self.sessions:
            self._connection.close()

    def acknowledge(self) -> None:
        """Ask for an immediate acknowledgement; the kernel forgets the wish soon, so it is repeated."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def data_received(self, data: bytes) -> None:
        if len(data) < SMALL:
            self.acknowledge()
        if len(data) <= SLICE:
            self._receive(data)
            return
        for start in range(0, len(data), SLICE):
            self._receive(data[start : start + SLICE])

    def pause_writing(self) -> None:
        self._tell(True)

    def resume_writing(self) -> None:
        self._tell(False)

    def _tell(self, full: bool) -> None:
        self.full = full
        for session in tuple(self.sessions):
            session.link_full(full)
