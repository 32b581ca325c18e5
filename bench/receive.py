"""Our SSH listener against OpenSSH's sshd with plain `git receive-pack`: the same pushes, taken in turns.

python -m bench.receive [--quick] [--rounds N]: prints medians and ratios, and exits 1 when a target is
missed or a push fails. Servers listen on 127.0.0.1 only and end with it.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncssh

from gitreceive.model import Lines, Push, RefResult, Streams
from gitreceive.server import start_server
from runtime.model import Key

HOOKS = Path(__file__).resolve().parent.parent / "hooks"
START_DEADLINE = 20.0  # seconds until a server must answer
AT_ONCE = 32


class Yes:
    """A stand-in for everything behind the listener: one key, repositories on demand, every push accepted."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder = folder
        self._key = Key(name="bench", public="", fingerprint=fingerprint, added_at=datetime.now(UTC))

    def find(self, fingerprint: str) -> Key | None:
        return self._key if fingerprint == self._key.fingerprint else None

    def used(self, key: Key) -> None:
        pass

    async def admit(self, operator: Key, app: str, *, write: bool, source: str = "") -> str:
        return str(self._folder / f"{app}.git")

    async def push(self, push: Push, out: Lines) -> tuple[RefResult, ...]:
        return tuple(RefResult(update.ref) for update in push.updates)

    async def run(self, operator: Key, words: tuple[str, ...], streams: Streams) -> int:
        return 0


async def serve(folder: Path) -> None:
    """The child process that is our side; writes its port to a file when it listens."""
    door = Yes(folder / "ours", asyncssh.read_public_key(folder / "key.pub").get_fingerprint())
    server = await start_server("127.0.0.1", 0, folder / "ours_host", door, door, door, folder / "sock", HOOKS)
    (folder / "port.new").write_text(str(server.port))
    (folder / "port.new").rename(folder / "port")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.close(1.0)


@dataclass
class Side:
    """One of the two servers."""

    name: str
    user: str
    port: int
    repositories: Path
    process: subprocess.Popen[bytes]

    def url(self, app: str) -> str:
        path = app if self.name == "ours" else f"{self.repositories}/{app}.git"
        return f"ssh://{self.user}@127.0.0.1:{self.port}/{path.lstrip('/')}"

    def make(self, app: str) -> None:
        run("git", "init", "-q", "--bare", "-b", "main", str(self.repositories / f"{app}.git"))

    def forget(self, app: str) -> None:
        shutil.rmtree(self.repositories / f"{app}.git")


def run(*words: str, **options: str) -> None:
    """Run to success, or raise with what it said."""
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr.strip()}")


def timed(*words: str, **options: str) -> float:
    start = time.perf_counter()
    run(*words, **options)
    return time.perf_counter() - start


# ---- the two sides -------------------------------------------------------------------------------------------------


def start_ours(folder: Path) -> Side:
    process = subprocess.Popen((sys.executable, "-m", "bench.receive", "--serve", str(folder)), cwd=HOOKS.parent)
    until(lambda: (folder / "port").exists(), "our listener")
    return Side("ours", "paas", int((folder / "port").read_text()), folder / "ours", process)


def start_sshd(folder: Path, sshd: str) -> Side:
    port = free_port()
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "sshd_host"))
    shutil.copy(folder / "key.pub", folder / "authorized")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/sshd_host\nAuthorizedKeysFile {folder}/authorized\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        "MaxStartups 200\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen((sshd, "-D", "-e", "-q", "-f", str(folder / "sshd_config")))
    side = Side("sshd", getpass.getuser(), port, folder / "sshd", process)
    until(lambda: subprocess.run(ssh(folder, side), capture_output=True, check=False).returncode == 0, "sshd")
    return side


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_DEADLINE
    while not happened():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not answer within {START_DEADLINE:g} s")
        time.sleep(0.05)


def ssh(folder: Path, side: Side | None = None) -> tuple[str, ...]:
    """The ssh client; with a side, as the round trip that is measured."""
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "LogLevel=ERROR")
    words = ("ssh", "-F", "none", "-i", str(folder / "key"), *(w for o in options for w in ("-o", o)))
    return words if side is None else (*words, "-p", str(side.port), f"{side.user}@127.0.0.1", "true")


# ---- what is pushed ------------------------------------------------------------------------------------------------


def commit(source: Path, message: str) -> None:
    run("git", "-C", str(source), "add", "-A")
    author = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")
    run("git", "-C", str(source), *author, "commit", "-q", "-m", message)


def make_source(source: Path, files: int, size: int) -> None:
    """A repository of `files` files of `size` random bytes, in one commit."""
    run("git", "init", "-q", "-b", "main", str(source))
    for number in range(files):
        path = source / f"d{number // 500}" / f"f{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(size))
    commit(source, "files")
    run("git", "-C", str(source), "repack", "-adq")


