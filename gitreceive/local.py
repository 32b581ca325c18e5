"""The operator's commands on the server's own host: through the SSH door, with the host's own key.

There is one way in for commands, with one set of rules and one record; a person on the host takes it as well.
`ssh` replaces this process, so terminal, streams and exit code are the command's own. Little is imported here, since
a person waits for it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
from pathlib import Path
from typing import Final

from runtime.errors import SettingsError
from runtime.settings import Settings

ALIAS: Final = "lockstep"  # the server's name in known_hosts, whatever its port
ANSWER_DEADLINE: Final = 5.0  # seconds for the server's greeting
ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a server listens


def run_here(settings: Settings, words: tuple[str, ...]) -> None:
    """Become `ssh` with the command. Raises SettingsError when there is nothing to talk to."""
    ssh = shutil.which("ssh")
    if ssh is None:
        raise SettingsError("ssh is not installed: 'apt-get install openssh-client'")
    if not settings.client_key.is_file():
        raise SettingsError(f"{settings.client_key} is not there: run 'lockstep init' again with --admin-key")
    port = running_at(settings)
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    os.execv(ssh, ssh_words(settings, port, words, terminal=terminal))  # noqa: S606 - no shell takes part


def ssh_words(settings: Settings, port: int, words: tuple[str, ...], *, terminal: bool) -> list[str]:
    """The words that start ssh. It reads no configuration, asks nothing, and knows one key and one server."""
    options = {
        "IdentityFile": _quoted(settings.client_key),
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "UserKnownHostsFile": _quoted(settings.known_hosts),
        "GlobalKnownHostsFile": os.devnull,
        "HostKeyAlias": ALIAS,
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "LogLevel": "ERROR",
    }
    given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    # ssh joins what it is given with blanks; quoted here, the words arrive as they were typed.
    command = (shlex.join(words),) if words else ()
    return [
        "ssh",
        "-F",
        "none",
        *given,
        "-t" if terminal else "-T",
        "-p",
        str(port),
        f"paas@{address_of(settings)}",
        "--",
        *command,
    ]


def _quoted(path: Path) -> str:
    """A path as ssh's options take it: they split at blanks and expand '%'."""
    return f'"{str(path).replace("%", "%%")}"'


def running_at(settings: Settings) -> int:
    """The port of the server that runs. Raises SettingsError when none does."""
    start = f"start it with 'lockstep serve --home {settings.home}'"
    try:
        port = int(settings.port_file.read_text())
        with socket.create_connection((address_of(settings), port), timeout=ANSWER_DEADLINE) as line:
            greeting = line.recv(64)
    except (OSError, ValueError):
        raise SettingsError(f"no server of {settings.home} answers: {start}") from None
    if b"Lockstep" not in greeting:
        raise SettingsError(f"something else than Lockstep answers on ssh port {port}: {start}")
    return port


def address_of(settings: Settings) -> str:
    """Where this host reaches its own server."""
    return ANYWHERE.get(settings.ssh_host, settings.ssh_host)
