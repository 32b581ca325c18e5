"""How long a command takes on a warm server with many apps: from a new channel on an open connection to its exit.

The handshake is left out, since it is the client's and the network's for the most part (bench.receive has it). The
floor is `version`, which asks nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncssh

from builder.model import Stack
from gitreceive.commands import Commands
from gitreceive.commands.desk import Operations
from gitreceive.keyring import StoreKeyRing, add_key
from gitreceive.push import Pushes
from gitreceive.server import start_server
from gitreceive.wiring import open_parts
from runtime.apps import Apps
from runtime.deployer import Deployer
from runtime.logs import AppLogs
from runtime.model import AppSpec, Dialect, Image, Process, ProcessKind, Release, Role
from runtime.runs.keeper import Runs
from runtime.secrets import make_key
from runtime.settings import FILE_NAME, load_settings
from runtime.store import Transaction, prepare_store

ROOT: Final = Path(__file__).resolve().parent.parent
TARGET: Final = 0.030  # seconds, for the median of `apps`
DEADLINE: Final = 30.0  # seconds until the server must answer
COMMANDS: Final = ("version", "apps", "apps -o json", "apps:info app7", "config app7", "releases app7", "help")


async def serve(home: Path, apps: int) -> None:
    """The child process: the front door on a real store, without base images, router and scheduler."""
    settings = load_settings(home)
    async with open_parts(settings) as parts:
        add_key(parts, "bench", (home / "key.pub").read_text(), Role.ADMIN)
        with parts.store.write() as tx:
            for number in range(apps):
                add_app(tx, f"app{number}")
        deployer = Deployer(parts)
        operations = Apps(parts, deployer)
        pushes = Pushes(parts, deployer, operations, Stack(run="run", build="build", static="static"))
        commands = Commands(Operations(parts, deployer, operations, AppLogs(parts), pushes, Runs(parts)))
        ring, key = StoreKeyRing(parts.store), settings.host_key
        server = await start_server("127.0.0.1", 0, key, ring, pushes, commands, settings.run / "hook", ROOT / "hooks")
        (home / "port.new").write_text(str(server.port))
        (home / "port.new").rename(home / "port")
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
        await server.close(1.0)


def add_app(tx: Transaction, app: str) -> None:
    """An app with a live release and some config."""
    now = datetime.now(UTC)
    processes = (
        Process(name="web", kind=ProcessKind.WEB, port=5000),
        Process(name="mailer", kind=ProcessKind.WORKER, command="python mail.py"),
    )
    config = {f"KEY{number}": "value" for number in range(10)}
    release = Release(
        app=app,
        number=1,
        commit="1a2b3c4d" * 5,
        image=Image(id="sha256:" + "a" * 64, languages=("python 3.11",)),
        spec=AppSpec(dialect=Dialect.PAAS, processes=processes),
        config=config,
        created_at=now,
        created_by="bench",
        description="push of 1a2b3c4",
    )
    tx.apps.create(app, now)
    tx.apps.replace_config(app, config, "bench", now, "config:set")
    tx.releases.add(release)
    tx.releases.mark_live(app, 1, now)
    tx.apps.set_current(app, 1)


async def measure(home: Path, rounds: int) -> dict[str, list[float]]:
    """Command -> seconds of each round, over one connection."""
    port = int((home / "port").read_text())
    found: dict[str, list[float]] = {command: [] for command in COMMANDS}
    key = str(home / "key")
    async with asyncssh.connect(
        "127.0.0.1", port, username="paas", client_keys=[key], known_hosts=None, config=None
    ) as connection:
        for number in range(rounds + 3):  # the first ones warm it up
            for command in COMMANDS:
                start = time.perf_counter()
                done = await connection.run(command, encoding=None)
                seconds = time.perf_counter() - start
                if done.exit_status:
                    raise RuntimeError(f"{command} ended with {done.exit_status}: {done.stderr!r}")
                if number >= 3:
                    found[command].append(seconds)
    return found


def report(found: dict[str, list[float]]) -> bool:
    """Print the table; whether the target is met."""
    floor = statistics.median(found["version"])
    print(f"{'':20} {'median':>9} {'95 %':>9} {'x version':>10}")
    for command, seconds in found.items():
        median, worst = statistics.median(seconds), sorted(seconds)[int(len(seconds) * 0.95)]
        print(f"{command:20} {median * 1000:>6.1f} ms {worst * 1000:>6.1f} ms {median / floor:>9.1f}x")
    return statistics.median(found["apps"]) <= TARGET


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--apps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.serve, given.apps))
        return 0
    with tempfile.TemporaryDirectory(prefix="ls-bench-") as folder:
        met = bench_in(Path(folder), given.apps, given.rounds or (10 if given.quick else 50))
    print(f"`apps` of {given.apps} apps takes {'at most' if met else 'MORE THAN'} {TARGET * 1000:g} ms")
    return 0 if met else 1


def bench_in(home: Path, apps: int, rounds: int) -> bool:
    quiet = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / "key"))
    subprocess.run(quiet, check=True)
    (home / FILE_NAME).write_text("")
    settings = load_settings(home)
    make_key(settings.secret_key)
    prepare_store(settings.database)
    words = (sys.executable, "-m", "bench.commands", "--serve", str(home), "--apps", str(apps))
    server = subprocess.Popen(words, cwd=ROOT, env=os.environ)
    try:
        until_listening(home, server)
        return report(asyncio.run(measure(home, rounds)))
    finally:
        server.terminate()
        server.wait()


def until_listening(home: Path, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not (home / "port").exists():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the server did not start")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