class Bench:
    """The folder of one run, its sources and its measures: each takes a side, and returns seconds."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.folder = folder
        self.small, self.big, self.many, self.large = (folder / name for name in ("small", "big", "many", "large"))
        make_source(self.small, 5, 200)
        make_source(self.big, 4, (20 if quick else 200) * 1024 * 1024 // 4)
        make_source(self.many, 2000 if quick else 20_000, 300)
        make_source(self.large, 1, (5 if quick else 50) * 1024 * 1024)
        self._count = 0

    def _push(self, side: Side, source: Path, app: str) -> float:
        command = " ".join(ssh(self.folder))
        return timed("git", "-C", str(source), "-c", f"core.sshCommand={command}", "push", "-q", side.url(app), "main")

    def _fresh(self, side: Side, source: Path) -> float:
        self._count += 1
        app = f"fresh{self._count}"
        side.make(app)
        seconds = self._push(side, source, app)
        run("git", "--git-dir", str(side.repositories / f"{app}.git"), "rev-parse", "-q", "--verify", "main^{tree}")
        side.forget(app)
        return seconds

    def round_trip(self, side: Side) -> float:
        return timed(*ssh(self.folder, side))

    def tiny_push(self, side: Side) -> float:
        if not (side.repositories / "tiny.git").exists():
            side.make("tiny")
            self._push(side, self.small, "tiny")
        (self.small / "README").write_text(str(time.time_ns()))
        commit(self.small, "tiny")
        return self._push(side, self.small, "tiny")

    def big_push(self, side: Side) -> float:
        return self._fresh(side, self.big)

    def many_files(self, side: Side) -> float:
        return self._fresh(side, self.many)

    def large_push(self, side: Side) -> float:
        return self._fresh(side, self.large)

    def at_once(self, side: Side) -> float:
        apps = [f"once{number}" for number in range(AT_ONCE)]
        for app in apps:
            side.make(app)
        start = time.perf_counter()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda app: self._push(side, self.small, app), apps))
        seconds = time.perf_counter() - start
        for app in apps:
            side.forget(app)
        return seconds


# ---- the run -------------------------------------------------------------------------------------------------------


def compare(bench: Bench, ours: Side, floor: Side | None, rounds: int) -> bool:
    """Print the table; whether every target is met."""
    rows: tuple[tuple[str, Callable[[Side], float], float, int], ...] = (
        ("ssh round trip", bench.round_trip, 0.15, rounds * 2),
        ("tiny push", bench.tiny_push, 0.30, rounds * 2),
        ("big push", bench.big_push, 0.75, rounds),
        ("many files", bench.many_files, 1.0, rounds),
        (f"{AT_ONCE} at once", bench.at_once, 1.0, rounds),
    )
    print(f"{'':16} {'sshd':>10} {'ours':>10} {'ratio':>7} {'target':>7}")
    met = [compare_one(name, measure, ours, floor, target, times) for name, measure, target, times in rows]
    return all(met)


def compare_one(
    name: str, measure: Callable[[Side], float], ours: Side, floor: Side | None, target: float, times: int
) -> bool:
    sides = [side for side in (floor, ours) if side is not None]
    seconds: dict[str, list[float]] = {side.name: [] for side in sides}
    for side in sides:
        measure(side)  # warm the caches
    for number in range(times):
        for side in sides if number % 2 else sides[::-1]:
            seconds[side.name].append(measure(side))
    median = {side: statistics.median(values) * 1000 for side, values in seconds.items()}
    if floor is None:
        print(f"{name:16} {'-':>10} {median['ours']:>7.0f} ms")
        return True
    ratio = median["ours"] / median["sshd"]
    print(f"{name:16} {median['sshd']:>7.0f} ms {median['ours']:>7.0f} ms {ratio:>6.2f}x {target:>6.2f}x", flush=True)
    return ratio <= target


def endure(bench: Bench, ours: Side, times: int) -> None:
    """Large pushes one after the other; raises on the first that fails."""
    seconds = [bench.large_push(ours) for _ in range(times)]
    print(f"{times} large pushes: none failed, median {statistics.median(seconds) * 1000:.0f} ms", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small pushes and few rounds")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.serve))
        return 0
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as folder:
        return bench_in(Path(folder), quick=given.quick, rounds=given.rounds or (3 if given.quick else 7))


def bench_in(folder: Path, *, quick: bool, rounds: int) -> int:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key"))
    bench = Bench(folder, quick=quick)
    sides: list[Side] = []
    try:
        sides.append(ours := start_ours(folder))
        sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if sshd is None:
            print("sshd is not installed (apt-get install openssh-server), so there is nothing to compare with.")
        else:
            sides.append(start_sshd(folder, sshd))
        met = compare(bench, ours, sides[1] if len(sides) > 1 else None, rounds)
        endure(bench, ours, 10 if quick else 100)
    finally:
        for side in sides:
            side.process.terminate()
            side.process.wait()
    print("every target is met" if met else "a target is missed")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
