"""How apps show themselves: host names, https, maintenance; and which of their processes are stopped."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import delete, insert, select, update

from runtime.face import Face
from runtime.store import schema
from runtime.store.rows import Rows

APP = schema.apps.c
DOMAIN = schema.domains.c
STOP = schema.stops.c
ALL: Final = "*"  # in the place of a process: the whole app


class Faces(Rows):
    def of(self, app: str) -> Face:
        row = self._one(select(APP.maintenance, APP.https_only).where(APP.name == app))
        hosts = self._all(select(DOMAIN.host).where(DOMAIN.app == app).order_by(DOMAIN.host))
        if row is None:
            return Face()
        return Face(tuple(found.host for found in hosts), bool(row.https_only), row.maintenance)

    def all(self) -> dict[str, Face]:
        """Those of all apps by name, in two questions however many there are."""
        hosts: dict[str, list[str]] = {}
        for found in self._all(select(DOMAIN.app, DOMAIN.host).order_by(DOMAIN.host)):
            hosts.setdefault(found.app, []).append(found.host)
        rows = self._all(select(APP.name, APP.maintenance, APP.https_only))
        return {row.name: Face(tuple(hosts.get(row.name, ())), bool(row.https_only), row.maintenance) for row in rows}

    def owner(self, host: str) -> str | None:
        """The app that a host name was added to."""
        row = self._one(select(DOMAIN.app).where(DOMAIN.host == host))
        return None if row is None else str(row.app)

    def add_domain(self, app: str, host: str, who: str, now: datetime) -> None:
        self._change(insert(schema.domains).values(host=host, app=app, added_at=now, added_by=who))

    def remove_domain(self, app: str, host: str) -> None:
        self._change(delete(schema.domains).where(DOMAIN.app == app, DOMAIN.host == host))

    def set_https_only(self, app: str, wanted: bool) -> None:
        self._change(update(schema.apps).where(APP.name == app).values(https_only=int(wanted)))

    def set_maintenance(self, app: str, message: str | None) -> None:
        self._change(update(schema.apps).where(APP.name == app).values(maintenance=message))

    def stopped(self, app: str) -> frozenset[str]:
        """The processes that an operator stopped; ALL among them means every one."""
        return frozenset(row.process for row in self._all(select(STOP.process).where(STOP.app == app)))

    def set_stopped(self, app: str, processes: Iterable[str]) -> None:
        self._change(delete(schema.stops).where(STOP.app == app))
        for process in sorted(processes):
            self._change(insert(schema.stops).values(app=app, process=process))
