"""The orchestrator of the fake engine: services become tasks, tasks become containers, as Docker 20.10 was seen to do.

Seen, and kept: a task that ends stays in the list with `shutdown` wanted while its successor waits as `ready` for the
restart delay; the node learns only two seconds later that a task is not wanted any more, and may start it until then;
tasks of a removed service can not be asked for (404) while their containers still run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from tests.contract.world import Container, Json, World

STARTING: Final = 0.05  # seconds from a wanted task to its container
GOSSIP: Final = 2.0  # seconds before a task that is not wanted is signalled
HISTORY: Final = 5  # ended tasks of a slot that are remembered
OVER: Final = ("failed", "complete", "shutdown", "rejected")


@dataclass(eq=False)
class Task:
    id: str
    service: Service
    slot: int
    created: str
    since: str
    state: str = "pending"
    wanted: str = "running"
    given_up: bool = False  # the node knows that it is not wanted
    error: str | None = None
    container: Container | None = None
    addresses: list[tuple[str, str, str]] = field(default_factory=list)  # network id, network name, address

    @property
    def live(self) -> bool:
        return self.state not in OVER and self.wanted in ("running", "ready")


@dataclass(eq=False)
class Service:
    id: str
    version: int
    created: str
    spec: Json
    tasks: list[Task] = field(default_factory=list)
    gone: bool = False

    @property
    def name(self) -> str:
        return str(self.spec["Name"])

    @property
    def replicas(self) -> int:
        return int(self.spec["Mode"]["Replicated"]["Replicas"])

    @property
    def grace(self) -> float:
        return float(self.spec["TaskTemplate"]["ContainerSpec"].get("StopGracePeriod", 10e9)) / 1e9


class Swarm:
    """Services of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.services: dict[str, Service] = {}
        self.missed = 0  # updates that will have no effect
        self._of: dict[str, Task] = {}  # container id -> task
        self._version = 10
        world.ended.append(self._container_ended)

    def find(self, key: str) -> Service | None:
        found = self.services.get(key)
        return found or next((service for service in self.services.values() if service.name == key), None)

    def create(self, spec: Json) -> Service:
        made = Service(self.world.new_id()[:25], self._next_version(), self.world.now(), spec)
        self.services[made.id] = made
        self.world.tell("service", "create", spec.get("Labels", {}), made.id)
        self._arrange(made)
        self.world.changed(f"service {made.name} created")
        return made

    def update(self, service: Service, spec: Json) -> None:
        service.spec, service.version = spec, self._next_version()
        if self.missed:
            self.missed -= 1  # seen with Docker 20.10: 1 of 0 replicas, until the service is updated again
        else:
            self._arrange(service)
        self.world.changed(f"service {service.name} updated to {service.replicas}")

    def remove(self, service: Service) -> None:
        del self.services[service.id]
        service.gone = True
        for task in service.tasks:
            self._unwant(task)
        self.world.tell("service", "remove", service.spec.get("Labels", {}), service.id)
        self.world.changed(f"service {service.name} removed")

    # ---- how many run ----------------------------------------------------------------------------------------

    def _arrange(self, service: Service) -> None:
        """Have a live task in each slot up to the replicas, and none in other slots."""
        live = {task.slot: task for task in service.tasks if task.live}
        for slot, task in live.items():
            if slot > service.replicas:
                self._unwant(task)
        for slot in range(1, service.replicas + 1):
            if slot not in live:
                self._begin(service, slot, delay=None)

    def _begin(self, service: Service, slot: int, delay: float | None) -> None:
        now = self.world.now()
        task = Task(self.world.new_id()[:25], service, slot, now, now)
        task.wanted = "running" if delay is None else "ready"
        ended = [old for old in service.tasks if old.slot == slot and old.state in OVER]
        for old in ended[: max(0, len(ended) - HISTORY + 1)]:
            service.tasks.remove(old)
        service.tasks.append(task)
        self.world.later(self._bring_up(task, delay))

    async def _bring_up(self, task: Task, delay: float | None) -> None:
        if delay is not None:
            self._set(task, "ready")
            await self.world.pause(delay)
            if task.wanted != "ready":
                return  # it was never told to start
            task.wanted = "running"
        await self.world.pause(STARTING)
        await self.world.until_up()
        if _is_given_up(task):
            return
        spec = task.service.spec["TaskTemplate"]["ContainerSpec"]
        if not self._has_image(spec["Image"]):
            task.error = f"No such image: {spec['Image']}"
            self._over(task, "rejected")
            return
        container = self._make_container(task, spec)
        self._set(task, "starting")
        await self.world.pause(STARTING)
        if _is_given_up(task):
            return
        if container.id in self.world.containers and self.world.up:
            self._set(task, "running")
            self.world.start(container)
        else:
            task.error = "the engine went down"
            self._over(task, "failed")

    def _make_container(self, task: Task, spec: Json) -> Container:
        service = task.service
        name = f"{service.name}.{task.slot}.{task.id}"
        labels = {
            **(spec.get("Labels") or {}),
            "com.docker.swarm.service.id": service.id,
            "com.docker.swarm.service.name": service.name,
            "com.docker.swarm.task.id": task.id,
            "com.docker.swarm.task.name": name,
        }
        made = self.world.make(name, spec, list(spec.get("Command") or ["run-for-ever"]), labels)
        for target in service.spec["TaskTemplate"].get("Networks") or []:
            network = self.world.network(target["Target"])
            if network is not None:
                task.addresses.append((network.id, network.spec["Name"], self.world.join(made, network.id)))
        task.container, self._of[made.id] = made, task
        return made

    def _has_image(self, reference: str) -> bool:
        return reference in self.world.images or any(reference in tags for tags in self.world.images.values())

    # ---- how tasks end ---------------------------------------------------------------------------------------

    def _container_ended(self, container: Container) -> None:
        task = self._of.get(container.id)
        if task is None:
            return
        if task.wanted == "remove":
            self.world.later(self._clear(task))
            return
        if container.exit_code:
            task.error = f"task: non-zero exit ({container.exit_code})"
        self._over(task, "failed" if container.exit_code else "complete")

    def _over(self, task: Task, state: str) -> None:
        self._set(task, state)
        service = task.service
        if task.wanted == "remove":
            return
        task.wanted = "shutdown"
        if not service.gone and task.slot <= service.replicas:
            delay = float(service.spec["TaskTemplate"].get("RestartPolicy", {}).get("Delay", 5e9)) / 1e9
            self._begin(service, task.slot, delay)

    def _unwant(self, task: Task) -> None:
        if task.state in OVER or task.wanted == "remove":
            return
        task.wanted = "remove"
        self.world.later(self._end(task))

    async def _end(self, task: Task) -> None:
        """Signal the task's container after the gossip delay, and forget the task when it is over."""
        await self.world.pause(GOSSIP)
        await self.world.until_up()
        task.given_up = True
        if task.container is not None and task.container.running:
            await self.world.stop(task.container, task.service.grace)
        await self._clear(task)

    async def _clear(self, task: Task) -> None:
        await self.world.pause(0.02)
        self._set(task, "shutdown")
        if task in task.service.tasks:
            task.service.tasks.remove(task)
        if task.container is not None and task.container.id in self.world.containers:
            self.world.remove(task.container)

    def _set(self, task: Task, state: str) -> None:
        task.state, task.since = state, self.world.now()

    def _next_version(self) -> int:
        self._version += 1
        return self._version

    # ---- the engine's restart --------------------------------------------------------------------------------

    async def restart_engine(self, seconds: float) -> None:
        """dockerd ends with all it runs, is away for a while, and brings back what is wanted."""
        self.world.up = False
        for container in list(self.world.containers.values()):
            self.world.kill(container, 137)
        self.world.changed("the engine went down")
        await self.world.pause(seconds)
        self.world.up = True
        self.world.changed("the engine came up")


