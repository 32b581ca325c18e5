"""An engine of the test's own with bridges and Swarm: what it takes to lose a swarm, or the whole machine."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from scripts.driver import until
from tests.chaos.own_engine import OwnEngine

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
            with Path(self.namespace).open() as namespace:
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
    def namespace(self) -> str:
        assert self._network is not None
        return f"/proc/{self._network.pid}/ns/net"

    def _launch(self) -> None:
        if self._network is None:
            self._network = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up; exec sleep infinity"])
            until(self._is_apart, "a network namespace", 5)
        words = [
            *("nsenter", f"--net={self.namespace}", "dockerd", "--data-root", str(self.folder / "data")),
            *("--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid")),
            *("--host", self.host, "--cgroup-parent", self._group),
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log)

    def _is_apart(self) -> bool:
        assert self._network is not None
        ours, theirs = Path("/proc/self/ns/net").readlink(), Path(self.namespace).readlink()
        return ours != theirs and Path(f"/proc/{self._network.pid}/comm").read_text() == "sleep\n"


@contextmanager
def networked_engine() -> Iterator[NetworkedEngine]:
    """It knows the base images; gone at the end, whatever the test did to it."""
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
