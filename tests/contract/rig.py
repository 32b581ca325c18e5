"""The same tools for the contract tests whether the engine is the fake or a real one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from runtime import names
from runtime.engine import specs
from runtime.engine.client import Engine
from runtime.engine.events import Events
from runtime.engine.fleet import Fleet
from runtime.engine.specs import Place, Spec
from runtime.engine.tasks import Service, Task
from runtime.model import Image, Process, ProcessKind
from runtime.names import Handle
from runtime.teardown import tear_down
from tests.contract.fake_engine import FakeEngine
from tests.contract.swarm import Swarm
from tests.contract.world import World
from tests.unit.runtime import samples

IMAGE: Final = "lockstep/run:latest"
FAKE_IMAGE: Final = "sha256:" + "f" * 64
PACE: Final = 0.02  # of the fake's delays
FOREVER: Final = "sleep 100000"
DEADLINE: Final = 30.0


@dataclass
class Rig:
    """One instance on one engine, and an overlay network that something is attached to."""

    fleet: Fleet
    image: str
    patience: float  # by which waits for nothing to happen are multiplied

    @property
    def instance(self) -> str:
        return self.fleet.instance

    @property
    def network(self) -> str:
        return names.network(self.instance, Handle("shop"))

    def service(self, line: str | None, *, name: str = "mailer", replicas: int = 1, **changes: Any) -> Spec:
        """The spec of a worker that runs `line`."""
        number = changes.pop("number", 1)
        image = changes.pop("image", self.image)
        process = Process(name=name, kind=ProcessKind.WORKER, command=line, **{"grace": 1.0, **changes})
        release = samples.release(process, number=number, image=Image(id=image, command=("sleep", "100000")))
        return specs.process_service(release, process, Place(self.instance, self.network), replicas=replicas)

    def container(self, *words: str, **labels: str) -> Spec:
        """The spec of a plain container without network."""
        marks = {f"lockstep.{name}": value for name, value in labels.items()}
        return {
            "Image": self.image,
            "Labels": {**names.labels(self.instance, names.ONE_OFF, app=Handle("shop")), **marks},
            "Entrypoint": list(words),
            "Cmd": [],
            "HostConfig": {"Init": True, "NetworkMode": "none"},
        }

    async def until_running(self, service: Service, replicas: int = 1) -> list[Task]:
        async def look() -> list[Task] | None:
            running = [task for task in await self.fleet.tasks(service) if task.running]
            return running if len(running) >= replicas else None

        return await self.fleet.events.until("the start", DEADLINE, look)

    async def until_failed(self, service: Service, times: int = 1) -> list[Task]:
        async def look() -> list[Task] | None:
            failed = [task for task in await self.fleet.tasks(service) if task.failed]
            return failed if len(failed) >= times else None

        return await self.fleet.events.until("the failure", DEADLINE, look)

    async def running(self) -> list[str]:
        """The names of containers of services that run now."""
        found = await self.fleet.engine.get("/containers/json", filters={"label": self.fleet._labels(None)})
        return [item["Names"][0] for item in found if "com.docker.swarm.service.id" in item["Labels"]]


@asynccontextmanager
async def _following(fleet: Fleet) -> AsyncIterator[None]:
    task = asyncio.create_task(fleet.events.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def _furnished(rig: Rig) -> AsyncIterator[Rig]:
    """With the app's network, and an anchor on it as the router is (see ENGINE: a network that its last attachment
    left takes no plain container for a while)."""
    anchor = names.platform(rig.instance, "anchor")
    async with _following(rig.fleet):
        try:
            await rig.fleet.ensure_network(specs.overlay_network(rig.instance, Handle("shop")))
            await rig.fleet.ensure_container(anchor, rig.container("sleep", "100000", kind=names.PLATFORM))
            yield rig
        finally:
            with suppress(asyncio.CancelledError):
                await rig.fleet.detach(anchor, rig.network)
                await tear_down(rig.fleet, lambda _: None)


@asynccontextmanager
async def fake_rig(world: World | None = None) -> AsyncIterator[Rig]:
    world = world or World(pace=PACE)
    world.images[FAKE_IMAGE] = {IMAGE}
    engine = FakeEngine(world, Swarm(world))
    fleet = Fleet(engine, Events(engine, "fake"), "fake")
    try:
        async with _furnished(Rig(fleet, FAKE_IMAGE, PACE)) as rig:
            yield rig
        assert await leftovers(rig) == []
    finally:
        await world.end()


@asynccontextmanager
async def real_rig() -> AsyncIterator[Rig]:
    instance = f"ct{secrets.token_hex(4)}"
    async with Engine() as engine:
        fleet = Fleet(engine, Events(engine, instance), instance)
        await fleet.ensure_swarm()
        image = (await engine.get(f"/images/{IMAGE}/json"))["Id"]
        async with _furnished(Rig(fleet, image, 1.0)) as rig:
            yield rig
        assert await leftovers(rig) == []


async def leftovers(rig: Rig) -> list[str]:
    """What the engine still has of the instance."""
    engine, filters = rig.fleet.engine, {"label": [f"{names.INSTANCE}={rig.instance}"]}
    services = await engine.get("/services", filters=filters)
    containers = await engine.get("/containers/json", all=True, filters=filters)
    networks = await engine.get("/networks", filters=filters)
    volumes = (await engine.get("/volumes", filters=filters))["Volumes"] or []
    return [
        *(item["Spec"]["Name"] for item in services),
        *(item["Names"][0] for item in containers),
        *(item["Name"] for item in (*networks, *volumes)),
    ]
