"""People's keys, and the record of who did what."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, or_, select, update

from runtime.model import Key, Role, Value
from runtime.store import schema
from runtime.store.rows import Rows

KEY = schema.keys.c
EVENT = schema.events.c


class Event(Value):
    """One thing that was tried."""

    id: int
    at: datetime
    who: str
    app: str | None  # None: it was about the whole instance
    action: str  # the command, or "push"
    detail: str
    result: str  # "ok", or the error's sentence
    source: str  # the address it came from, "" for the server itself


class Keys(Rows):
    def all(self) -> list[Key]:
        return [_key(row) for row in self._all(select(schema.keys).order_by(KEY.name))]

    def find(self, fingerprint: str) -> Key | None:
        row = self._one(select(schema.keys).where(KEY.fingerprint == fingerprint))
        return None if row is None else _key(row)

    def named(self, name: str) -> Key | None:
        row = self._one(select(schema.keys).where(KEY.name == name))
        return None if row is None else _key(row)

    def add(self, key: Key) -> None:
        self._change(
            insert(schema.keys).values(
                name=key.name,
                public=key.public,
                fingerprint=key.fingerprint,
                role=key.role.value,
                apps=json.dumps(key.apps),
                commands=json.dumps(key.commands),
                added_at=key.added_at,
            )
        )

    def remove(self, name: str) -> int:
        return self._change(delete(schema.keys).where(KEY.name == name))

    def rename_app(self, app: str, new: str) -> None:
        """Have keys that are for some apps alone be for `new` in the place of `app`."""
        for key in self.all():
            if app in key.apps:
                apps = [new if name == app else name for name in key.apps]
                self._change(update(schema.keys).where(KEY.name == key.name).values(apps=json.dumps(apps)))

    def used(self, fingerprint: str, now: datetime) -> None:
        self._change(update(schema.keys).where(KEY.fingerprint == fingerprint).values(used_at=now))


class Events(Rows):
    def add(
        self,
        *,
        who: str,
        action: str,
        result: str,
        now: datetime,
        app: str | None = None,
        detail: str = "",
        source: str = "",
    ) -> None:
        """One thing that was tried: when, by whom, from where, on what, with what result ("ok" or a sentence)."""
        row = {"at": now, "who": who, "app": app, "action": action, "detail": detail, "result": result}
        self._change(insert(schema.events).values(**row, source=source))

    def of(
        self,
        app: str | None,
        *,
        among: tuple[str, ...] = (),
        instance: bool = True,
        after: int = 0,
        limit: int | None = 50,
    ) -> list[Event]:
        """Newest first: of one app, or of all, or of those in `among`; without `instance` only what was on an app."""
        query = select(schema.events).where(EVENT.id > after).order_by(EVENT.id.desc()).limit(limit)
        if app is not None:
            query = query.where(EVENT.app == app)
        if among:
            query = query.where(EVENT.app.in_(among))
        if not instance:
            query = query.where(EVENT.app.is_not(None))
        return [Event(**row._mapping) for row in self._all(query)]

    def prune(self, before: datetime, keep: int) -> int:
        """Forget what is older than `before`, and all but the newest `keep`; the number of rows that went."""
        newest = self._one(select(func.max(EVENT.id)))
        last = 0 if newest is None or newest[0] is None else int(newest[0])
        return self._change(delete(schema.events).where(or_(EVENT.at < before, EVENT.id <= last - keep)))


def _key(row: Row[Any]) -> Key:
    return Key(
        name=row.name,
        public=row.public,
        fingerprint=row.fingerprint,
        role=Role(row.role),
        apps=tuple(json.loads(row.apps)),
        commands=tuple(json.loads(row.commands)),
        added_at=row.added_at,
        used_at=row.used_at,
    )
