"""What one instance does with the engine: services, tasks, containers, networks, volumes.

Every call is idempotent: making what is there and removing what is gone both succeed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from runtime import names
from runtime.engine.client import Engine
from runtime.engine.events import Events
from runtime.engine.logs import LogLine, Relay
from runtime.engine.specs import Spec, content_hash, differs, stamped
from runtime.engine.swarm import NEW_SWARM, Swarm, SwarmState, swarm_in
from runtime.engine.tasks import COMING, Service, Task, service_in, task_in
from runtime.errors import Conflict, DeadlinePassed, EngineError, NotFound, SwarmLost
from runtime.names import Handle
from runtime.waiting import see_through, ticks

IN_ONE_ALREADY: Final = "already part of a swarm"  # what the engine says to whoever comes second
LATE_ATTACHMENT: Final = "attaching to network failed"  # what it says when Swarm gave no address in 20 s
SWARM_DEADLINE: Final = 30.0  # seconds for the engine's swarm to come up or to go
NETWORK_DEADLINE: Final = 30.0  # seconds for an overlay network to lose its last endpoint
STOP_SLACK: Final = 20.0  # seconds beyond the grace for a container to be gone
LOG_SLACK: Final = 5.0  # seconds beyond the end of a container for the rest of its log
TELL_AGAIN: Final = 2.0  # seconds after which Swarm is told again what it has not done
OF_SERVICE: Final = "com.docker.swarm.service.id"  # Swarm's label of the containers it makes


class Fleet:
    """The engine objects of one instance."""

    def __init__(self, engine: Engine, events: Events, instance: str) -> None:
        self.engine = engine
        self.events = events
        self.instance = instance

    # ---- swarm ---------------------------------------------------------------------------------------------

    async def swarm(self) -> Swarm:
        """The engine's swarm, once it has come up or failed to; still COMING when it does neither."""

        async def settled() -> Swarm | None:
            found = swarm_in(await self.engine.get("/info"))
            return None if found.state is SwarmState.COMING else found

        try:
            return await self.events.until("the start of the engine's swarm", SWARM_DEADLINE, settled)
        except DeadlinePassed:
            return Swarm(SwarmState.COMING)

    async def ensure_swarm(self) -> bool:
        """Make the engine a Swarm manager of one node; True when it was not one before.

        Another instance may do so at the same moment: there is one swarm in the end, and both are in it.
        """
        if (await self.swarm()).state is SwarmState.WELL:
            return False
        try:
            await self.engine.post("/swarm/init", NEW_SWARM)
        except EngineError as error:
            if IN_ONE_ALREADY not in str(error):
                raise
            await self.events.until("the swarm that another instance makes", SWARM_DEADLINE, self._is_well)
            return False
        return True

    async def _is_well(self) -> bool | None:
        return True if (await self.swarm()).state is SwarmState.WELL else None

    async def leave_swarm(self) -> None:
        """Give up the swarm, with every service that it has, and see it gone."""
        await self.engine.post("/swarm/leave", force=True)

        async def left() -> bool | None:
            return True if (await self.swarm()).state is SwarmState.NONE else None

        await self.events.until("the end of the engine's swarm", SWARM_DEADLINE, left)

    async def strays(self) -> list[dict[str, Any]]:
        """Containers of services that the engine does not have: its swarm was lost and they were not."""
        known: set[str] = set()
        with suppress(SwarmLost):
            known = {service.id for service in await self.services()}
        found = await self.containers()
        return [item for item in found if item["Labels"].get(OF_SERVICE, "") not in {"", *known}]

    # ---- networks and volumes ----------------------------------------------------------------------------

    async def ensure_network(self, spec: Spec) -> str:
        """The network that `spec` describes, by name."""
        with suppress(Conflict):
            try:
                await self.engine.get(f"/networks/{spec['Name']}")
            except NotFound:
                await self.engine.post("/networks/create", spec)
        return str(spec["Name"])

    async def attach(self, container: str, network: str, aliases: tuple[str, ...] = ()) -> bool:
        """Give a plain container an address on `network`; False when it has one. Asked twice of a busy Swarm."""
        body = {"Container": container, "EndpointConfig": {"Aliases": list(aliases)}}
        if network in (await self.engine.get(f"/containers/{container}/json"))["NetworkSettings"]["Networks"]:
            return False
        try:
            await self.engine.post(f"/networks/{network}/connect", body)
        except EngineError as error:
            if LATE_ATTACHMENT not in str(error):
                raise
            await self.engine.post(f"/networks/{network}/connect", body)
        return True

    async def detach(self, container: str, network: str) -> None:
        """Take a plain container off `network`; nothing happens when it is not on it."""
        with suppress(NotFound):
            found = await self.engine.get(f"/containers/{container}/json")
            if network in found["NetworkSettings"]["Networks"]:
                body = {"Container": container, "Force": True}
                await self.engine.post(f"/networks/{network}/disconnect", body)

    async def remove_network(self, network: str) -> None:
        async def removed() -> bool | None:
            try:
                await self.engine.delete(f"/networks/{network}")
                await self.engine.get(f"/networks/{network}")  # Swarm answers before it is done
            except NotFound:
                return True
            except EngineError:
                return None  # endpoints of containers that just ended are still being taken away
            return None

        await self.events.until(f"the removal of network {network}", NETWORK_DEADLINE, removed)

    async def ensure_volume(self, name: str, labels: dict[str, str]) -> None:
        await self.engine.post("/volumes/create", {"Name": name, "Labels": labels})  # gives the one that is there

    async def has(self, path: str) -> bool:
        """Whether the engine has the object at this path."""
        try:
            await self.engine.get(path)
        except NotFound:
            return False
        return True

    # ---- services and their tasks ------------------------------------------------------------------------

    async def services(self, app: Handle | None = None) -> list[Service]:
        found = await self.engine.get("/services", filters={"label": self._labels(app)})
        return [service_in(item) for item in found]

    async def ensure_service(self, spec: Spec) -> Service:
        """Make the service, or have the one of that name be what `spec` says."""
        with suppress(Conflict):
            await self.engine.post("/services/create", stamped(spec))
        service = await self.service(spec["Name"])
        if differs(service.spec, spec):
            await self.engine.post(f"/services/{service.id}/update", stamped(spec), version=service.version)
        else:
            await self.scale(service, int(spec["Mode"]["Replicated"]["Replicas"]))
        return service

    async def service(self, name: str) -> Service:
        return service_in(await self.engine.get(f"/services/{name}"))

    async def scale(self, service: Service, replicas: int) -> None:
        """Set the number of replicas; retried when Swarm changed the service in between."""
        current = service
        while current.replicas != replicas:
            spec = {**current.spec, "Mode": {"Replicated": {"Replicas": replicas}}}
            try:
                await self.engine.post(f"/services/{current.id}/update", spec, version=current.version)
            except EngineError as error:
                if "out of sequence" not in str(error):
                    raise
            current = await self.service(current.id)

    async def remove_service(self, service: Service) -> None:
        with suppress(NotFound):
            await self.engine.delete(f"/services/{service.id}")

    async def tasks(self, service: Service) -> list[Task]:
        """Newest first."""
        found = await self.engine.get("/tasks", filters={"service": [service.id]})
        network = service.spec["TaskTemplate"].get("Networks", [{}])[0].get("Target", "")
        found.sort(key=lambda item: item["CreatedAt"], reverse=True)
        return [task_in(item, network) for item in found]

    async def stop(self, services: list[Service]) -> None:
        """Scale to nothing and return when no container of these services runs or can still start.

        Each gets SIGTERM, its grace, SIGKILL. Swarm waits two seconds before it signals a task (swarmkit's gossip
        delay), so the containers are stopped here as soon as Swarm no longer wants them, which also keeps it from
        starting them again. Raises DeadlinePassed when they outlive their grace.
        """
        if not services:
            return
        for service in services:
            await self.scale(await self.service(service.id), 0)
        who = ", ".join(sorted(service.name for service in services))
        await self._until_let_go(services, who)
        graces = {service.id: service.grace for service in services}
        told: set[str] = set()

        async def gone() -> bool | None:
            while fresh := [item for item in await self._containers_of(services) if item["Id"] not in told]:
                told.update(item["Id"] for item in fresh)
                await asyncio.gather(
                    *(self.stop_container(item["Id"], graces[item["Labels"][OF_SERVICE]]) for item in fresh)
                )
            tasks = [task for service in services for task in await self.tasks(service)]
            coming = any(task.state in COMING for task in tasks)
            return None if coming or await self._containers_of(services) else True

        await self.events.until(f"the end of {who}", max(graces.values()) + STOP_SLACK, gone)

    async def _until_let_go(self, services: list[Service], who: str) -> None:
        """Swarm wants no task of these. It misses a change that comes while it makes a task (seen with Docker
        20.10: 1 of 0 replicas, for ever), and is told again."""
        told = ticks()

        async def unwanted() -> bool | None:
            nonlocal told
            holding = [
                service for service in services if any(task.wanted == "running" for task in await self.tasks(service))
            ]
            if holding and ticks() - told >= TELL_AGAIN:
                told = ticks()
                for service in holding:
                    current = await self.service(service.id)
                    await self.engine.post(f"/services/{current.id}/update", current.spec, version=current.version)
            return None if holding else True

        await self.events.until(f"Swarm to let go of {who}", STOP_SLACK, unwanted)

    async def stop_container(self, container: str, grace: float) -> None:
        with suppress(NotFound, TimeoutError):  # who asked for it looks whether it is gone
            async with (
                asyncio.timeout(grace + STOP_SLACK),
                self.engine.request("POST", f"/containers/{container}/stop", {"t": int(grace)}, streaming=True),
            ):
                pass

    async def _containers_of(self, services: list[Service]) -> list[dict[str, Any]]:
        """Those that run. One that was made and not started stays so for ever when Swarm calls its task off."""
        owned = {service.id for service in services}
        filters = {"label": self._labels(None), "status": ["running", "paused", "restarting", "removing"]}
        found = await self.engine.get("/containers/json", all=True, filters=filters)
        return [item for item in found if item["Labels"].get(OF_SERVICE) in owned]

    # ---- containers --------------------------------------------------------------------------------------

    async def containers(self, app: Handle | None = None, **marks: str) -> list[dict[str, Any]]:
        """Containers in any state with all these labels, e.g. `kind="cron"`."""
        wanted = [f"lockstep.{name}={value}" for name, value in marks.items()]
        filters = {"label": [*self._labels(app), *wanted]}
        found: list[dict[str, Any]] = await self.engine.get("/containers/json", all=True, filters=filters)
        return found

    async def create_container(self, name: str, spec: Spec) -> str:
        """The id of the container of that name, made if it is not there."""
        try:
            return str((await self.engine.post("/containers/create", spec, name=name))["Id"])
        except Conflict:
            return str((await self.engine.get(f"/containers/{name}/json"))["Id"])

    async def ensure_container(self, name: str, spec: Spec) -> str:
        """A long-lived container of ours, running, made from exactly this spec; its id.

        One that was made from another spec, or that can not be started for a network that is gone, is replaced;
        networks attached since are lost with it.
        """
        content = content_hash(spec)
        spec = {**spec, "Labels": {**spec["Labels"], names.CONTENT: content}}
        try:
            found = await self.engine.get(f"/containers/{name}/json")
        except NotFound:
            found = None
        if found is not None:
            fits = found["Config"]["Labels"].get(names.CONTENT) == content
            if fits and await self._starts(found):
                return str(found["Id"])
            await self.remove_container(found["Id"])
        container = await self.create_container(name, spec)
        await self.engine.post(f"/containers/{container}/start")  # 304 when it runs
        return container

    async def _starts(self, found: dict[str, Any]) -> bool:
        """False when it never will again: a network that it is to be on was lost with its swarm."""
        try:
            await self.engine.post(f"/containers/{found['Id']}/start")
        except EngineError:
            if not await self._lost_a_network(found):
                raise
            return False
        return True

    async def _lost_a_network(self, found: dict[str, Any]) -> bool:
        if (await self.swarm()).state is SwarmState.COMING:
            return False  # its networks are not known yet
        for name, endpoint in found["NetworkSettings"]["Networks"].items():
            try:
                await self.engine.get(f"/networks/{endpoint.get('NetworkID') or name}")
            except NotFound:
                return True
        return False

    async def remove_container(self, container: str) -> None:
        with suppress(NotFound, Conflict):  # Conflict: its removal is under way
            await self.engine.delete(f"/containers/{container}", force=True, v=True)

    async def run_once(
        self, name: str, spec: Spec, *, timeout: float, grace: float, on_line: Callable[[LogLine], None]
    ) -> int | None:
        """Run a container to its end, tell each line it writes, remove it; its exit code, None when it timed out.

        Of a log that can not be told whole in time the last lines are told in any case.
        After `timeout` seconds it gets SIGTERM, after `grace` more SIGKILL.
        """
        container = await self.create_container(name, spec)
        try:
            await self.engine.post(f"/containers/{container}/start")
            relay = Relay(self.engine, container, on_line)
            try:
                code = await self._end_of(container, timeout, grace)
                await relay.finish(LOG_SLACK)
                return code
            finally:
                await relay.leave()  # when it is left early: the container still writes
        finally:
            await see_through(self.remove_container(container))

    async def _end_of(self, container: str, timeout: float, grace: float) -> int | None:
        try:
            async with asyncio.timeout(timeout):
                return await self.exit_code(container)
        except TimeoutError:
            await self.engine.post(f"/containers/{container}/stop", t=int(grace))
            return None

    async def exit_code(self, container: str) -> int:
        """Wait for the container's end."""
        async with self.engine.request("POST", f"/containers/{container}/wait", streaming=True) as response:
            return int((await response.json(content_type=None))["StatusCode"])

    def _labels(self, app: Handle | None) -> list[str]:
        wanted = [f"{names.INSTANCE}={self.instance}"]
        return wanted if app is None else [*wanted, f"{names.APP}={app}"]
