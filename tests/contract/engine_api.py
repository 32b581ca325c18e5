"""The requests of Docker's API that the runtime makes, answered from a `World` as Docker 20.10 was seen to answer."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Final

from tests.contract.swarm import Service, Swarm, service_json, task_json
from tests.contract.world import Container, Json, Network, World


class Refusal(Exception):
    """An answer of 400 and above."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Answer:
    """As much of aiohttp's response as the client uses."""

    def __init__(self, body: Any = None, stream: AsyncIterator[bytes] | None = None) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.content = self
        self._body = b"" if body is None else json.dumps(body).encode()
        self._stream = stream

    async def read(self) -> bytes:
        return self._body

    async def json(self, content_type: str | None = None) -> Any:
        return json.loads(self._body) if self._body else None

    async def iter_any(self) -> AsyncGenerator[bytes, None]:
        if self._stream is None:
            yield self._body
            return
        async for chunk in self._stream:
            yield chunk


class Call:
    """One request, as its handler sees it."""

    def __init__(self, params: dict[str, str], body: Any) -> None:
        self.params = params
        self.body: Json = body or {}
        self.filters: dict[str, list[str]] = json.loads(params.get("filters", "{}"))

    def wants(self, labels: dict[str, str]) -> bool:
        wanted = self.filters.get("label", [])
        return all(self._matches(labels, item) for item in wanted)

    def _matches(self, labels: dict[str, str], item: str) -> bool:
        name, equals, value = item.partition("=")
        return name in labels and (not equals or labels[name] == value)


class Api:
    """Answers requests."""

    def __init__(self, world: World, swarm: Swarm) -> None:
        self.world = world
        self.swarm = swarm

    async def answer(self, method: str, path: str, call: Call) -> Answer:
        """Raises Refusal."""
        for pattern, handler in ROUTES.items():
            verb, _, place = pattern.partition(" ")
            match = re.fullmatch(place, path)
            if verb == method and match is not None:
                answer = await handler(self, call, *match.groups())
                return answer if isinstance(answer, Answer) else Answer(answer)
        raise AssertionError(f"the fake engine does not know {method} {path}")

    # ---- what is looked up ---------------------------------------------------------------------------------

    def container_of(self, key: str) -> Container:
        found = self.world.container(key)
        if found is None:
            raise Refusal(404, f"No such container: {key}")
        return found

    def service_of(self, key: str) -> Service:
        found = self.swarm.find(key)
        if found is None:
            raise Refusal(404, f"service {key} not found")
        return found

    def network_of(self, key: str) -> Network:
        found = self.world.network(key)
        if found is None:
            raise Refusal(404, f"network {key} not found")
        return found

    def image_of(self, key: str) -> str:
        for image, tags in self.world.images.items():
            if key == image or key in tags or f"{key}:latest" in tags:
                return image
        raise Refusal(404, f"No such image: {key}")


# ---- the engine and its images -----------------------------------------------------------------------------------


async def info(api: Api, call: Call) -> Any:
    active = api.world.swarm_active
    return {
        "Swarm": {"LocalNodeState": "active" if active else "inactive", "ControlAvailable": active},
        "ServerVersion": "fake",
        "ContainersRunning": sum(container.running for container in api.world.containers.values()),
        "DockerRootDir": "/",
    }


async def swarm_init(api: Api, call: Call) -> Any:
    api.world.swarm_active = True
    return "node"


async def tag_image(api: Api, call: Call, key: str) -> None:
    api.world.images[api.image_of(key)].add(f"{call.params['repo']}:{call.params['tag']}")
    api.world.changed(f"image tagged {call.params['repo']}:{call.params['tag']}")


async def list_images(api: Api, call: Call) -> Any:
    wanted = call.filters.get("reference", [])
    found = [
        {"Id": image, "RepoTags": sorted(tags), "Labels": {}}
        for image, tags in api.world.images.items()
        if not wanted or any(tag.startswith(f"{reference}:") for tag in tags for reference in wanted)
    ]
    return [] if "label" in call.filters else found


async def get_image(api: Api, call: Call, key: str) -> Any:
    image = api.image_of(key)
    return {"Id": image, "RepoTags": sorted(api.world.images[image]), "Config": {}}


async def remove_image(api: Api, call: Call, key: str) -> Any:
    image = api.image_of(key)
    tags = api.world.images[image]
    in_use = any(container.spec.get("Image") == image for container in api.world.containers.values())
    if key in tags and (len(tags) > 1 or not in_use):
        tags.remove(key)
    elif in_use:
        raise Refusal(409, f"conflict: unable to delete {key}: image is being used by running container")
    if not tags:
        del api.world.images[image]
    api.world.changed(f"image {key} removed")
    return [{"Untagged": key}]


# ---- networks and volumes ----------------------------------------------------------------------------------------


async def get_network(api: Api, call: Call, key: str) -> Any:
    network = api.network_of(key)
    return {**network.spec, "Id": network.id, "Containers": {member: {} for member in network.members}}


