"""Make this machine able to run Lockstep: Debian packages, a Docker engine, the virtual environment.

Standard library only, because nothing else is there yet. Every step looks first and does nothing
when its result is already there, so a second run takes well under a second.

    python3 scripts/bootstrap.py venv      the virtual environment with pinned, hashed packages
    python3 scripts/bootstrap.py engine    a Docker engine that answers, and mmdebstrap
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "constraints.txt"
DEFAULT_SOCKET = Path("/var/run/docker.sock")
DOCKERD_LOG = Path("/var/log/lockstep-dockerd.log")
ENGINE_DEADLINE = 60.0  # seconds for a freshly started dockerd to answer
MIN_FREE_GIB = 4


class Trouble(Exception):
    """Something this script cannot do; the message is one sentence with the next step."""


def main(words: list[str]) -> int:
    steps = {"venv": ensure_venv, "engine": ensure_engine}
    if not words or any(word not in steps for word in words):
        print(f"usage: bootstrap.py {' | '.join(steps)}", file=sys.stderr)
        return 2
    try:
        for word in words:
            steps[word]()
    except Trouble as trouble:
        print(f"lockstep: {trouble}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        command = " ".join(str(part) for part in error.cmd)
        print(f"lockstep: '{command}' failed with exit code {error.returncode}: see the lines above", file=sys.stderr)
        return 1
    return 0


def ensure_venv() -> None:
    """Create `.venv` and install exactly what `constraints.txt` pins, then the project itself."""
    stamp = VENV / ".lockstep-stamp"
    wanted = hashlib.sha256(CONSTRAINTS.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if sys.version_info < (3, 11):
        raise Trouble(f"python 3.11 or newer is needed and this is {sys.version.split()[0]}: install python3.11")
    install_missing({"git": "git", "ssh": "openssh-client"})
    if importlib.util.find_spec("ensurepip") is None:
        apt_install(["python3-venv"])
    say("python packages")
    if not (VENV / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
    subprocess.run([*pip, "--require-hashes", "-r", str(CONSTRAINTS)], check=True)
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)], check=True)
    stamp.write_text(wanted)


def ensure_engine() -> None:
    """Leave with a Docker engine that answers; install and start Debian's when none does."""
    host = os.environ.get("DOCKER_HOST", f"unix://{DEFAULT_SOCKET}")
    if not engine_answers(host):
        start_engine(host)
    if os.geteuid() == 0 and shutil.which("apt-get"):
        install_missing({"mmdebstrap": "mmdebstrap"})
    free = shutil.disk_usage("/var/lib").free / 2**30
    if free < MIN_FREE_GIB:
        raise Trouble(f"only {free:.1f} GiB are free under /var/lib and {MIN_FREE_GIB} are needed: free some space")


def start_engine(host: str) -> None:
    if host != f"unix://{DEFAULT_SOCKET}":
        raise Trouble(f"no docker engine answers at DOCKER_HOST={host}: start it, or unset DOCKER_HOST")
    if os.geteuid() != 0:
        raise Trouble(f"no docker engine answers at {DEFAULT_SOCKET}: run this as root, or set DOCKER_HOST")
    install_missing({"dockerd": "docker.io"})
    say("starting the docker engine")
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "start", "docker"], check=True)
    else:
        with DOCKERD_LOG.open("ab") as log:
            subprocess.Popen(
                ["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
            )
    deadline = time.monotonic() + ENGINE_DEADLINE
    while not engine_answers(host):
        if time.monotonic() > deadline:
            raise Trouble(f"dockerd did not answer within {ENGINE_DEADLINE:.0f} s: see {DOCKERD_LOG}")
        time.sleep(0.1)


def engine_answers(host: str) -> bool:
    """Whether GET /_ping at `host` (unix:// or tcp://) answers 200."""
    try:
        if host.startswith("unix://"):
            connection = http.client.HTTPConnection("localhost", timeout=5)
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(5)
            connection.sock.connect(host.removeprefix("unix://"))
        else:
            connection = http.client.HTTPConnection(host.removeprefix("tcp://"), timeout=5)
        connection.request("GET", "/_ping")
        return connection.getresponse().status == 200
    except OSError:
        return False


def install_missing(packages: dict[str, str]) -> None:
    """Install the Debian package of each command that is not on the PATH."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [package for command, package in packages.items() if shutil.which(command, path=path) is None]
    if missing:
        apt_install(missing)


def apt_install(packages: list[str]) -> None:
    names = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise Trouble(f"{names} is missing and this machine has no apt-get: install it by hand")
    if os.geteuid() != 0:
        raise Trouble(f"{names} is missing and only root can install it: run 'apt-get install {names}' as root")
    say(f"installing {names} from Debian's packages")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", "-qq", *words], check=True, stdout=subprocess.DEVNULL, env=environment)


def say(text: str) -> None:
    print(f"-----> {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