def _is_given_up(task: Task) -> bool:
    return task.given_up


def task_json(task: Task) -> dict[str, Any]:
    """A task as GET /tasks has it."""
    container = task.container
    status: dict[str, Any] = {"Timestamp": task.since, "State": task.state, "Message": ""}
    if task.error is not None:
        status["Err"] = task.error
    if container is not None:
        status["ContainerStatus"] = {"ContainerID": container.id, "PID": 1, "ExitCode": container.exit_code}
    found: dict[str, Any] = {
        "ID": task.id,
        "Version": {"Index": 1},
        "CreatedAt": task.created,
        "UpdatedAt": task.since,
        "ServiceID": task.service.id,
        "Slot": task.slot,
        "Status": status,
        "DesiredState": task.wanted,
    }
    if task.addresses:
        found["NetworksAttachments"] = [
            {"Network": {"ID": id_, "Spec": {"Name": name}}, "Addresses": [f"{address}/24"]}
            for id_, name, address in task.addresses
        ]
    return found


def service_json(service: Service) -> dict[str, Any]:
    return {
        "ID": service.id,
        "Version": {"Index": service.version},
        "CreatedAt": service.created,
        "UpdatedAt": service.created,
        "Spec": service.spec,
        "Endpoint": {"Spec": {}},
    }
