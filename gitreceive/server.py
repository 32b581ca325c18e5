"""The SSH listener: its host key, who may come in, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import asyncssh

from gitreceive.callers import Callers
from gitreceive.hooksocket import HookSocket
from gitreceive.link import Link
from gitreceive.model import CommandDoor, KeyRing, PushDoor, ShellDoor, Streams
from gitreceive.receive import MAX_PUSH, GitSetup, require_git
from gitreceive.session import Doors, Ending, Session
from gitreceive.tasks import cancel_once
from runtime.errors import SettingsError
from runtime.model import Key

log = logging.getLogger(__name__)

LOGIN_DEADLINE = 30.0  # seconds from connecting to a proven key
MAX_STRANGERS = 256  # connections at a time that have not proven a key
MAX_TRIES = 20  # keys and user names one connection may offer; agents hold many
MAX_SESSIONS = 20  # sessions at a time on one connection
KEEPALIVE_INTERVAL = 15.0  # seconds of silence before we ask whether the client is there
KEEPALIVE_TRIES = 4
END_DEADLINE = 30.0  # seconds for cancelled sessions to undo what they were at
FAREWELL = 1.0  # seconds for clients whose sessions are over to leave by themselves
BACKLOG = 512
NOT_FORWARDED: Final = "this server forwards no ports"

# The client's order decides, and OpenSSH puts AES-GCM last, behind ciphers that cost us several times as
# much. So these are all that we offer; every client of the last ten years has them.
CIPHERS = ("aes256-gcm@openssh.com", "aes128-gcm@openssh.com")

# OpenSSH's clients tell only a server that is called OpenSSH when nobody reads a command's output any more, and
# that they will open no more sessions: all that the name changes in them. The minus sign is not allowed in it.
VERSION: Final = "OpenSSH_compatible Lockstep"


@dataclass
class Gate:
    """Who is at the door of one listener."""

    keyring: KeyRing
    doors: Doors
    callers: Callers
    strangers: int = 0


class Guest(asyncssh.SSHServer):
    """One connection: a stranger until it has proven a key that the key ring knows."""

    _connection: asyncssh.SSHServerConnection
    _link: Link

    def __init__(self, gate: Gate) -> None:
        self.fingerprint = ""
        self._gate = gate
        self._tries = 0
        self._stranger = False

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        if self._gate.strangers >= MAX_STRANGERS:
            log.warning("a connection was refused: %d others have not proven a key yet", MAX_STRANGERS)
            conn.abort()
            return
        self._count(True)
        self._link = Link(conn)
        self._gate.callers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._count(False)
        self._gate.callers.discard(self)

    def begin_auth(self, username: str) -> bool:
        self._try()
        return True  # the key alone decides who it is

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self._try()
        # asyncssh asks again just before it checks the signature, so the last one found is the proven one.
        self.fingerprint = key.get_fingerprint()
        return self._operator() is not None

    def auth_completed(self) -> None:
        self._count(False)
        operator = self._operator()
        if operator is not None:
            self._gate.keyring.used(operator)

    def session_requested(self) -> Session:
        operator = self._operator()  # asked again: the key may have been removed since, or its apps renamed
        if operator is None:
            raise _refusal("this key was removed")
        if len(self._link.sessions) >= MAX_SESSIONS:
            raise _refusal(f"this connection has {MAX_SESSIONS} sessions already")
        return Session(operator, self._gate.doors, self._link)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> NoReturn:
        raise _refusal(NOT_FORWARDED)

    def unix_connection_requested(self, dest_path: str) -> NoReturn:
        raise _refusal(NOT_FORWARDED)

    def shut_out(self, why: str, asker: Streams) -> int:
        """Part of `Callers.shut_out`."""
        sessions = [session for session in self._link.sessions if isinstance(session, Session)]
        others = [session for session in sessions if not session.serves(asker)]
        for session in others:
            session.end(Ending(1, why))
        self._link.leave()
        return len(others)

    async def gone(self) -> None:
        """Wait until the connection is closed."""
        await self._connection.wait_closed()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _operator(self) -> Key | None:
        return self._gate.keyring.find(self.fingerprint)

    def _try(self) -> None:
        self._tries += 1
        if self._tries > MAX_TRIES:
            raise asyncssh.DisconnectError(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "too many keys were offered")

    def _count(self, stranger: bool) -> None:
        if stranger != self._stranger:
            self._stranger = stranger
            self._gate.strangers += 1 if stranger else -1


def _refusal(why: str) -> asyncssh.ChannelOpenError:
    """What a client shows as 'administratively prohibited', with the reason."""
    return asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, why)


async def _wait(tasks: set[asyncio.Task[None]], timeout: float) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=timeout)


class SshServer:
    """A listener that runs. `port` is the one it got."""

    def __init__(self, acceptor: asyncssh.SSHAcceptor, gate: Gate, hooks: HookSocket) -> None:
        self.port: int = acceptor.get_port()
        self._acceptor = acceptor
        self._open = gate.doors.open
        self._callers = gate.callers
        self._hooks = hooks

    def refuse(self) -> None:
        """Take no new connections."""
        self._acceptor.close()

    async def close(self, grace: float) -> None:
        """Take no new connections; let sessions finish for `grace` seconds, then cancel them and wait."""
        self.refuse()
        await _wait(self._open, grace)
        for task in tuple(self._open):
            cancel_once(task)
        await _wait(self._open, END_DEADLINE)
        # A client that has its exit code leaves by itself; closing first could cut off its last lines.
        leaving = {asyncio.create_task(guest.gone()) for guest in self._callers}
        await _wait(leaving, FAREWELL)
        for guest in tuple(self._callers):
            guest.close()
        await _wait(leaving, END_DEADLINE)
        await self._acceptor.wait_closed()
        await self._hooks.close()


async def start_server(
    host: str,
    port: int,
    host_key_path: Path,
    keyring: KeyRing,
    push_door: PushDoor,
    command_door: CommandDoor,
    hook_socket_dir: Path,
    hooks_path: Path,
    *,
    max_push: int = MAX_PUSH,
    shells: ShellDoor | None = None,
    callers: Callers | None = None,
) -> SshServer:
    """Listen on `host`:`port` (0: any free one); `callers` is kept true. Raises SettingsError when it can not."""
    require_git()
    host_key = load_host_key(host_key_path)
    hooks = HookSocket(hook_socket_dir, push_door)
    await hooks.start()
    doors = Doors(push_door, command_door, GitSetup(hooks_path, hooks, max_push), shells)
    gate = Gate(keyring, doors, Callers() if callers is None else callers)
    try:
        acceptor = await _listen(host, port, host_key, gate)
    except OSError as error:
        await hooks.close()
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return SshServer(acceptor, gate, hooks)


async def _listen(host: str, port: int, host_key: asyncssh.SSHKey, gate: Gate) -> asyncssh.SSHAcceptor:
    asyncssh.set_log_level(logging.WARNING)
    return await asyncssh.listen(
        host,
        port,
        server_factory=lambda: Guest(gate),
        server_host_keys=[host_key],
        server_version=VERSION,
        encryption_algs=CIPHERS,
        compression_algs=["none"],
        password_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        gss_host=None,
        x11_forwarding=False,
        agent_forwarding=False,
        allow_scp=False,
        line_editor=False,
        encoding=None,
        login_timeout=LOGIN_DEADLINE,
        keepalive_interval=KEEPALIVE_INTERVAL,
        keepalive_count_max=KEEPALIVE_TRIES,
        backlog=BACKLOG,
    )


def load_host_key(path: Path) -> asyncssh.SSHKey:
    """The ed25519 key at `path`, made on the first start. Raises SettingsError when it can not be read."""
    try:
        if not path.exists():
            make_private_key(path)
        return asyncssh.read_private_key(path)
    except (OSError, asyncssh.KeyImportError) as error:
        raise SettingsError(f"the host key {path} can not be used: {error}") from error


def make_private_key(path: Path) -> None:
    """A new ed25519 key at `path`, whole or not at all, readable by its owner alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
