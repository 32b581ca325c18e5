"""Alerts, and every attempt to tell of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from runtime.alerts.model import Alert, AlertState, Cause, Try
from runtime.store import schema
from runtime.store.rows import Rows

ALERT = schema.alerts.c
TRY = schema.alert_tries.c
RELEASE = schema.releases.c
APP = schema.apps.c


class Alerts(Rows):
    def add(self, cause: Cause, url: str | None, now: datetime) -> bool:
        """Write an alert; False when there is one about the same thing already."""
        statement = upsert(schema.alerts).on_conflict_do_nothing(index_elements=["about"])
        values = {
            "about": cause.about,
            "app": cause.app,
            "cause": cause.model_dump_json(),
            "url": url,
            "raised_at": now,
            "state": (AlertState.UNSENT if url is None else AlertState.WAITING).value,
            "next_try_at": None if url is None else now,
        }
        return self._change(statement.values(**values)) == 1

    def rename_app(self, app: str, new: str) -> None:
        """Have what is kept within the rows of `new` call it so too; without it, what was missed is told again."""
        for row in self._all(select(ALERT.id, ALERT.cause).where(ALERT.app == new)):
            cause = Cause.model_validate_json(row.cause)
            if cause.app == app:
                cause = cause.model_copy(update={"app": new})
                values = {"about": cause.about, "cause": cause.model_dump_json()}
                self._change(update(schema.alerts).where(ALERT.id == row.id).values(**values))

    def notify_url(self, app: str, release: int | None) -> str | None:
        """Where the manifest of a release, or of the live one for None, wants failures told."""
        url = func.json_extract(RELEASE.spec, "$.notify_on_failure").label("url")
        query = select(url).where(RELEASE.app == app)
        if release is None:
            live = select(APP.current_release).where(APP.name == app).scalar_subquery()
            query = query.where(RELEASE.number == live)
        else:
            query = query.where(RELEASE.number == release)
        row = self._one(query)
        return None if row is None else row.url

    def of(self, apps: Iterable[str | None] | None = None, *, limit: int = 50) -> list[Alert]:
        """The newest first: of these apps, None among them being the platform, or all."""
        query = select(schema.alerts).order_by(ALERT.id.desc()).limit(limit)
        if apps is not None:
            names = list(apps)
            of_apps = ALERT.app.in_([name for name in names if name is not None])
            query = query.where(of_apps | ALERT.app.is_(None) if None in names else of_apps)
        return self._alerts(self._all(query))

    def due(self, now: datetime, most: int) -> list[Alert]:
        """What is to be sent by now: of each app the one that has waited longest."""
        place = func.row_number().over(partition_by=ALERT.app, order_by=(ALERT.next_try_at, ALERT.id)).label("place")
        found = select(schema.alerts, place).where(ALERT.next_try_at <= now).subquery()
        query = select(found).where(found.c.place == 1).order_by(found.c.next_try_at).limit(most)
        return self._alerts(self._all(query))

    def begin_try(self, alert: int, number: int, now: datetime, next_try_at: datetime) -> None:
        """Write that it is being sent; `next_try_at` is when, should its end never be written."""
        self._change(insert(schema.alert_tries).values(alert=alert, number=number, at=now))
        self.settle(alert, AlertState.WAITING, next_try_at)

    def end_try(self, alert: int, number: int, status: int | None, error: str | None) -> None:
        where = (TRY.alert == alert, TRY.number == number)
        self._change(update(schema.alert_tries).where(*where).values(status=status, error=error))

    def settle(self, alert: int, state: AlertState, next_try_at: datetime | None) -> None:
        values = {"state": state.value, "next_try_at": next_try_at}
        self._change(update(schema.alerts).where(ALERT.id == alert).values(**values))

    def prune(self, *, keep: int, before: datetime) -> int:
        """Remove those that were raised before a moment, and those beyond the `keep` newest of their app; how many
        of them were still to be sent."""
        place = func.row_number().over(partition_by=ALERT.app, order_by=ALERT.id.desc()).label("place")
        ranked = select(ALERT.id, place).subquery()
        goes = (ALERT.raised_at < before) | ALERT.id.in_(select(ranked.c.id).where(ranked.c.place > keep))
        untold = self._all(select(ALERT.id).where(goes, ALERT.next_try_at.is_not(None)))
        self._change(delete(schema.alerts).where(goes))
        return len(untold)

    def _alerts(self, rows: list[Row[Any]]) -> list[Alert]:
        tries: dict[int, list[Try]] = {row.id: [] for row in rows}
        query = select(schema.alert_tries).where(TRY.alert.in_(list(tries))).order_by(TRY.number)
        for row in self._all(query) if rows else ():
            tries[row.alert].append(Try(number=row.number, at=row.at, status=row.status, error=row.error))
        return [_alert(row, tuple(tries[row.id])) for row in rows]


def _alert(row: Row[Any], tries: tuple[Try, ...]) -> Alert:
    return Alert(
        id=row.id,
        cause=Cause.model_validate_json(row.cause),
        url=row.url,
        raised_at=row.raised_at,
        state=AlertState(row.state),
        next_try_at=row.next_try_at,
        tries=tries,
    )
