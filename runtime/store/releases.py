"""Releases: written once, read for ever."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from runtime.errors import LockstepError
from runtime.layer import Layer
from runtime.model import AppSpec, Image, Release
from runtime.secrets import Vault
from runtime.store import schema
from runtime.store.rows import Rows

RELEASE = schema.releases.c
WITH_APP = schema.releases.join(schema.apps, schema.apps.c.name == RELEASE.app)
ROWS = select(schema.releases, schema.apps.c.handle).select_from(WITH_APP)


class Releases(Rows):
    def __init__(self, connection: Connection, vault: Vault) -> None:
        super().__init__(connection)
        self._vault = vault

    def next_number(self, app: str) -> int:
        row = self._one(select(func.max(RELEASE.number)).where(RELEASE.app == app))
        return 1 + (row[0] or 0 if row is not None else 0)

    def add(self, release: Release, layer: Layer | None = None) -> None:
        """Write it down, with the settings of the app that are part of its spec."""
        self._change(
            insert(schema.releases).values(
                app=release.app,
                number=release.number,
                commit=release.commit,
                image=release.image.model_dump_json(),
                spec=release.spec.model_dump_json(),
                asked=None if release.asked is None else release.asked.model_dump_json(),
                layer=None if layer is None else layer.model_dump_json(),
                config=self._vault.seal_map(release.config),
                created_at=release.created_at,
                created_by=release.created_by,
                description=release.description,
            )
        )

    def find(self, app: str, number: int) -> Release | None:
        row = self._one(ROWS.where(RELEASE.app == app, RELEASE.number == number))
        return None if row is None else self._release(row)

    def get(self, app: str, number: int) -> Release:
        release = self.find(app, number)
        if release is None:
            raise LockstepError(f"{app} has no release v{number}: 'releases {app}' lists those there are")
        return release

    def layer(self, app: str, number: int) -> Layer:
        """The settings of the app that are part of this release's spec."""
        row = self._one(select(RELEASE.layer).where(RELEASE.app == app, RELEASE.number == number))
        return Layer() if row is None or row.layer is None else Layer.model_validate_json(row.layer)

    def current(self, app: str) -> Release | None:
        """What the app's row says should run."""
        row = self._one(ROWS.where(RELEASE.app == app, RELEASE.number == schema.apps.c.current_release))
        return None if row is None else self._release(row)

    def of(self, app: str, *, limit: int = 50) -> list[tuple[Release, datetime | None]]:
        """The newest releases first, each with the moment it first went live (None: it never did)."""
        query = ROWS.where(RELEASE.app == app).order_by(RELEASE.number.desc()).limit(limit)
        return [(self._release(row), row.live_at) for row in self._all(query)]

    def mark_live(self, app: str, number: int, now: datetime) -> None:
        where = (RELEASE.app == app, RELEASE.number == number, RELEASE.live_at.is_(None))
        self._change(update(schema.releases).where(*where).values(live_at=now))

    def with_image(self, app: str) -> list[Release]:
        """The releases whose image is still kept."""
        where = (RELEASE.app == app, RELEASE.image_gone == 0)
        return [self._release(row) for row in self._all(ROWS.where(*where))]

    def beyond(self, app: str, keep: int) -> list[Release]:
        """The releases that still have an image, without the `keep` newest that were live."""
        kept = select(RELEASE.number).where(RELEASE.app == app, RELEASE.live_at.is_not(None))
        newest = [row[0] for row in self._all(kept.order_by(RELEASE.number.desc()).limit(keep))]
        query = ROWS.where(RELEASE.app == app, RELEASE.image_gone == 0, RELEASE.number.not_in(newest))
        return [self._release(row) for row in self._all(query.order_by(RELEASE.number))]

    def image_is_gone(self, app: str, number: int) -> None:
        where = (RELEASE.app == app, RELEASE.number == number)
        self._change(update(schema.releases).where(*where).values(image_gone=1))

    def _release(self, row: Row[Any]) -> Release:
        return Release(
            app=row.app,
            own_handle=row.handle,
            made_as=row.made_as,
            number=row.number,
            commit=row.commit,
            image=Image.model_validate_json(row.image),
            spec=AppSpec.model_validate_json(row.spec),
            asked=None if row.asked is None else AppSpec.model_validate_json(row.asked),
            config=self._vault.open_map(row.config),
            created_at=row.created_at,
            created_by=row.created_by,
            description=row.description,
        )
