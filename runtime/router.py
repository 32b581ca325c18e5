"""The running router: Caddy in a container, changed through its admin socket, asked through its probe socket.

Its config and its links are a projection of the store: `Router.load` puts both in place where they differ,
`Router.point` moves one app. A deploy moves the app's link alone (runtime.switchboard); the config changes when
apps or host names come and go.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from runtime import names
from runtime.engine.fleet import Fleet
from runtime.errors import EngineError, RouterError
from runtime.names import Handle
from runtime.routes import (
    AUTHORITY,
    CONFIG,
    DIAL,
    NOBODY,
    UNREACHED,
    Json,
    Route,
    apps_in,
    configuration,
    container,
    route,
    route_id,
    same_config,
    tls_of,
    with_route,
)
from runtime.settings import Settings
from runtime.switchboard import Switchboard, Target

READY_DEADLINE: Final = 30.0  # seconds for a started router to answer
ADMIN_DEADLINE: Final = 15.0  # seconds for one change
VISIT_DEADLINE: Final = 10.0  # seconds that an app is given to answer a visitor

Plan = tuple[tuple[Route, ...], frozenset[Handle]]  # the routes there should be, and the apps that are left as they are


@dataclass(frozen=True)
class Answer:
    """What one question to one replica gave; `status` is None when no answer came."""

    status: int | None
    body: str = ""
    late: bool = False  # it was asked and had not answered when the time was up

    def healthy(self, path: str | None) -> bool:
        """Without a path any answer shows that it listens; with one, 2xx and 3xx do."""
        if self.status is None:
            return False
        return path is None or 200 <= self.status < 400


class Router:
    """The running router. Raises RouterError when it does not take a change."""

    def __init__(self, fleet: Fleet, settings: Settings) -> None:
        self._fleet = fleet
        self._settings = settings
        self.container = names.platform(settings.instance, "router")
        self._board = Switchboard(settings.router_run)
        self._changing = asyncio.Lock()
        self._tls = tls_of(settings)

    async def ensure(self, image: str) -> None:
        """Have the router's container run and answer."""
        if not (self._settings.router_run / CONFIG).exists():
            self._keep(configuration((), tls=self._tls))
        try:
            await self._fleet.ensure_container(self.container, container(self._settings, image))
        except EngineError as error:
            if "port is already allocated" in str(error) or "address already in use" in str(error):
                ports = {"http_port": self._settings.http_port, "https_port": self._settings.https_port}
                taken = ", ".join(f"{port} ({name})" for name, port in ports.items() if port is not None)
                raise RouterError(f"a port is taken, of {taken}: stop what listens there, or set another") from error
            raise
        await self._fleet.events.until("the router's first answer", READY_DEADLINE, self._answers)

    async def reach(self, network: str) -> bool:
        """Attach the router to an app's network; False when it is."""
        return await self._fleet.attach(self.container, network)

    async def leave(self, network: str) -> None:
        await self._fleet.detach(self.container, network)

    async def config(self) -> Json:
        return (await self._admin("GET", "/config/"))[1]

    async def load(self, plan: Callable[[], Plan]) -> list[tuple[Handle | None, str]]:
        """Make config and links what the store says, and nothing else; (app, phrase) of what was not so.

        `plan` is asked when nothing else changes the router, so that no deploy is overtaken.
        """
        async with self._changing:
            config = await self.config()
            routes, left_alone = plan()
            found = self._link_all(routes, left_alone)
            others = tuple(item for item in apps_in(config) if item["@id"] in map(route_id, left_alone))
            wanted = configuration(routes, others, self._tls)
            if not same_config(config, wanted):
                await self._change("POST", "/load", wanted, "its config")
                found += [(None, "loaded the router's config")]
            self._keep(wanted)
            self._board.tidy()
        return found

    async def point(self, target: Route) -> bool:
        """Send an app's requests to another service, or close it, at once; requests under way finish where they are.

        False when they went there before.
        """
        wanted, name = route(target), f"the route of {target.app}"
        async with self._changing:
            routed = await self._route_of(target.app)
            moved = self._link(target)
            if routed == wanted:
                return moved
            if self._tls is not None:  # the hosts are part of what certificates are asked for
                await self._change(
                    "POST", "/load", with_route(await self.config(), target.app, target, self._tls), name
                )
            elif routed is None:
                await self._change("PUT", "/config/apps/http/servers/apps/routes/0", wanted, name)
            else:
                await self._change("PATCH", f"/id/{route_id(target.app)}", wanted, name)
            self._keep(await self.config())
        return True

    async def forget(self, app: Handle) -> bool:
        """Take an app's route away; False when it has none."""
        async with self._changing:
            routed = await self._route_of(app) is not None
            if routed and self._tls is not None:
                less = with_route(await self.config(), app, None, self._tls)
                await self._change("POST", "/load", less, f"to drop the route of {app}")
            elif routed:
                await self._change("DELETE", f"/id/{route_id(app)}", None, f"to drop the route of {app}")
            if routed:
                self._keep(await self.config())
            return self._board.forget(app) or routed

    async def target(self, app: Handle) -> Target | None:
        """Where the app's requests go; None when nowhere."""
        return None if await self._route_of(app) is None else self._board.target(app)

    async def under_way(self, addresses: tuple[str, ...]) -> int:
        """Requests that the router has sent to the replicas at these addresses and that have not ended."""
        status, answer = await self._admin("GET", "/reverse_proxy/upstreams")
        if status >= 400:
            raise RouterError(f"the router does not say what is under way: {answer}")
        return sum(item["num_requests"] for item in answer or () if item["address"].rpartition(":")[0] in addresses)

    async def ask(self, address: str, port: int, host: str, path: str | None, deadline: float) -> Answer:
        """One request to one replica, from the router's side of the app's network, with the app's host name."""
        headers = {"Host": host, DIAL: f"{address}:{port}", "X-Forwarded-Proto": "http"}
        timeout = aiohttp.ClientTimeout(total=deadline)
        try:
            async with (
                aiohttp.ClientSession(connector=_socket(self._settings.router_run / "probe.sock")) as session,
                session.get(
                    f"http://probe{path or '/'}", headers=headers, timeout=timeout, allow_redirects=False
                ) as response,
            ):
                if UNREACHED in response.headers:
                    return Answer(None)
                return Answer(response.status, (await response.content.read(400)).decode(errors="replace"))
        except TimeoutError:
            return Answer(None, late=True)
        except (aiohttp.ClientError, OSError):
            return Answer(None)

    async def authority(self) -> str:
        """The certificate of the router's own authority, as PEM."""
        status, answer = await self._admin("GET", f"/pki/ca/{AUTHORITY}")
        if status >= 400:
            raise RouterError(f"the router does not show its authority: {answer}")
        return str(answer["root_certificate"])

    async def answers_for(self, host: str) -> bool:
        """Whether visitors who ask for this host name get to an app, by their own way in: the published port."""
        at = "127.0.0.1" if self._settings.http_host == "0.0.0.0" else self._settings.http_host  # noqa: S104
        timeout = aiohttp.ClientTimeout(total=VISIT_DEADLINE)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(
                    f"http://{at}:{self._settings.http_port}/", headers={"Host": host}, allow_redirects=False
                ) as response,
            ):
                return response.status != 404 or await response.content.read(200) != NOBODY["body"].encode()
        except aiohttp.ClientError as error:
            raise RouterError(f"the router does not answer on port {self._settings.http_port} ({error})") from None
        except TimeoutError:
            return True  # an app that takes its time: the router's own answer comes at once

    def _link_all(self, routes: tuple[Route, ...], left_alone: frozenset[Handle]) -> list[tuple[Handle | None, str]]:
        found: list[tuple[Handle | None, str]] = []
        for target in routes:
            if self._link(target):
                where = "its closed page" if target.closed is not None else target.service
                found.append((target.app, f"pointed {target.app} to {where}"))
        for app in set(self._board.apps()) - {target.app for target in routes} - left_alone:
            self._board.forget(app)
            found.append((app, f"took away the link of {app}"))
        return found

    def _link(self, target: Route) -> bool:
        """A closed app has no link: a connection that a browser opened ahead is answered like all others."""
        try:
            wanted = target.target
            return self._board.forget(target.app) if wanted is None else self._board.point(target.app, wanted)
        except OSError as error:
            raise RouterError(f"the link of {target.app} can not be written: {error}") from error

    def _keep(self, config: Json) -> None:
        """Have a router that starts without us begin with this config."""
        file = self._settings.router_run / CONFIG
        text = json.dumps(config)
        if file.exists() and file.read_text() == text:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        new.write_text(text)
        new.replace(file)

    async def _route_of(self, app: Handle) -> Json | None:
        status, answer = await self._admin("GET", f"/id/{route_id(app)}")
        return answer if status < 400 else None

    async def _change(self, method: str, path: str, body: Json, what: str) -> None:
        status, answer = await self._admin(method, path, body)
        if status >= 400:
            raise RouterError(f"the router refused {what}: {answer}")

    async def _answers(self) -> bool | None:
        try:
            await self._admin("GET", "/config/admin")
        except RouterError:
            return None
        return True

    async def _admin(self, method: str, path: str, body: Json = None) -> tuple[int, Json]:
        timeout = aiohttp.ClientTimeout(total=ADMIN_DEADLINE)
        try:
            async with (
                aiohttp.ClientSession(connector=_socket(self._settings.router_run / "admin.sock")) as session,
                session.request(method, f"http://localhost{path}", json=body, timeout=timeout) as response,
            ):
                text = await response.text()
                return response.status, json.loads(text) if text.strip() else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise RouterError(f"the router does not answer on its admin socket ({error or 'time is up'})") from None


def _socket(path: Path) -> aiohttp.UnixConnector:
    return aiohttp.UnixConnector(str(path))
