"""The shell blocks of README.md, run as they stand there, against an instance with ports of its own.

What is different from a reader's machine is in `as_here` (ports and the folder of the instance) and in `reader`
(a home folder with a git identity and an admin's key, and an `ssh` that uses that key and no configuration).
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.driver import ROOT, Done, Instance, free_port, run, until
from tests.readme import block

pytestmark = pytest.mark.engine

APP = "hello"
SHELL = ("bash", "-euo", "pipefail", "-c")
GIT_IDENTITY = "[user]\n\tname = dev\n\temail = dev@example.org\n"
LAYER = re.compile(r"remote:\s+\[")  # a line about one layer of the image


def as_here(text: str, instance: Instance) -> str:
    """A text of the page with this instance's ports in the place of the default ones."""
    text = text.replace(":2222/", f":{instance.ssh_port}/").replace("-p 2222 ", f"-p {instance.ssh_port} ")
    return text.replace(":8080/", f":{instance.http_port}/")


@pytest.fixture
def reader(instance: Instance, tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who follows the page."""
    home, programs = tmp_path / "home", tmp_path / "bin"
    for folder in (home, programs):
        folder.mkdir()
    (home / ".gitconfig").write_text(GIT_IDENTITY)
    ssh = [str(shutil.which("ssh")), *instance.ssh_words()[1:]]
    (programs / "ssh").write_text(f'#!/bin/sh\nexec {shlex.join(ssh)} "$@"\n')
    (programs / "ssh").chmod(0o755)
    return {"HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}", "GIT_CONFIG_NOSYSTEM": "1"}


def in_shell(text: str, folder: Path, environment: dict[str, str]) -> Done:
    return run([*SHELL, f"cd {shlex.quote(str(folder))}\n{text}"], env=environment)


def test_the_first_push_leads_to_a_live_app(instance: Instance, reader: dict[str, str], tmp_path: Path) -> None:
    pushed = in_shell(as_here(block("first-push"), instance), tmp_path, reader)
    assert pushed.code == 0, pushed.all
    assert instance.get(APP) == (200, "<h1>hello</h1>\n")
    expected = as_here(block("first-push-output"), instance)
    assert comparable(pushed.err) == comparable(expected)

    looked = in_shell(as_here(block("first-look"), instance), tmp_path, reader)
    assert looked.code == 0, looked.all
    for shown in ("web.1    v1       running", "clock.1  v1       running", "app[clock.1]: ", "all is well"):
        assert shown in looked.all


def comparable(text: str) -> list[str]:
    """The lines of a push without what differs from one to the next: layers, commit, numbers."""
    lines = [line.rstrip() for line in text.splitlines() if not LAYER.match(line)]
    lines = [re.sub(r"(?<=commit )[0-9a-f]{7}", "COMMIT", line) for line in lines]
    lines = ["remote: (phases)" if "build " in line and " · " in line else line for line in lines]
    return [re.sub(r"\d+(\.\d+)?", "N", line) for line in lines]


@pytest.fixture
def place() -> Iterator[Path]:
    """Where the page says /var/lib/lockstep; with a short name, for the sockets in it."""
    folder = Path(tempfile.mkdtemp(prefix="lockstep-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def host(place: Path) -> Callable[[str], list[str]]:
    """From the name of a block to the words that run it in the checkout, for an instance in `place`."""
    key = place / "home" / ".ssh" / "id_ed25519"
    key.parent.mkdir(parents=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    environment = {
        "HOME": str(place / "home"),
        "LOCKSTEP_INSTANCE": f"readme-{secrets.token_hex(3)}",
        "LOCKSTEP_SSH_PORT": str(free_port()),
        "LOCKSTEP_HTTP_PORT": str(free_port()),
        "PYTHONUNBUFFERED": "1",
    }
    settings = [f"{name}={value}" for name, value in environment.items()]

    def words(name: str) -> list[str]:
        text = block(name).replace("/var/lib/lockstep", str(place / "lockstep")).replace("make setup", "true")
        return ["env", "-C", str(ROOT), *settings, *SHELL, text]

    return words


def test_an_own_instance_lives_as_written(host: Callable[[str], list[str]], place: Path) -> None:
    made = run(host("instance-init"))
    assert made.code == 0, made.all
    output = place / "output"
    with output.open("wb") as file, subprocess.Popen(host("instance-serve"), stdout=file, stderr=file) as server:
        try:
            until(lambda: "lockstep: ready" in output.read_text(), "the server's readiness", 300)
            examined = run(host("instance-doctor"))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)
            destroyed = run(host("instance-destroy"))
    assert examined.code == 0, examined.all
    assert server.returncode == 0, output.read_text()
    assert destroyed.code == 0, destroyed.all
    assert (place / "lockstep" / "lockstep.toml").exists()