async def list_networks(api: Api, call: Call) -> Any:
    found = [network for network in api.world.networks.values() if call.wants(network.spec.get("Labels") or {})]
    return [{"Labels": {}, **network.spec, "Id": network.id} for network in found]


async def create_network(api: Api, call: Call) -> Any:
    name = call.body["Name"]
    if name in api.world.networks:
        raise Refusal(409, f"network with name {name} already exists")
    api.world.networks[name] = made = Network(api.world.new_id()[:25], call.body)
    api.world.tell("network", "create", {}, made.id)
    api.world.changed(f"network {name} created")
    return {"Id": made.id, "Warning": ""}


async def remove_network(api: Api, call: Call, key: str) -> None:
    network = api.network_of(key)
    name = network.spec["Name"]
    users = [
        service.name
        for service in api.swarm.services.values()
        for target in service.spec["TaskTemplate"].get("Networks") or []
        if target["Target"] in (name, network.id)
    ]
    if users:
        raise Refusal(
            400, f"rpc error: code = FailedPrecondition desc = network {name} is in use by service {users[0]}"
        )
    if network.members:
        raise Refusal(403, f"error while removing network: network {name} id {network.id} has active endpoints")
    del api.world.networks[name]
    api.world.tell("network", "destroy", {}, network.id)
    api.world.changed(f"network {name} removed")


async def connect(api: Api, call: Call, key: str) -> None:
    network, container = api.network_of(key), api.container_of(call.body["Container"])
    if network.spec["Name"] in container.networks:
        raise Refusal(403, f"endpoint with name {container.name} already exists in network {network.spec['Name']}")
    api.world.join(container, network.id)
    api.world.changed(f"{container.name} connected to {network.spec['Name']}")


async def disconnect(api: Api, call: Call, key: str) -> None:
    network, container = api.network_of(key), api.container_of(call.body["Container"])
    if network.spec["Name"] in container.networks:
        api.world.leave(container, network.spec["Name"])
        api.world.changed(f"{container.name} disconnected from {network.spec['Name']}")


async def get_volume(api: Api, call: Call, name: str) -> Any:
    if name not in api.world.volumes:
        raise Refusal(404, f"get {name}: no such volume")
    return api.world.volumes[name]


async def list_volumes(api: Api, call: Call) -> Any:
    return {"Volumes": [item for item in api.world.volumes.values() if call.wants(item["Labels"])]}


async def create_volume(api: Api, call: Call) -> Any:
    made = api.world.volumes.setdefault(call.body["Name"], call.body)
    api.world.changed(f"volume {call.body['Name']} created")
    return made


async def remove_volume(api: Api, call: Call, name: str) -> None:
    if api.world.volumes.pop(name, None) is None:
        raise Refusal(404, f"get {name}: no such volume")
    api.world.changed(f"volume {name} removed")


# ---- services ----------------------------------------------------------------------------------------------------


async def list_services(api: Api, call: Call) -> Any:
    services = api.swarm.services.values()
    return [service_json(service) for service in services if call.wants(service.spec.get("Labels") or {})]


async def create_service(api: Api, call: Call) -> Any:
    if api.swarm.find(call.body["Name"]) is not None:
        raise Refusal(
            409, f"rpc error: code = AlreadyExists desc = name conflicts with an existing object: {call.body}"
        )
    for target in call.body["TaskTemplate"].get("Networks") or []:
        api.network_of(target["Target"])
    return {"ID": api.swarm.create(call.body).id}


async def get_service(api: Api, call: Call, key: str) -> Any:
    return service_json(api.service_of(key))


async def update_service(api: Api, call: Call, key: str) -> Any:
    service = api.service_of(key)
    if int(call.params["version"]) != service.version:
        raise Refusal(500, "rpc error: code = Unknown desc = update out of sequence")
    api.swarm.update(service, call.body)
    return {"Warnings": None}


async def remove_service(api: Api, call: Call, key: str) -> None:
    api.swarm.remove(api.service_of(key))


async def list_tasks(api: Api, call: Call) -> Any:
    services = [api.service_of(key) for key in call.filters.get("service", [])]
    return [task_json(task) for service in services for task in service.tasks]


# ---- containers --------------------------------------------------------------------------------------------------


async def list_containers(api: Api, call: Call) -> Any:
    states = call.filters.get("status")
    every = call.params.get("all") == "true"
    return [
        {
            "Id": container.id,
            "Names": [f"/{container.name}"],
            "Image": container.spec.get("Image"),
            "Labels": container.labels,
            "State": container.state,
            "NetworkSettings": {"Networks": {name: {} for name in container.networks}},
        }
        for container in api.world.containers.values()
        if call.wants(container.labels)
        and (states is None or container.state in states)
        and (every or container.running)
    ]


