"""Between the streams of an SSH session and a program in a container: bytes, the window's size, signals."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from gitreceive.model import Streams
from runtime.engine.attach import STDERR
from runtime.runs.consoles import Console
from runtime.runs.values import Tty

LARGEST: Final = 9999  # rows and columns that a terminal may have
WISHES: Final = 64  # changes of the window and signals that wait for the engine
END_OF_INPUT: Final = b"\x04\x04"  # a terminal has no other end of input; the second one in case the first ends a line
_KIND: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,63}")
_SAFE_KIND: Final = "dumb"


@contextmanager
def raw(streams: Streams) -> Iterator[None]:
    """Meanwhile keys and bytes pass unchanged: a program in a container has a terminal of its own."""
    terminal = streams.terminal
    if terminal is None:
        yield
        return
    terminal.raw = True
    try:
        yield
    finally:
        terminal.raw = False


def tty_of(streams: Streams) -> Tty | None:
    """The terminal that the program is to have; None when the client asked for none."""
    terminal = streams.terminal
    if terminal is None:
        return None
    kind = terminal.kind if _KIND.fullmatch(terminal.kind) else _SAFE_KIND
    return Tty(kind, _bounded(terminal.rows), _bounded(terminal.columns))


async def bridge(console: Console, streams: Streams) -> int:
    """Pump until the program has ended and all it wrote is with the client; its exit code.

    Each direction waits for its reader: a client that does not read holds up nobody but its own program.
    """
    wishes: asyncio.Queue[str | None] = asyncio.Queue(WISHES)
    tasks = [
        asyncio.create_task(_feed(console, streams), name="input of a program"),
        asyncio.create_task(_obey(console, streams, wishes), name="window of a program"),
    ]
    with _listening(streams, wishes):
        try:
            async for stream, data in console.output():
                streams.write(data, error=stream == STDERR)
                await streams.drain()
            return await console.exit_code()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _feed(console: Console, streams: Streams) -> None:
    with suppress(OSError):  # the program takes no more: its end tells why
        while data := await streams.read():
            await console.write(data)
        if streams.terminal is None:
            console.end_input()
        else:
            await console.write(END_OF_INPUT)


async def _obey(console: Console, streams: Streams, wishes: asyncio.Queue[str | None]) -> None:
    """Do what the client asks beside its input: a signal by its name, None for the window's new size."""
    while True:
        wish = await wishes.get()
        tty = tty_of(streams)
        if wish is not None:
            await console.signal(wish)
        elif tty is not None:
            await console.resize(tty.rows, tty.columns)


@contextmanager
def _listening(streams: Streams, wishes: asyncio.Queue[str | None]) -> Iterator[None]:
    def wish(what: str | None = None) -> None:
        with suppress(asyncio.QueueFull):  # the size is looked at when its turn comes, so one wish does for many
            wishes.put_nowait(what)

    terminal = streams.terminal
    streams.on_signal = wish
    if terminal is not None:
        terminal.on_resize = wish
    wish()  # it may have changed since the terminal was made
    try:
        yield
    finally:
        streams.on_signal = None
        if terminal is not None:
            terminal.on_resize = None


def _bounded(number: int) -> int:
    return max(0, min(number, LARGEST))
