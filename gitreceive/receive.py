"""`git receive-pack` and `git upload-pack` for one session: their words, their settings, their pipes."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from gitreceive.child import Child
from gitreceive.hooksocket import HookSocket
from gitreceive.model import PushDoor
from gitreceive.pipes import Inlet, Outlet, open_pipe
from runtime.errors import SettingsError, UsageError
from runtime.model import GIB, Key, app_name

PUSH: Final = "receive-pack"
FETCH: Final = "upload-pack"
OLDEST_GIT: Final = (2, 29)  # the first with the proc-receive hook
MAX_PUSH: Final = GIB  # bytes of objects in one push
TAIL_DEADLINE: Final = 5.0  # seconds after git's exit until its output must have ended
PATIENCE: Final = 3.0  # seconds for a git whose client has gone to end by itself
KEPT: Final = 2048  # bytes of git's last words to the client that are looked into

# What old histories are full of and no reader trips over; GitHub and GitLab let it in too. Whatever can
# fool a checkout (.git, .., names twice, odd symlinks, .gitmodules tricks) stays an error.
FORGIVEN: Final = (
    "badTimezone",
    "missingNameBeforeEmail",
    "missingSpaceBeforeDate",
    "multipleAuthors",
    "zeroPaddedDate",
    "zeroPaddedFilemode",
)

# git's own words for a refusal, and what to do about it.
ADVICE: Final = {
    b"shallow update not allowed": "this clone is shallow, so its history is not complete: "
    "run 'git fetch --unshallow', then push again",
    b"pack exceeds maximum allowed size": "the push is larger than this server takes: "
    "remove large files from the commits, or push the history in several steps",
}


@dataclass(frozen=True)
class GitRequest:
    """What a git client asks of us."""

    service: str  # PUSH or FETCH
    app: str


@dataclass(frozen=True)
class GitSetup:
    """What is the same for every git process of this server."""

    hooks: Path
    socket: HookSocket
    max_push: int = MAX_PUSH


class GitChannel(Protocol):
    """The SSH session, as a git process needs it."""

    @property
    def source(self) -> str: ...

    def write(self, data: bytes, *, error: bool = False) -> None: ...
    def hold_input(self, full: bool) -> None: ...
    def connect(self, inlet: Inlet, outlets: tuple[Outlet, ...]) -> None: ...


def parse(command: str) -> GitRequest | None:
    """The git request in an SSH command line; None when it is none. Raises UsageError on a wrong one."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"the command line can not be read: {str(error).lower()}") from None
    if len(words) > 1 and words[0] == "git" and words[1] in (PUSH, FETCH):
        words[:2] = [f"git-{words[1]}"]
    if not words or words[0] not in (f"git-{PUSH}", f"git-{FETCH}"):
        return None
    if len(words) != 2:
        raise UsageError(f"{words[0]} takes the name of one app")
    return GitRequest(words[0].removeprefix("git-"), _app(words[1]))


def _app(path: str) -> str:
    name = path.removeprefix("~").lstrip("/").rstrip("/").removesuffix(".git")
    try:
        return app_name(name)
    except ValueError as error:
        raise UsageError(str(error)) from None


def settings(setup: GitSetup) -> dict[str, str]:
    """The configuration of a git process: all of it, since it reads neither the host's nor a user's."""
    return {
        "core.hooksPath": str(setup.hooks),
        "core.fsync": "committed,reference",
        "gc.auto": "0",
        "transfer.fsckObjects": "true",
        "receive.procReceiveRefs": "refs",
        "receive.advertisePushOptions": "true",
        # A pack is kept as it came: faster for pushes of any size, and durable with one fsync.
        "receive.unpackLimit": "1",
        "receive.maxInputSize": str(setup.max_push),
        "receive.shallowUpdate": "false",
        "receive.autogc": "false",
        "uploadpack.allowFilter": "true",
        **{f"receive.fsck.{name}": "ignore" for name in FORGIVEN},
    }


def argv(service: str, repository: str, config: Mapping[str, str]) -> tuple[str, ...]:
    """The words that start git."""
    given = (word for name, value in config.items() for word in ("-c", f"{name}={value}"))
    return ("git", *given, service, repository)


def environment(**more: str) -> dict[str, str]:
    """A process environment in which nothing of the host's or the client's configuration counts."""
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        **more,
    }


def require_git() -> None:
    """Raises SettingsError when git is missing, or too old to ask us before a ref moves."""
    try:
        answer = subprocess.run(("git", "version"), capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise SettingsError("git does not run; install it with 'apt-get install git'") from error
    found = re.search(r"(\d+)\.(\d+)", answer)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_GIT:
        oldest = ".".join(map(str, OLDEST_GIT))
        raise SettingsError(f"{answer.strip() or 'git'} is too old; Lockstep needs git {oldest} or later")


async def serve(
    request: GitRequest, operator: Key, channel: GitChannel, door: PushDoor, setup: GitSetup, protocol: str
) -> int:
    """Run git for the client and return its exit code. When cancelled, the push is cancelled, then git ended."""
    pushing = request.service == PUSH
    repository = await door.admit(operator, request.app, write=pushing, source=channel.source)
    words = argv(request.service, repository, settings(setup))
    if not pushing:
        return await _finish(GitProcess(words, environment(GIT_PROTOCOL=protocol), channel), _nothing, 0.0)
    ticket = setup.socket.issue(request.app, operator, channel.source)
    env = environment(LOCKSTEP_HOOK_SOCKET=str(setup.socket.path), LOCKSTEP_HOOK_TOKEN=ticket.token)
    return await _finish(GitProcess(words, env, channel), lambda: setup.socket.withdraw(ticket), PATIENCE)


async def _finish(git: GitProcess, before_end: Callable[[], Awaitable[None]], patience: float) -> int:
    try:
        return await git.run()
    finally:
        await before_end()
        await git.end(patience)


async def _nothing() -> None:
    """A fetch has nothing to take back."""


class GitProcess:
    """git with its three pipes tied to a channel. After `run()`, however it went, `end()` must follow."""

    def __init__(self, words: tuple[str, ...], env: Mapping[str, str], channel: GitChannel) -> None:
        self._words = words
        self._env = env
        self._channel = channel
        self._last_words = b""
        self._child: Child | None = None
        stdin, stdout, stderr = open_pipe(wide=True), open_pipe(wide=True), open_pipe(wide=False)
        self._theirs = (stdin[0], stdout[1], stderr[1])
        self._inlet = Inlet(stdin[1], channel.hold_input)
        self._outlets = (Outlet(stdout[0], self._say), Outlet(stderr[0], partial(channel.write, error=True)))

    async def run(self) -> int:
        """Run it until it has ended and all that it said is with the channel."""
        try:
            self._child = Child(self._words, self._env, *self._theirs)
        finally:
            for end in self._theirs:
                os.close(end)
        self._channel.connect(self._inlet, self._outlets)
        code = await self._child.wait()
        await asyncio.wait([outlet.ended for outlet in self._outlets], timeout=TAIL_DEADLINE)
        for words, advice in ADVICE.items():
            if words in self._last_words:
                self._channel.write(f"lockstep: {advice}\n".encode(), error=True)
        return code

    async def end(self, patience: float) -> None:
        """Stop it if it still runs, and let go of its pipes."""
        # git leaves what it received half-way behind when a signal ends it, and tidies up at an end of input.
        self._inlet.close()
        if self._child is not None:
            await self._child.terminate(patience)
        for outlet in self._outlets:
            outlet.close()

    def _say(self, data: bytes) -> None:
        self._last_words = (self._last_words + data)[-KEPT:]
        self._channel.write(data)
