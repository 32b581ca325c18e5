"""People's keys, and the record of who did what."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from runtime.model import Key, Role
from runtime.store import schema
from runtime.store.rows import Rows

KEY = schema.keys.c
EVENT = schema.events.c


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
                added_at=key.added_at,
            )
        )

    def remove(self, name: str) -> int:
        return self._change(delete(schema.keys).where(KEY.name == name))

    def used(self, fingerprint: str, now: datetime) -> None:
        self._change(update(schema.keys).where(KEY.fingerprint == fingerprint).values(used_at=now))


class Events(Rows):
    def add(
        self, *, who: str, action: str, result: str, now: datetime, app: str | None = None, detail: str = ""
    ) -> None:
        """One thing that was tried: when, by whom, on what, with what result ("ok" or the error's sentence)."""
        self._change(
            insert(schema.events).values(at=now, who=who, app=app, action=action, detail=detail, result=result)
        )

    def of(self, app: str | None, *, limit: int = 50) -> list[Row[Any]]:
        query = select(schema.events).order_by(EVENT.id.desc()).limit(limit)
        return self._all(query if app is None else query.where(EVENT.app == app))


def _key(row: Row[Any]) -> Key:
    return Key(
        name=row.name,
        public=row.public,
        fingerprint=row.fingerprint,
        role=Role(row.role),
        apps=tuple(json.loads(row.apps)),
        added_at=row.added_at,
    )
