"""One SSH session: a git request goes to git, everything else to the command door."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import asyncssh

from gitreceive import receive
from gitreceive.link import Link, listen_for_lost_reader
from gitreceive.model import CommandDoor, Knock, PushDoor, ShellDoor, Streams, Terminal
from gitreceive.pipes import Inlet, Outlet
from gitreceive.receive import GitSetup
from gitreceive.streams import ChannelStreams
from gitreceive.tasks import cancel_once
from runtime.errors import LockstepError, explain
from runtime.model import Key
from runtime.text import printable

log = logging.getLogger(__name__)

GIT_PROTOCOLS = (b"version=1", b"version=2")  # all that a client may put into git's environment


@dataclass(frozen=True)
class Ending:
    """Why a session ends before its work is done."""

    code: int  # its exit code
    sentence: str = ""  # what the client is told


INTERRUPTED: Final = Ending(130)  # Ctrl-C; the codes are those of a shell
UNREAD: Final = Ending(141)  # the reader of its output is gone, as a program ends by SIGPIPE
STOPPING: Final = Ending(1, "the server is stopping")  # heard only if the client is still there


class Doors:
    """What sessions lead to, and the tasks of those that are open."""

    def __init__(self, pushes: PushDoor, commands: CommandDoor, git: GitSetup, shells: ShellDoor | None = None) -> None:
        self.pushes = pushes
        self.commands = commands
        self.shells = shells
        self.git = git
        self.open: set[asyncio.Task[None]] = set()


class Session(asyncssh.SSHServerSession[bytes]):
    """What asyncssh calls for one channel. Its work is one task, cancelled when the client goes away."""

    _channel: asyncssh.SSHServerChannel[bytes]
    _streams: ChannelStreams

    def __init__(self, operator: Key, doors: Doors, link: Link) -> None:
        self._operator = operator
        self._doors = doors
        self._link = link
        self._command: str | None = None
        self._subsystem: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._ending: Ending | None = None
        self._inlet: Inlet | None = None
        self._outlets: tuple[Outlet, ...] = ()
        self._channel_full = False
        self._gone = False

    # ---- what the client asks for ------------------------------------------------------------------------------

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan
        self._streams = ChannelStreams(chan)
        self._link.sessions.add(self)
        listen_for_lost_reader(chan, lambda: self.end(UNREAD))

    def pty_requested(
        self, term_type: str, term_size: tuple[int, int, int, int], term_modes: Mapping[int, int]
    ) -> bool:
        columns, rows, *_ = term_size
        self._streams.terminal = Terminal(term_type, columns, rows, dict(term_modes))
        return True

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        if self._streams.terminal is not None:
            self._streams.terminal.resize(width, height)

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:
        self._command = command
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        self._subsystem = subsystem
        return True

    def session_started(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"ssh session of {self._operator.name}")
        self._doors.open.add(self._task)
        self._task.add_done_callback(self._doors.open.discard)

    # ---- bytes -------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if self._inlet is not None:
            self._inlet.feed(data)
        elif self._streams.feed(data):
            self.end(INTERRUPTED)

    def eof_received(self) -> bool:
        if self._inlet is not None:
            self._inlet.end()
        else:
            self._streams.end()
        return True  # we still answer

    def pause_writing(self) -> None:
        self._channel_full = True
        self._hold_output()

    def resume_writing(self) -> None:
        self._channel_full = False
        self._hold_output()

    def link_full(self, full: bool) -> None:
        """The connection's own buffer is full, or no longer."""
        self._hold_output()

    def _hold_output(self) -> None:
        full = not self._gone and (self._channel_full or self._link.full)
        self._streams.hold(full)
        for outlet in self._outlets:
            outlet.hold(full)

    @property
    def source(self) -> str:
        """The client's address."""
        return self._streams.source

    def write(self, data: bytes, *, error: bool = False) -> None:
        """Send to the client."""
        self._streams.write(data, error=error)

    def hold_input(self, full: bool) -> None:
        """Let the client wait while a pipe is full."""
        if full:
            self._channel.pause_reading()
        else:
            self._channel.resume_reading()

    def connect(self, inlet: Inlet, outlets: tuple[Outlet, ...]) -> None:
        """From now on the channel's bytes go to and come from a process."""
        data, ended = self._streams.take()
        self._inlet, self._outlets = inlet, outlets
        self._hold_output()
        if data:
            inlet.feed(data)
        if ended:
            inlet.end()

    # ---- its end -----------------------------------------------------------------------------------------------

    def signal_received(self, signal: str) -> None:
        if self._streams.on_signal is not None:
            self._streams.on_signal(signal)
        else:
            self.end(INTERRUPTED)

    def break_received(self, msec: int) -> bool:
        self.end(INTERRUPTED)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.remove(self)
        self._gone = True
        self._hold_output()  # what is still said may go nowhere, but nobody may wait for it
        if self._task is not None:
            cancel_once(self._task)

    def serves(self, streams: Streams) -> bool:
        """Whether these streams are its own."""
        return streams is self._streams

    def end(self, ending: Ending) -> None:
        """Cancel its work, for this reason unless there was one before."""
        if self._task is not None and self._ending is None:
            self._ending = ending
            cancel_once(self._task)

    # ---- its work ----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            code = await self._work()
        except asyncio.CancelledError:
            ending = self._ending or STOPPING
            if ending.sentence:
                self._complain(ending.sentence)
            code = ending.code
        self._exit(code)

    def _exit(self, code: int) -> None:
        if not self._channel.is_closing():
            self._channel.exit(code & 0xFF)

    async def _work(self) -> int:
        try:
            return await self._dispatch()
        except LockstepError as error:
            self._complain(explain(error))
            return error.exit_code
        except Exception:
            number = secrets.token_hex(4)
            log.exception("internal error %s in a session of %s", number, self._operator.name)
            self._complain(f"internal error, see the server's log (id {number})")
            return 1

    async def _dispatch(self) -> int:
        request = None if self._subsystem is not None else receive.parse(self._command or "")
        if request is not None:
            doors = self._doors
            return await receive.serve(request, self._operator, self, doors.pushes, doors.git, self._git_protocol())
        if (code := await self._shell()) is not None:
            return code
        if self._subsystem is not None:
            raise LockstepError(
                f"'{self._subsystem[:40]}' is not offered here; sftp and scp go to an app: sftp APP@HOST, push with git"
            )
        words = tuple(shlex.split(self._command or ""))
        return await self._doors.commands.run(self._operator, words, self._streams)

    async def _shell(self) -> int | None:
        """The exit code of a session inside an app that is named as the user; None when none is."""
        if self._doors.shells is None:
            return None
        user = str(self._channel.get_extra_info("username"))
        knock = Knock(user, self._command, self._subsystem)
        return await self._doors.shells.answer(self._operator, knock, self._streams)

    def _git_protocol(self) -> str:
        asked = self._channel.get_environment_bytes().get(b"GIT_PROTOCOL", b"")
        return asked.decode() if asked in GIT_PROTOCOLS else ""

    def _complain(self, sentence: str) -> None:
        lines = "\n".join(map(printable, sentence.splitlines()))
        self._streams.write(f"lockstep: {lines}\n".encode(errors="replace"), error=True)
