"""The socket that tells the scheduler to look at the store again.

A datagram says nothing but "look": what changed stands in the store. One that is lost costs a minute at most.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

log = logging.getLogger(__name__)


def send_wake(path: Path) -> None:
    """Never waits: no scheduler listens, or it has been told already, both are fine."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out:
        try:
            out.sendto(b"look", str(path))
        except BlockingIOError:
            return
        except OSError as error:
            log.info("the scheduler was not woken (%s): it looks at the store when it starts", error.strerror)


@contextmanager
def listen(path: Path, told: Callable[[], None]) -> Iterator[None]:
    """Call `told` for each wake-up while the body runs in the event loop."""
    with suppress(FileNotFoundError):
        path.unlink()
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as inbox:
        inbox.bind(str(path))
        path.chmod(0o600)
        loop.add_reader(inbox, _drain, inbox, told)
        try:
            yield
        finally:
            loop.remove_reader(inbox)
            with suppress(FileNotFoundError):
                path.unlink()


def _drain(inbox: socket.socket, told: Callable[[], None]) -> None:
    with suppress(BlockingIOError):
        while inbox.recv(64):
            pass
    told()
