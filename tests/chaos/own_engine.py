"""A Docker engine of the test's own, in a network namespace of its own, that may be killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from builder.stack import ensure_stack
from runtime.engine.client import Engine
from runtime.errors import EngineError

WORDS = ("--bridge=none", "--iptables=false", "--ip6tables=false")


class OwnEngine:
    """dockerd with its folders under `folder`; it knows the image that apps run on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = f"unix://{folder}/docker.sock"
        self._group = f"/lockstep-{folder.name}"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for stale in (self.folder / "pid", self.folder / "exec" / "containerd" / "containerd.pid"):
            stale.unlink(missing_ok=True)  # where nothing reaps zombies, a dead process passes for a living one
        words = [
            *("unshare", "--net", "dockerd", "--data-root", str(self.folder / "data")),
            *("--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid")),
            *("--host", self.host, "--cgroup-parent", self._group, *WORDS),
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.to_thread(subprocess.Popen, words, stdout=log, stderr=log)
        await self._until_it_answers()

    async def end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        await asyncio.to_thread(self._process.wait)

    async def lose_power(self) -> None:
        """The engine and its containers end in the same moment, and nobody writes down how."""
        await self.end(signal.SIGKILL)
        for pid in self._shims():
            for child in (*_children(pid), pid):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        self._unmount(self.folder / "exec")  # what is below /run does not outlive a machine
        shutil.rmtree(self.folder / "exec")

    async def load_image(self) -> None:
        async with Engine() as there, Engine(self.host) as here:
            name = (await ensure_stack(there, lambda _: None)).run
            async with there.request("GET", f"/images/{name}/get", streaming=True) as image:
                async for _ in here.lines("POST", "/images/load", data=image.content.iter_any()):
                    pass
            await here.post(f"/images/{name}/tag", repo="lockstep/run", tag="latest")

    async def remove(self) -> None:
        """End it and all that it ran, in whatever state a test left it."""
        with suppress(EngineError):
            async with Engine(self.host) as engine:
                for container in await engine.get("/containers/json", all=True):
                    await engine.delete(f"/containers/{container['Id']}", force=True)
        await self.end(signal.SIGTERM)
        await self.lose_power()
        self._unmount(self.folder)
        shutil.rmtree(self.folder)
        self._remove_groups()

    async def _until_it_answers(self) -> None:
        for _ in range(300):
            with suppress(EngineError):
                async with Engine(self.host):
                    return
            await asyncio.sleep(0.1)
        raise AssertionError(f"dockerd does not answer: {(self.folder / 'log').read_text()[-2000:]}")

    def _unmount(self, folder: Path) -> None:
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for path in sorted((path for path in mounted if path.startswith(f"{folder}/")), reverse=True):
            subprocess.run(["umount", "--lazy", path], check=True)

    def _remove_groups(self) -> None:
        for group in Path("/sys/fs/cgroup").glob(f"*{self._group}"):
            for path in sorted(group.rglob("*/"), reverse=True):
                path.rmdir()
            group.rmdir()

    def _shims(self) -> list[int]:
        found = subprocess.run(["pgrep", "-f", f"containerd-shim.*{self.folder}/"], stdout=subprocess.PIPE, check=False)
        return [int(pid) for pid in found.stdout.split()]


def _children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], stdout=subprocess.PIPE, check=False)
    return [int(child) for child in found.stdout.split()]
