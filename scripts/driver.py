"""An instance driven from outside with the real git and ssh, as its users do: for the demo, tests and benchmarks."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOCKSTEP: Final = Path(sys.executable).with_name("lockstep")
READY: Final = "lockstep: ready"
READY_DEADLINE: Final = 600.0  # seconds; a first start builds the base images
STOP_DEADLINE: Final = 150.0
ANSWER_DEADLINE: Final = 10.0


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def all(self) -> str:
        return self.out + self.err


class DriverError(Exception):
    """The instance did not do what its driver needs; the message is for a person."""


class Instance:
    """One instance in `home`, with an admin's key of its own."""

    def __init__(self, home: Path, *, name: str, ssh_port: int, http_port: int) -> None:
        self.home = home
        self.name = name
        self.ssh_port = ssh_port
        self.http_port = http_port
        self.key = home.with_name(home.name + "-client") / "id_ed25519"
        self.environment: dict[str, str] = {}  # LOCKSTEP_* settings for the server
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> Path:
        """What the server prints."""
        return self.home / "serve.out"

    @property
    def pid(self) -> int | None:
        """The server's process, None when it does not run."""
        if self._server is not None:
            return self._server.pid if self._server.poll() is None else None
        try:
            pid = int((self.home / "serve.pid").read_text())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return None
        return pid if "lockstep" in _command_of(pid) else None

    # ---- its life ------------------------------------------------------------------------------------------

    def init(self, *words: str) -> None:
        """`lockstep init`, with a new client's key when there is none."""
        self.make_key(self.key)
        done = self.lockstep(
            "init",
            *("--admin-key", f"{self.key}.pub", "--instance", self.name),
            *("--ssh-port", str(self.ssh_port), "--http-port", str(self.http_port)),
            *words,
        )
        if done.code:
            raise DriverError(done.err.strip())

    def start(self, tell: Callable[[str], None] = lambda line: None) -> None:
        """Start the server in the background and wait until it is ready; `tell` gets its lines meanwhile."""
        self.output.write_bytes(b"")
        with self.output.open("ab") as output:
            self._server = subprocess.Popen(
                [str(LOCKSTEP), "serve", "--home", str(self.home)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environment},
            )
        (self.home / "serve.pid").write_text(str(self._server.pid))
        self._until_ready(tell)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send the server a signal and wait for its end."""
        pid = self.pid
        if pid is None:
            return
        os.kill(pid, how)
        until(lambda: self.pid is None, "the server's end", STOP_DEADLINE)

    def destroy(self) -> Done:
        """Remove everything it has on the engine."""
        return self.lockstep("destroy", "--yes")

    def lockstep(self, command: str, *words: str) -> Done:
        return run([str(LOCKSTEP), command, "--home", str(self.home), *words], env=self.environment)

    def _until_ready(self, tell: Callable[[str], None]) -> None:
        deadline = time.monotonic() + READY_DEADLINE
        seen = 0
        while time.monotonic() < deadline:
            lines = self.output.read_text().splitlines()
            for line in lines[seen:]:
                tell(line)
            seen = len(lines)
            if any(line.startswith(READY) for line in lines):
                return
            if self._server is not None and self._server.poll() is not None:
                raise DriverError(f"the server ended with {self._server.returncode}: {self.output.read_text()[-2000:]}")
            time.sleep(0.05)
        raise DriverError(f"the server was not ready after {READY_DEADLINE:g} s: see {self.output}")

    # ---- its users -----------------------------------------------------------------------------------------

    def make_key(self, path: Path) -> None:
        if path.exists():
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        quiet = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)]
        subprocess.run(quiet, check=True)

    def ssh_words(self, key: Path | None = None) -> list[str]:
        """ssh and its options, without the host."""
        known_hosts = self.key.with_name("known_hosts")
        return [
            *("ssh", "-F", "none", "-i", str(key or self.key), "-p", str(self.ssh_port)),
            *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new"),
            *("-o", f"UserKnownHostsFile={known_hosts}", "-o", "LogLevel=ERROR"),
        ]

    def ssh(self, *words: str, key: Path | None = None, stdin: bytes = b"", timeout: float = 300) -> Done:
        """One operator command."""
        return run([*self.ssh_words(key), "paas@127.0.0.1", "--", *words], stdin=stdin, timeout=timeout)

    def json(self, *words: str) -> Any:
        """What a command answers with -o json. Raises DriverError when it fails."""
        done = self.ssh(*words, "-o", "json")
        if done.code:
            raise DriverError(f"{' '.join(words)}: {done.err.strip()}")
        return json.loads(done.out)

    def git_environment(self, key: Path | None = None) -> dict[str, str]:
        words = " ".join(f"'{word}'" for word in self.ssh_words(key))
        return {"GIT_SSH_COMMAND": words, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}

    def url(self, app: str) -> str:
        """The remote of an app."""
        return f"ssh://paas@127.0.0.1:{self.ssh_port}/{app}"

    def push(
        self, work: Work, app: str, *options: str, ref: str = "main", key: Path | None = None, timeout: float = 600
    ) -> Done:
        """git push; the words in `options` go before the remote."""
        return run(
            ["git", "-C", str(work.path), "push", *options, self.url(app), ref],
            env=self.git_environment(key),
            timeout=timeout,
        )

    def get(self, app: str, path: str = "/", *, method: str = "GET", body: str | None = None) -> tuple[int, str]:
        """One request through the router with the app's host name."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=ANSWER_DEADLINE)
        headers = {"Host": f"{app}.localhost"}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()


class Work:
    """A developer's working copy."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of_example(cls, example: str, path: Path) -> Work:
        """A copy of `examples/NAME` as a repository with one commit."""
        shutil.copytree(ROOT / "examples" / example, path)
        return cls.init(path)

    @classmethod
    def of_files(cls, files: Mapping[str, str | bytes], path: Path) -> Work:
        """A repository with these files and one commit."""
        path.mkdir(parents=True)
        work = cls(path)
        work.write(files)
        return cls.init(path)

    @classmethod
    def init(cls, path: Path) -> Work:
        work = cls(path)
        work.git("init", "-q", "-b", "main")
        work.commit("first")
        return work

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for name, content in files.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, message: str = "change") -> str:
        """Commit everything; the commit's id."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *words: str) -> str:
        identity = ("-c", "user.name=dev", "-c", "user.email=dev@example.org", "-c", "commit.gpgsign=false")
        done = run(
            ["git", "-C", str(self.path), *identity, *words],
            env={"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"},
        )
        if done.code:
            raise DriverError(f"git {' '.join(words)}: {done.err.strip()}")
        return done.out


def run(words: list[str], *, env: Mapping[str, str] | None = None, stdin: bytes = b"", timeout: float = 600) -> Done:
    """A command to its end, with its output as text."""
    began = time.monotonic()
    done = subprocess.run(
        words, input=stdin, capture_output=True, timeout=timeout, env={**os.environ, **(env or {})}, check=False
    )
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    return Done(done.returncode, out, err, time.monotonic() - began)


def until(condition: Callable[[], object], what: str, seconds: float) -> None:
    """Wait for a condition. Raises DriverError, naming it, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DriverError(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - what the server will bind
        except OSError:
            return True
    return False


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
