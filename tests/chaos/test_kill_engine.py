"""The engine dies under a deploy, or with the whole machine, and everything comes back to exactly one release.

On a Docker engine of the test's own, in a network namespace of its own; the server is an ordinary one beside it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from scripts.driver import Done, Instance, Work, until
from tests.chaos.conftest import change, chaos_instance
from tests.chaos.observer import Docker, current_release, store_of, unsettled
from tests.chaos.own_engine import OwnEngine

pytestmark = pytest.mark.engine

APP = "power"
PROCESSES = {"web": 1, "plodder": 1}
BACK = 90.0  # seconds for engine, Swarm and reconciler to have all run again
CLONE_NEWNET = 0x40000000
NEEDED = ("dockerd", "containerd", "nsenter", "unshare", "ip", "iptables")

Answer = TypeVar("Answer")


class NetworkedEngine(OwnEngine):
    """An engine with bridges and Swarm, in a network namespace that outlives it as a machine's would."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._network: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for stale in (self.folder / "pid", self.folder / "exec" / "containerd" / "containerd.pid"):
            stale.unlink(missing_ok=True)
        await asyncio.to_thread(self._launch)
        await self._until_it_answers()

    def in_network(self, work: Callable[[], Answer]) -> Answer:
        """Do `work` in a thread that is inside the engine's network."""
        found: list[Answer] = []

        def inside() -> None:
            with Path(self._namespace).open() as namespace:
                assert ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) == 0
            found.append(work())

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        return found[0]

    def take_images(self) -> None:
        """The stack's images from the machine's engine. Builds here need `run`: it stands in for the large ones."""
        names = subprocess.run(
            ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=lockstep/*"],
            stdout=subprocess.PIPE, text=True, check=True,
        ).stdout.split()  # fmt: skip
        small = [name for name in names if name.startswith(("lockstep/run:", "lockstep/platform:"))]
        assert small, "the machine's engine has no base images: run 'make stack' first"
        with subprocess.Popen(["docker", "save", *small], stdout=subprocess.PIPE) as save:
            subprocess.run(["docker", "-H", self.host, "load", "-q"], stdin=save.stdout, check=True)
        for name in set(names) - set(small):
            subprocess.run(["docker", "-H", self.host, "tag", "lockstep/run:latest", name], check=True)

    async def lose_power(self) -> None:
        await super().lose_power()
        if self._network is not None:
            self._network.kill()
            self._network.wait()
            self._network = None

    @property
    def _namespace(self) -> str:
        assert self._network is not None
        return f"/proc/{self._network.pid}/ns/net"

    def _launch(self) -> None:
        if self._network is None:
            self._network = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up; exec sleep infinity"])
            until(self._is_apart, "a network namespace", 5)
        words = [
            *("nsenter", f"--net={self._namespace}", "dockerd", "--data-root", str(self.folder / "data")),
            *("--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid")),
            *("--host", self.host, "--cgroup-parent", self._group),
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log)

    def _is_apart(self) -> bool:
        assert self._network is not None
        ours, theirs = Path("/proc/self/ns/net").readlink(), Path(self._namespace).readlink()
        return ours != theirs and Path(f"/proc/{self._network.pid}/comm").read_text() == "sleep\n"


@pytest.fixture(scope="module")
def engine() -> Iterator[NetworkedEngine]:
    missing = [name for name in NEEDED if shutil.which(name) is None]
    assert os.geteuid() == 0, "an engine of the test's own needs root: run the chaos tests as root"
    assert not missing, f"an engine of the test's own needs {', '.join(missing)}: install docker.io and iproute2"
    engine = NetworkedEngine(Path(tempfile.mkdtemp(prefix="lockstep-chaos-")))
    asyncio.run(engine.start())
    try:
        engine.take_images()
        yield engine
    finally:
        asyncio.run(engine.remove())


@pytest.fixture(scope="module")
def instance(engine: NetworkedEngine) -> Iterator[Instance]:
    with chaos_instance(LOCKSTEP_ENGINE=engine.host) as instance:
        yield instance


@pytest.fixture(scope="module")
def live(instance: Instance, work: Work) -> Work:
    done = instance.push(work, APP)
    assert done.code == 0, done.err
    return work


def until_back(instance: Instance, engine: NetworkedEngine) -> None:
    docker = Docker(engine.host)
    until(lambda: unsettled(instance, APP, PROCESSES, docker) == [], "one whole release", BACK)
    until(lambda: engine.in_network(lambda: answers(instance)), "an answer of web", BACK)


def answers(instance: Instance) -> bool:
    try:
        return instance.get(APP)[0] == 200
    except OSError:
        return False


def push_until(instance: Instance, work: Work, state: str, then: Callable[[], None]) -> Done:
    """Push a change; `then` when its deploy is in `state`. How the push ended."""
    ended: list[Done] = []
    change(work)
    push = threading.Thread(target=lambda: ended.append(instance.push(work, APP, timeout=120)))
    push.start()
    until(lambda: state_of_last(instance) == state, f"the state {state}", 60)
    then()
    push.join()
    return ended[0]


def state_of_last(instance: Instance) -> str:
    with store_of(instance) as store:
        (state,) = store.execute("select state from deploys order by id desc limit 1").fetchone()
    return str(state)


def test_all_runs_again_after_the_engine_was_killed(
    instance: Instance, engine: NetworkedEngine, live: Work, tmp_path: Path
) -> None:
    out = tmp_path / "followed"
    words = [*instance.ssh_words(), "paas@127.0.0.1", "--", "logs", APP, "-f", "-n", "0", "-p", "plodder"]
    with out.open("wb") as file, subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file) as follower:
        asyncio.run(engine.end(signal.SIGKILL))
        asyncio.run(engine.start())
        until_back(instance, engine)
        until(lambda: '"event": "start"' in out.read_text(), "the new worker's line at who follows", BACK)
        follower.kill()
    told = out.read_text()
    assert told.index("the docker engine does not answer") < told.index("the docker engine answers again after")
    kept = instance.ssh("logs", APP, "-n", "10000", "-p", "plodder").out.splitlines()
    starts = [line.split("]: ")[1] for line in kept if '"event": "start"' in line]
    assert len(starts) == len(set(starts)) >= 2


def test_apps_serve_after_a_power_cut_without_the_server(
    instance: Instance, engine: NetworkedEngine, live: Work
) -> None:
    instance.stop(signal.SIGKILL)
    asyncio.run(engine.lose_power())
    asyncio.run(engine.start())
    until(lambda: engine.in_network(lambda: answers(instance)), "an answer of web, with no server running", BACK)
    assert instance.pid is None
    instance.start()
    until_back(instance, engine)


@pytest.mark.parametrize("state", ["stage", "start"])
def test_an_engine_killed_under_a_deploy_leaves_one_release(
    instance: Instance, engine: NetworkedEngine, live: Work, state: str
) -> None:
    old = current_release(instance, APP)
    done = push_until(instance, live, state, lambda: asyncio.run(engine.end(signal.SIGKILL)))
    asyncio.run(engine.start())
    until(lambda: state_of_last(instance) in ("failed", "live"), "the end of the deploy", BACK)
    until_back(instance, engine)
    assert (state_of_last(instance) == "live") is (done.code == 0) is (current_release(instance, APP) != old)
    assert instance.push(live, APP, "--force").code == 0
    until_back(instance, engine)


@pytest.mark.parametrize("state", ["stage", "start"])
def test_a_power_cut_in_a_deploy_leaves_one_release(
    instance: Instance, engine: NetworkedEngine, live: Work, state: str
) -> None:
    old = current_release(instance, APP)

    def cut() -> None:
        instance.stop(signal.SIGKILL)
        asyncio.run(engine.lose_power())

    assert push_until(instance, live, state, cut).code != 0
    asyncio.run(engine.start())
    instance.start()
    until_back(instance, engine)
    assert (state_of_last(instance) == "live") is (current_release(instance, APP) != old)
    assert instance.push(live, APP, "--force").code == 0
    until_back(instance, engine)
