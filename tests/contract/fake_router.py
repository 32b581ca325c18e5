"""Caddy in memory, behind the runtime's own `Router`: its admin API, and the questions of health checks."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, Final

from runtime.engine.fleet import Fleet
from runtime.errors import RouterError
from runtime.names import Handle
from runtime.router import ADMIN_DEADLINE, Answer, Router
from runtime.routes import CONFIG
from runtime.settings import Settings
from runtime.switchboard import Switchboard, Target
from tests.contract.fates import Fates
from tests.contract.world import World

ROUTES: Final = "/config/apps/http/servers/apps/routes/"
SERVES: Final = "http.server"  # a container whose line has this word answers on every port, / with 200, others with 404

Json = Any


class Caddy:
    """The router's process: it outlives the servers that talk to it, and starts with the config it finds."""

    def __init__(self, world: World, container: str) -> None:
        self._world = world
        self._container = container
        self._process: asyncio.Task[None] | None = None
        self.config: Json = {}

    def wake(self, settings: Settings) -> bool:
        """Whether it runs; one that was started anew has read its config."""
        container = self._world.container(self._container)
        if container is None or not container.running or not self._world.up:
            return False
        if container.process is not self._process:
            self._process = container.process
            self.config = json.loads((settings.router_run / CONFIG).read_text())
        return True

    def answer(self, method: str, path: str, body: Json) -> tuple[int, Json]:
        if path == "/reverse_proxy/upstreams":
            return 200, []
        if path.startswith("/id/"):
            return self._by_id(method, path.removeprefix("/id/"), body)
        if method == "POST" and path == "/load":
            self.config = json.loads(json.dumps(body))
            return 200, None
        if method == "GET" and path == "/config/":
            return 200, json.loads(json.dumps(self.config))
        if method == "GET" and path == "/config/admin":
            return 200, self.config["admin"]
        if method == "PUT" and path.startswith(ROUTES):
            self.routes.insert(int(path.removeprefix(ROUTES)), json.loads(json.dumps(body)))
            return 200, None
        raise AssertionError(f"the fake router does not know {method} {path}")

    @property
    def routes(self) -> list[Json]:
        found: list[Json] = self.config["apps"]["http"]["servers"]["apps"]["routes"]
        return found

    def _by_id(self, method: str, name: str, body: Json) -> tuple[int, Json]:
        place = next((index for index, item in enumerate(self.routes) if item.get("@id") == name), None)
        if place is None:
            return 404, {"error": f"unknown object ID '{name}'"}
        if method == "GET":
            return 200, json.loads(json.dumps(self.routes[place]))
        if method == "PATCH":
            self.routes[place] = json.loads(json.dumps(body))
        else:
            assert method == "DELETE", method
            del self.routes[place]
        return 200, None


class WatchedBoard(Switchboard):
    """The links on disk, with what may befall each change."""

    def __init__(self, settings: Settings, world: World, fates: Fates) -> None:
        super().__init__(settings.router_run)
        self._world = world
        self._fates = fates

    def point(self, app: str, target: Target) -> bool:
        def act() -> bool:
            moved = super(WatchedBoard, self).point(Handle(app), target)
            self._world.changed(f"requests for {app} go to {target.name}")
            return moved

        return self._fates.at_once(f"point {app} to {target.name}", act, OSError("refused"))

    def forget(self, app: str) -> bool:
        def act() -> bool:
            gone = super(WatchedBoard, self).forget(Handle(app))
            self._world.changed(f"requests for {app} go nowhere")
            return gone

        return self._fates.at_once(f"forget {app}", act, OSError("refused"))


class FakeRouter(Router):
    def __init__(self, fleet: Fleet, settings: Settings, caddy: Caddy, world: World, fates: Fates) -> None:
        super().__init__(fleet, settings)
        self._board = WatchedBoard(settings, world, fates)
        self._caddy = caddy
        self._world = world
        self._fates = fates

    async def ask(self, address: str, port: int, host: str, path: str | None, deadline: float) -> Answer:
        await asyncio.sleep(0)
        container = self._world.at(address)
        if container is None or container.script is None or SERVES not in container.script.line:
            return Answer(None)
        return Answer(200 if path in (None, "/") else 404)

    async def _admin(self, method: str, path: str, body: Json = None) -> tuple[int, Json]:
        async def act() -> tuple[int, Json]:
            if not self._caddy.wake(self._settings):
                raise RouterError("the router does not answer on its admin socket (connection refused)")
            status, answer = self._caddy.answer(method, path, body)
            if method != "GET":
                self._world.changed(f"router: {method} {path}")
            return status, answer

        lost = RouterError("the router does not answer on its admin socket (time is up)")
        try:
            return await self._fates.around(f"router {method} {path}", act, lost, ADMIN_DEADLINE)
        except TimeoutError:
            raise lost from None


def hosts_in(config: Json, app: str) -> list[str] | None:
    """The host names that the config has for an app."""
    routes = config.get("apps", {}).get("http", {}).get("servers", {}).get("apps", {}).get("routes", [])
    found = next((item for item in routes if item.get("@id") == f"app-{app}"), None)
    return None if found is None else list(found["match"][0]["host"])


def release_of(service: str) -> int:
    """The release in the name of a service."""
    match = re.search(r"-v([0-9]+)(?:-[0-9a-f]{8})?$", service)
    assert match is not None, service
    return int(match[1])
