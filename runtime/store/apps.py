"""Apps, their config values and the row that says which release runs."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import chain, count
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from runtime.errors import NoSuchApp
from runtime.layer import Layer
from runtime.model import App, Value
from runtime.names import Handle
from runtime.secrets import Vault
from runtime.store import schema
from runtime.store.rows import Rows

APP = schema.apps.c
CONFIG = schema.config.c
CHANGE = schema.config_changes.c
CHANGES_KEPT = 500  # changes of one app's config that are remembered


class ConfigChange(Value):
    """One change of an app's config values, by name; the values are nowhere but in the config."""

    at: datetime
    who: str
    what: str  # "config:set A B", "rollback to v3"
    names: dict[str, str]  # name -> "set", "changed" or "unset"


class Apps(Rows):
    def __init__(self, connection: Connection, vault: Vault) -> None:
        super().__init__(connection)
        self._vault = vault

    def all(self) -> list[App]:
        return [_app(row) for row in self._all(select(schema.apps).order_by(APP.name))]

    def find(self, name: str) -> App | None:
        row = self._one(select(schema.apps).where(APP.name == name))
        return None if row is None else _app(row)

    def get(self, name: str) -> App:
        """Raises NoSuchApp."""
        app = self.find(name)
        if app is None:
            raise NoSuchApp(f"there is no app '{name[:60]}': 'apps' lists those there are")
        return app

    def handle(self, name: str) -> Handle:
        """The handle of an app; of one that is not there, the one it would have had."""
        app = self.find(name)
        return Handle(name) if app is None else app.handle

    def name_of(self, handle: Handle) -> str | None:
        """The app of that handle."""
        row = self._one(select(APP.name).where(func.coalesce(APP.handle, APP.name) == handle))
        return None if row is None else str(row.name)

    def create(self, name: str, now: datetime) -> App:
        """The app's handle is its name, or its name with a number when an app was made by that name and renamed."""
        taken = {app.handle for app in self.all()}
        free = next(handle for handle in chain([name], (f"{name}-{n}" for n in count(2))) if handle not in taken)
        self._change(insert(schema.apps).values(name=name, created_at=now, handle=None if free == name else free))
        return self.get(name)

    def rename(self, name: str, new: str) -> None:
        """Have all rows say `new`; the handle stays, and `moved_from` tells that the folders are to follow."""
        self._connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")  # until the transaction ends
        kept = func.nullif(func.coalesce(APP.handle, APP.name), new)
        self._change(update(schema.apps).where(APP.name == name).values(name=new, handle=kept, moved_from=name))
        made_as = func.nullif(func.coalesce(schema.releases.c.made_as, name), new)
        self._change(update(schema.releases).where(schema.releases.c.app == name).values(made_as=made_as))
        for table in schema.metadata.sorted_tables:
            if "app" in table.c:
                self._change(update(table).where(table.c.app == name).values(app=new))

    def moving(self) -> dict[str, str]:
        """The name of each app whose folders may still have another -> that one."""
        rows = self._all(select(APP.name, APP.moved_from).where(APP.moved_from.is_not(None)))
        return {row.name: row.moved_from for row in rows}

    def moved(self, name: str) -> None:
        """Its folders have its name."""
        self._change(update(schema.apps).where(APP.name == name).values(moved_from=None))

    def remove(self, name: str) -> None:
        self._change(update(schema.apps).where(APP.name == name).values(current_release=None))
        self._change(delete(schema.apps).where(APP.name == name))

    def set_branch(self, name: str, branch: str) -> None:
        self._change(update(schema.apps).where(APP.name == name).values(branch=branch))

    def set_current(self, name: str, release: int | None) -> None:
        """The commit point."""
        self._change(update(schema.apps).where(APP.name == name).values(current_release=release))

    def hold(self, name: str, deploy: int | None) -> None:
        """Keep new cron runs of the app from starting while `deploy` cuts over; None lets them start again."""
        self._change(update(schema.apps).where(APP.name == name).values(held_by=deploy))

    def let_go(self, name: str, deploy: int) -> None:
        """Let cron runs of the app start again, if it is this deploy that keeps them from it."""
        self._change(update(schema.apps).where(APP.name == name, APP.held_by == deploy).values(held_by=None))

    def held_by(self, name: str) -> int | None:
        row = self._one(select(APP.held_by).where(APP.name == name))
        return None if row is None else row[0]

    def redis_password(self, name: str) -> str | None:
        row = self._one(select(APP.redis_password).where(APP.name == name))
        return None if row is None or row[0] is None else self._vault.open(row[0])

    def redis_users(self) -> dict[Handle, str]:
        """Who is to be let in to the shared Redis, with the password of each."""
        rows = self._all(select(APP.name, APP.handle, APP.redis_password).where(APP.redis_password.is_not(None)))
        return {Handle(row.handle or row.name): self._vault.open(row.redis_password) for row in rows}

    def set_redis_password(self, name: str, password: str) -> None:
        sealed = self._vault.seal(password)
        self._change(update(schema.apps).where(APP.name == name).values(redis_password=sealed))

    def scale(self, name: str) -> dict[str, int]:
        """Process -> replicas, where an operator's word outranks the manifest's."""
        scale = schema.scales.c
        return {row.process: row.replicas for row in self._all(select(schema.scales).where(scale.app == name))}

    def set_scale(self, name: str, process: str, replicas: int) -> None:
        statement = upsert(schema.scales).values(app=name, process=process, replicas=replicas)
        changed = {"replicas": replicas}
        self._change(statement.on_conflict_do_update(index_elements=["app", "process"], set_=changed))

    def unset_scale(self, name: str, process: str) -> None:
        scale = schema.scales.c
        self._change(delete(schema.scales).where(scale.app == name, scale.process == process))

    def layer(self, name: str) -> Layer:
        """The settings of the app that outrank its manifest."""
        row = self._one(select(APP.layer).where(APP.name == name))
        return Layer() if row is None or row.layer is None else Layer.model_validate_json(row.layer)

    def set_layer(self, name: str, layer: Layer) -> None:
        self._change(update(schema.apps).where(APP.name == name).values(layer=layer.model_dump_json()))

    def config(self, name: str) -> dict[str, str]:
        rows = self._all(select(CONFIG.name, CONFIG.value).where(CONFIG.app == name).order_by(CONFIG.name))
        return {row.name: self._vault.open(row.value) for row in rows}

    def replace_config(self, app: str, values: dict[str, str], who: str, now: datetime, what: str = "") -> None:
        """Make these the app's values, and note which changed; those that stay keep who changed them last and when."""
        before = self.config(app)
        gone = [name for name in before if name not in values]
        self._change(delete(schema.config).where(CONFIG.app == app, CONFIG.name.in_(gone)))
        for name, value in values.items():
            if before.get(name) != value:
                self._set(app, name, {"value": self._vault.seal(value), "changed_at": now, "changed_by": who})
        self._note_change(app, difference(before, values), who, now, what)

    def config_changes(self, app: str, *, limit: int = 50) -> list[ConfigChange]:
        """Newest first."""
        rows = self._all(select(schema.config_changes).where(CHANGE.app == app).order_by(CHANGE.id.desc()).limit(limit))
        return [ConfigChange(at=row.at, who=row.who, what=row.what, names=json.loads(row.names)) for row in rows]

    def _note_change(self, app: str, names: dict[str, str], who: str, now: datetime, what: str) -> None:
        if not names:
            return
        row = {"app": app, "at": now, "who": who, "what": what, "names": json.dumps(names)}
        self._change(insert(schema.config_changes).values(**row))
        kept = select(CHANGE.id).where(CHANGE.app == app).order_by(CHANGE.id.desc()).limit(CHANGES_KEPT)
        self._change(delete(schema.config_changes).where(CHANGE.app == app, CHANGE.id.not_in(kept)))

    def _set(self, app: str, name: str, row: dict[str, object]) -> None:
        statement = upsert(schema.config).values(app=app, name=name, **row)
        self._change(statement.on_conflict_do_update(index_elements=["app", "name"], set_=row))


def difference(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    """What became of each name that is not as it was: "set", "changed" or "unset"."""
    found = {name: "unset" for name in before if name not in after}
    found |= {name: "changed" if name in before else "set" for name in after if before.get(name) != after[name]}
    return dict(sorted(found.items()))


def _app(row: Row[Any]) -> App:
    return App(
        name=row.name,
        own_handle=row.handle,
        created_at=row.created_at,
        current_release=row.current_release,
        branch=row.branch,
    )
