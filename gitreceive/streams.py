"""The three streams of an SSH session, as operator commands see them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncssh

from gitreceive.model import Terminal

INPUT_LIMIT = 256 * 1024  # bytes kept for a command that does not read; beyond it the client has to wait
INTERRUPT = 0x03  # Ctrl-C
END_OF_INPUT = 0x04  # Ctrl-D


class ChannelStreams:
    """`Streams` over an SSH channel. What a client without a terminal sends and gets is binary.

    A terminal's client sends keys as they are typed and shows bytes as they come, so here, as a tty
    driver would, lines end in CR LF, Ctrl-C interrupts and Ctrl-D ends the input, until `terminal.raw`.
    """

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes]) -> None:
        peer = channel.get_extra_info("peername")
        self.source = str(peer[0]) if peer else ""
        self.terminal: Terminal | None = None
        self.on_signal: Callable[[str], None] | None = None
        self._channel = channel
        self._input = bytearray()
        self._ended = False
        self._held = False
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    async def read(self, limit: int = 65536) -> bytes:
        """Up to `limit` bytes of standard input; b"" at its end."""
        while not self._input and not self._ended:
            self._arrived.clear()
            await self._arrived.wait()
        data = bytes(self._input[:limit])
        del self._input[:limit]
        if self._held and len(self._input) <= INPUT_LIMIT // 2:
            self._held = False
            self._channel.resume_reading()
        return data

    def write(self, data: bytes, *, error: bool = False) -> None:
        """Send to standard output, or to standard error. Dropped when the client has gone."""
        if self._channel.is_closing():
            return
        if self._cooked:
            data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        self._channel.write(data, asyncssh.EXTENDED_DATA_STDERR if error else None)

    async def drain(self) -> None:
        """Wait until the client has taken most of what was written."""
        await self._writable.wait()

    def feed(self, data: bytes) -> bool:
        """Take input from the channel; True when it holds a wish to interrupt."""
        interrupt = False
        if self._cooked:
            data, interrupt = self._keys(data)
        self._input += data
        if len(self._input) > INPUT_LIMIT and not self._held:
            self._held = True
            self._channel.pause_reading()
        self._arrived.set()
        return interrupt

    def end(self) -> None:
        """The client sends no more."""
        self._ended = True
        self._arrived.set()

    def hold(self, full: bool) -> None:
        """Whether `drain` has to wait."""
        if full:
            self._writable.clear()
        else:
            self._writable.set()

    def take(self) -> tuple[bytes, bool]:
        """What came so far, and whether it was all: for a process that reads the channel itself from now on."""
        data = bytes(self._input)
        self._input.clear()
        if self._held:
            self._held = False
            self._channel.resume_reading()
        return data, self._ended

    @property
    def _cooked(self) -> bool:
        return self.terminal is not None and not self.terminal.raw

    def _keys(self, data: bytes) -> tuple[bytes, bool]:
        interrupt = INTERRUPT in data
        data, end, _ = data.partition(bytes([END_OF_INPUT]))
        if end:
            self._ended = True
        return data.replace(b"\r", b"\n"), interrupt
