"""A listener on a free port with scripted doors, and the real git and ssh to knock on them."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import asyncssh

from gitreceive.callers import Callers
from gitreceive.model import Lines, Push, RefResult, ShellDoor, Streams
from gitreceive.server import SshServer, start_server
from runtime.errors import NoSuchApp
from runtime.model import Key

HOOKS = Path(__file__).resolve().parents[2] / "hooks"
DEADLINE = 60.0  # seconds for one git or ssh command

PushAnswer = Callable[[Push, Lines], Awaitable[tuple[RefResult, ...]]]
CommandAnswer = Callable[[tuple[str, ...], Streams], Awaitable[int]]


async def accept(push: Push, out: Lines) -> tuple[RefResult, ...]:
    return tuple(RefResult(update.ref) for update in push.updates)


async def nothing(words: tuple[str, ...], streams: Streams) -> int:
    return 0


@dataclass
class Door:
    """All three doors: knows the keys it is given, answers as its test says, remembers what came."""

    folder: Path
    keys: dict[str, Key] = field(default_factory=dict)
    on_push: PushAnswer = accept
    on_command: CommandAnswer = nothing
    pushes: list[Push] = field(default_factory=list)
    operators: list[Key] = field(default_factory=list)  # as whom commands were run
    comings: list[str] = field(default_factory=list)  # the names of keys that came in

    def find(self, fingerprint: str) -> Key | None:
        return self.keys.get(fingerprint)

    def used(self, key: Key) -> None:
        self.comings.append(key.name)

    async def admit(self, operator: Key, app: str, *, write: bool, source: str = "") -> str:
        path = self.repository(app)
        if not path.exists():
            if not write:
                raise NoSuchApp(f"there is no app '{app}'")
            words = ("git", "init", "-q", "--bare", "-b", "main", str(path))
            await asyncio.to_thread(subprocess.run, words, check=True)
        return str(path)

    async def push(self, push: Push, out: Lines) -> tuple[RefResult, ...]:
        self.pushes.append(push)
        return await self.on_push(push, out)

    async def run(self, operator: Key, words: tuple[str, ...], streams: Streams) -> int:
        self.operators.append(operator)
        return await self.on_command(words, streams)

    def repository(self, app: str) -> Path:
        return self.folder / f"{app}.git"


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: bytes
    err: str


class Rig:
    """What a test holds: the server, its doors, and a person with a key and a git."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.door = Door(folder / "repositories")
        self.key = self.make_key("key")
        public = asyncssh.read_public_key(self.key.with_suffix(".pub"))
        fingerprint = public.get_fingerprint()
        self.operator = Key(name="ada", public="", fingerprint=fingerprint, added_at=datetime(2026, 1, 1, tzinfo=UTC))
        self.door.keys[fingerprint] = self.operator
        self.callers = Callers()
        self.server: SshServer

    async def start(self, *, shells: ShellDoor | None = None, **options: int) -> None:
        self.server = await start_server(
            "127.0.0.1",
            0,
            self.folder / "host" / "key",
            self.door,
            self.door,
            self.door,
            self.folder / "sock",
            HOOKS,
            shells=shells,
            callers=self.callers,
            **options,
        )

    def make_key(self, name: str) -> Path:
        path = self.folder / name
        subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)), check=True)
        return path

    def ssh_words(self, *options: str, key: Path | None = None) -> tuple[str, ...]:
        given = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "LogLevel=ERROR")
        fixed = (word for option in (*given, *options) for word in ("-o", option))
        return "ssh", "-F", "none", "-i", str(key or self.key), *fixed

    def url(self, app: str) -> str:
        return f"ssh://paas@127.0.0.1:{self.server.port}/{app}"

    async def start_process(self, *words: str, key: Path | None = None) -> asyncio.subprocess.Process:
        """A client process with pipes."""
        return await asyncio.create_subprocess_exec(
            *words, env=self._environment(key), stdin=-1, stdout=-1, stderr=-1, start_new_session=True
        )

    async def call(self, *words: str, stdin: bytes = b"", key: Path | None = None) -> Done:
        """Run a client process to its end."""
        process = await self.start_process(*words, key=key)
        async with asyncio.timeout(DEADLINE):
            out, err = await process.communicate(stdin)
        assert process.returncode is not None
        return Done(process.returncode, out, err.decode())

    async def ssh(self, *command: str, stdin: bytes = b"", options: tuple[str, ...] = (), tty: bool = False) -> Done:
        """`ssh paas@host COMMAND`."""
        target = ("-p", str(self.server.port), "paas@127.0.0.1")
        return await self.call(*self.ssh_words(*options), *(("-tt",) if tty else ()), *target, *command, stdin=stdin)

    async def git(self, *words: str, at: Path | None = None, key: Path | None = None) -> Done:
        return await self.call("git", *(("-C", str(at)) if at else ()), *words, key=key)

    def git_now(self, *words: str, at: Path, stdin: bytes = b"") -> str:
        """A git command that needs no server, and must succeed."""
        done = subprocess.run(
            ("git", "-C", str(at), *words), env=self._environment(), input=stdin, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    def work(self, **files: bytes) -> Path:
        """A work tree with one commit on main."""
        path = self.folder / "work"
        path.mkdir()
        self.git_now("init", "-q", "-b", "main", at=path)
        self.commit(path, **(files or {"hello": b"hello\n"}))
        return path

    def blob(self, app: str, path: str) -> bytes:
        """A file as it stands on an app's main."""
        words = ("git", "--git-dir", str(self.door.repository(app)), "cat-file", "blob", f"main:{path}")
        return subprocess.run(words, capture_output=True, check=True).stdout

    def commit(self, work: Path, **files: bytes) -> str:
        for name, content in files.items():
            (work / name).write_bytes(content)
        self.git_now("add", "-A", at=work)
        self.git_now("commit", "-q", "-m", "a commit", at=work)
        return self.git_now("rev-parse", "HEAD", at=work)

    def stored(self, app: str, ref: str = "refs/heads/main") -> str | None:
        """Where a ref of an app's repository stands."""
        words = ("git", "--git-dir", str(self.door.repository(app)), "rev-parse", "-q", "--verify", ref)
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() or None

    def _environment(self, key: Path | None = None) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_SSH_COMMAND": " ".join(self.ssh_words(key=key)),
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@example.org",
            "GIT_COMMITTER_NAME": "Ada",
            "GIT_COMMITTER_EMAIL": "ada@example.org",
        }
