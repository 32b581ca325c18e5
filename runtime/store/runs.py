"""One-off runs of apps, numbered for each app."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update

from runtime.model import RunState
from runtime.runs.values import OneOff
from runtime.store import schema
from runtime.store.rows import Rows

RUN = schema.runs.c
OPEN = tuple(state.value for state in RunState if state.open)


class Runs(Rows):
    def next_number(self, app: str) -> int:
        row = self._one(select(func.max(RUN.number)).where(RUN.app == app))
        return 1 + (row[0] or 0 if row is not None else 0)

    def add(self, run: OneOff) -> None:
        values = {**run.model_dump(), "state": run.state.value, "detached": int(run.detached)}
        self._change(insert(schema.runs).values(**values))

    def find(self, app: str, number: int) -> OneOff | None:
        row = self._one(select(schema.runs).where(RUN.app == app, RUN.number == number))
        return None if row is None else _run(row)

    def of(self, app: str, *, limit: int = 50) -> list[OneOff]:
        """The newest first."""
        query = select(schema.runs).where(RUN.app == app).order_by(RUN.number.desc()).limit(limit)
        return [_run(row) for row in self._all(query)]

    def open(self, app: str | None = None) -> list[OneOff]:
        """Those that have not ended, of an app or of all."""
        query = select(schema.runs).where(RUN.state.in_(OPEN)).order_by(RUN.created_at)
        return [_run(row) for row in self._all(query if app is None else query.where(RUN.app == app))]

    def started(self, run: OneOff, now: datetime) -> None:
        where = (RUN.app == run.app, RUN.number == run.number, RUN.state.in_(OPEN))
        self._change(update(schema.runs).where(*where).values(state=RunState.RUNNING.value, started_at=now))

    def ask_stop(self, run: OneOff, why: str) -> None:
        """The first reason stays."""
        where = (RUN.app == run.app, RUN.number == run.number, RUN.state.in_(OPEN), RUN.stop.is_(None))
        self._change(update(schema.runs).where(*where).values(stop=why))

    def ended(self, run: OneOff, state: RunState, now: datetime, exit_code: int | None, reason: str | None) -> None:
        """Close the row; one that is closed stays as it is."""
        where = (RUN.app == run.app, RUN.number == run.number, RUN.state.in_(OPEN))
        values = {"state": state.value, "ended_at": now, "exit_code": exit_code, "reason": reason}
        self._change(update(schema.runs).where(*where).values(**values))

    def prune(self, app: str, keep: int) -> list[int]:
        """Remove the rows of ended runs but the newest `keep`; the numbers of those removed."""
        ended = select(RUN.number).where(RUN.app == app, RUN.state.not_in(OPEN)).order_by(RUN.number.desc())
        old = [row.number for row in self._all(ended.offset(keep).limit(1000))]
        if old:
            self._change(delete(schema.runs).where(RUN.app == app, RUN.number.in_(old)))
        return old


def _run(row: Row[Any]) -> OneOff:
    values = dict(row._mapping)
    return OneOff(**{**values, "state": RunState(row.state), "detached": bool(row.detached)})