async def create_container(api: Api, call: Call) -> Any:
    name = call.params["name"]
    if api.world.container(name) is not None:
        raise Refusal(409, f'Conflict. The container name "/{name}" is already in use')
    api.image_of(call.body["Image"])
    words = [*(call.body.get("Entrypoint") or []), *(call.body.get("Cmd") or [])]
    made = api.world.make(name, {**call.body, **_mounts(call.body)}, words or ["run"], call.body.get("Labels") or {})
    mode = call.body.get("HostConfig", {}).get("NetworkMode")
    if mode not in (None, "none", "default", "host"):
        if api.world.network(mode) is None:
            raise Refusal(404, f"network {mode} not found")
        api.world.join(made, mode)
    return {"Id": made.id, "Warnings": []}


def _mounts(body: Json) -> Json:
    return {"Mounts": body.get("HostConfig", {}).get("Mounts") or []}


async def get_container(api: Api, call: Call, key: str) -> Any:
    container = api.container_of(key)
    return {
        "Id": container.id,
        "Name": f"/{container.name}",
        "Image": container.spec.get("Image"),
        "Config": {"Labels": container.labels},
        "State": {"Status": container.state, "Running": container.running, "ExitCode": container.exit_code},
        "NetworkSettings": {"Networks": {name: {} for name in container.networks}},
    }


async def start_container(api: Api, call: Call, key: str) -> None:
    container = api.container_of(key)
    if not container.running:
        api.world.start(container)


async def stop_container(api: Api, call: Call, key: str) -> None:
    await api.world.stop(api.container_of(key), float(call.params.get("t", 10)))


async def wait_container(api: Api, call: Call, key: str) -> Any:
    container = api.container_of(key)
    await container.done.wait()
    return {"StatusCode": container.exit_code}


async def remove_container(api: Api, call: Call, key: str) -> None:
    container = api.container_of(key)
    if container.running and call.params.get("force") != "true":
        raise Refusal(409, f"You cannot remove a running container {container.id}. Stop the container before")
    api.world.remove(container)


async def container_logs(api: Api, call: Call, key: str) -> Answer:
    container = api.container_of(key)
    tail, follow = call.params.get("tail", "all"), call.params.get("follow") == "true"

    async def stream() -> AsyncIterator[bytes]:
        sent = 0 if tail == "all" else max(0, len(container.log) - int(tail))
        while True:
            container.grown.clear()
            for moment, text, error in container.log[sent:]:
                line = f"{moment} {text}\n".encode()
                yield bytes([2 if error else 1, 0, 0, 0]) + len(line).to_bytes(4, "big") + line
            sent = len(container.log)
            if not follow or not container.running:
                return
            await container.grown.wait()

    return Answer(stream=stream())


async def events(api: Api, call: Call) -> Answer:
    queue: asyncio.Queue[Json] = asyncio.Queue()

    def hear(event: Json) -> None:
        if call.wants(event["Actor"]["Attributes"]):
            queue.put_nowait(event)

    async def stream() -> AsyncIterator[bytes]:
        api.world.listeners.append(hear)
        try:
            while api.world.up:
                try:
                    async with asyncio.timeout(1.0):
                        event = await queue.get()
                except TimeoutError:
                    continue
                yield json.dumps(event).encode() + b"\n"
        finally:
            api.world.listeners.remove(hear)

    return Answer(stream=stream())


Handler = Callable[..., Awaitable[Any]]
NAME: Final = r"/([A-Za-z0-9_.:/-]+?)"
ROUTES: Final[dict[str, Handler]] = {
    "GET /info": info,
    "POST /swarm/init": swarm_init,
    "GET /events": events,
    "GET /images/json": list_images,
    rf"GET /images{NAME}/json": get_image,
    rf"POST /images{NAME}/tag": tag_image,
    rf"DELETE /images{NAME}": remove_image,
    "GET /networks": list_networks,
    "POST /networks/create": create_network,
    rf"POST /networks{NAME}/connect": connect,
    rf"POST /networks{NAME}/disconnect": disconnect,
    rf"GET /networks{NAME}": get_network,
    rf"DELETE /networks{NAME}": remove_network,
    "GET /volumes": list_volumes,
    "POST /volumes/create": create_volume,
    rf"GET /volumes{NAME}": get_volume,
    rf"DELETE /volumes{NAME}": remove_volume,
    "GET /services": list_services,
    "POST /services/create": create_service,
    rf"POST /services{NAME}/update": update_service,
    rf"GET /services{NAME}": get_service,
    rf"DELETE /services{NAME}": remove_service,
    "GET /tasks": list_tasks,
    "GET /containers/json": list_containers,
    "POST /containers/create": create_container,
    rf"GET /containers{NAME}/json": get_container,
    rf"POST /containers{NAME}/start": start_container,
    rf"POST /containers{NAME}/stop": stop_container,
    rf"POST /containers{NAME}/wait": wait_container,
    rf"GET /containers{NAME}/logs": container_logs,
    rf"DELETE /containers{NAME}": remove_container,
}
