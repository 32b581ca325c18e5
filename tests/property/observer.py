"""Looks at store, router and engine after every change, and notes each moment that the design forbids."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from runtime import names
from runtime.names import Handle
from runtime.switchboard import Switchboard
from tests.contract.fake_router import Caddy, hosts_in, release_of
from tests.contract.swarm import Swarm
from tests.contract.world import World


@dataclass(frozen=True)
class Active:
    """Which releases of an app are active at a moment, by what makes them so."""

    router: int | None  # new requests go to it
    workers: frozenset[int]  # a worker of it runs
    cron: int | None  # a cron run may start from it

    @property
    def releases(self) -> set[int]:
        return {*self.workers, *({self.router, self.cron} - {None})}  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"router {self.router}, workers {sorted(self.workers)}, cron {self.cron}"


class Observer:
    """`wrong` holds what was seen and must not be; `story` the last changes, for whoever has to understand it."""

    def __init__(self, world: World, swarm: Swarm, caddy: Caddy, folder: Path, board: Switchboard) -> None:
        self._world = world
        self._swarm = swarm
        self._caddy = caddy
        self._board = board
        self._database = sqlite3.connect(folder / "lockstep.db", isolation_level=None)
        self.wrong: list[str] = []
        self.story: list[str] = []
        world.watchers.append(self.look)

    def close(self) -> None:
        self._database.close()

    def look(self, what: str) -> None:
        self.story.append(what)
        for app in self.apps():
            active = self.active(app)
            if len(active.releases) > 1:
                self.wrong.append(f"two releases of {app} are active after '{what}': {active}")

    def apps(self) -> list[str]:
        return [row[0] for row in self._database.execute("SELECT name FROM apps ORDER BY name")]

    def active(self, app: str) -> Active:
        query = "SELECT current_release, held_by FROM apps WHERE name = ?"
        current, held_by = self._database.execute(query, (app,)).fetchone()
        target = self._board.target(Handle(app))
        routed = None if target is None or hosts_in(self._caddy.config, app) is None else release_of(target.service)
        return Active(routed, self.running(app, names.WORKER), current if held_by is None else None)

    def running(self, app: str, kind: str) -> frozenset[int]:
        """The releases that a process of this kind runs of."""
        return frozenset(
            int(container.labels[names.RELEASE])
            for container in self._world.containers.values()
            if container.running and container.labels.get(names.APP) == app and container.labels.get(names.KIND) == kind
        )
