"""What an engine has: images, networks, volumes, containers that run scripts, and who hears of it.

It outlives the clients that talk to it, as a dockerd outlives a server that is killed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.contract.script import KILLED, TERMINATED, Script

Json = dict[str, Any]
BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
RESTART_PAUSE: Final = 0.1  # seconds before a plain container that is to be up is started again


@dataclass
class Network:
    id: str
    spec: Json
    members: dict[str, str] = field(default_factory=dict)  # container id -> address


@dataclass(eq=False)
class Container:
    """A container; `done` is set whenever it does not run."""

    id: str
    name: str
    spec: Json
    words: list[str]
    labels: dict[str, str]
    networks: list[str] = field(default_factory=list)  # names
    state: str = "created"
    exit_code: int = 0
    log: list[tuple[str, str, bool]] = field(default_factory=list)  # moment, line, whether an error
    wanted: bool = False  # whether a restart policy may start it again
    process: asyncio.Task[None] | None = None
    script: Script | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def running(self) -> bool:
        return self.state == "running"


class World:
    """`watchers` are called after every change, to look at all of it."""

    def __init__(self, *, pace: float = 1.0) -> None:
        self.pace = pace  # by which all delays are multiplied
        self.up = True  # whether the engine answers
        self.swarm_active = True
        self.images: dict[str, set[str]] = {}  # id -> tags
        self.networks: dict[str, Network] = {}
        self.volumes: dict[str, Json] = {}
        self.opened: set[str] = set()  # the volumes whose folder a `chmod` has opened
        self.containers: dict[str, Container] = {}
        self.watchers: list[Callable[[str], None]] = []
        self.listeners: list[Callable[[Json], None]] = []
        self.ended: list[Callable[[Container], None]] = []  # told when a container's process is over
        self._count = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    # ---- time, names, news -----------------------------------------------------------------------------------

    def new_id(self) -> str:
        self._count += 1
        return hashlib.sha256(str(self._count).encode()).hexdigest()

    def now(self) -> str:
        """The engine's moment: never the same twice, so that what was made later sorts later."""
        self._count += 1
        moment = BEGIN + timedelta(seconds=asyncio.get_running_loop().time() % 10**7)
        return f"{moment:%Y-%m-%dT%H:%M:%S.%f}{self._count % 1000:03d}Z"

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self.pace)

    async def until_up(self) -> None:
        """Return when the engine answers."""
        while not self.up:
            await self.pause(RESTART_PAUSE)

    def later(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def changed(self, what: str) -> None:
        for watcher in self.watchers:
            watcher(what)

    def tell(self, kind: str, action: str, labels: dict[str, str], id_: str) -> None:
        event = {"Type": kind, "Action": action, "Actor": {"ID": id_, "Attributes": dict(labels)}}
        for listener in list(self.listeners):
            listener(event)

    async def end(self) -> None:
        """Stop everything, for the end of a test."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- networks --------------------------------------------------------------------------------------------

    def network(self, key: str) -> Network | None:
        found = self.networks.get(key)
        return found or next((network for network in self.networks.values() if network.id == key), None)

    def join(self, container: Container, key: str) -> str:
        network = self.network(key)
        assert network is not None
        self._count += 1
        address = f"10.{self._count // 65536 % 256}.{self._count // 256 % 256}.{self._count % 256}"
        network.members[container.id] = address
        if network.spec["Name"] not in container.networks:
            container.networks.append(network.spec["Name"])
        return address

    def leave(self, container: Container, name: str) -> None:
        self.networks[name].members.pop(container.id, None)
        container.networks.remove(name)

    # ---- containers ------------------------------------------------------------------------------------------

    def container(self, key: str) -> Container | None:
        found = self.containers.get(key)
        return found or next((item for item in self.containers.values() if item.name == key), None)

    def at(self, address: str) -> Container | None:
        """The running container with this address."""
        for network in self.networks.values():
            for member, found in network.members.items():
                if found == address and member in self.containers and self.containers[member].running:
                    return self.containers[member]
        return None

    def make(self, name: str, spec: Json, words: list[str], labels: dict[str, str]) -> Container:
        made = Container(self.new_id(), name, spec, words, dict(labels))
        made.done.set()
        self.containers[made.id] = made
        for volume in [item["Source"] for item in spec.get("Mounts") or [] if item["Type"] == "volume"]:
            self.volumes.setdefault(volume, {"Name": volume, "Labels": {}})
        self.changed(f"container {name} made")
        return made

    def start(self, container: Container) -> None:
        container.script = Script(container.words)
        container.state, container.wanted = "running", True
        container.done.clear()
        container.process = self.later(self._live(container, container.script))
        self.tell("container", "start", container.labels, container.id)
        self.changed(f"container {container.name} started")

    async def _live(self, container: Container, script: Script) -> None:
        def tell(text: str, error: bool) -> None:
            container.log.append((self.now(), text, error))
            container.grown.set()

        code = await script.run(tell)
        await asyncio.sleep(0)
        self._end(container, code)

    def kill(self, container: Container, code: int) -> None:
        """End the container's process at once."""
        if not container.running:
            return
        assert container.process is not None
        container.process.cancel()
        self._end(container, code)

    async def stop(self, container: Container, grace: float) -> None:
        """SIGTERM, the grace, SIGKILL; returns when it is over."""
        if not container.running:
            return
        assert container.script is not None
        container.wanted = False
        await self.pause(0.01)
        if container.script.ignores_term:
            try:
                async with asyncio.timeout(grace * self.pace):
                    await container.done.wait()
            except TimeoutError:
                self.kill(container, KILLED)
        else:
            self.kill(container, TERMINATED)

    def _end(self, container: Container, code: int) -> None:
        container.state, container.exit_code = "exited", code
        if container.words[:1] == ["chmod"] and code == 0:
            self.opened |= {item["Source"] for item in container.spec["Mounts"]}
        container.done.set()
        container.grown.set()
        self.tell("container", "die", container.labels, container.id)
        for told in self.ended:
            told(container)
        self.changed(f"container {container.name} ended with {code}")
        policy = container.spec.get("HostConfig", {}).get("RestartPolicy", {}).get("Name")
        if policy == "always" and container.wanted:
            self.later(self._again(container))

    async def _again(self, container: Container) -> None:
        await self.pause(RESTART_PAUSE)
        await self.until_up()
        if container.wanted and container.id in self.containers and not container.running:
            self.start(container)

    def remove(self, container: Container) -> None:
        container.wanted = False
        self.kill(container, KILLED)
        for name in list(container.networks):
            if name in self.networks:
                self.leave(container, name)
        self.containers.pop(container.id, None)
        self.tell("container", "destroy", container.labels, container.id)
        self.changed(f"container {container.name} removed")
