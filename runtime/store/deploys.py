"""Deploys and their journal: which step was under way, however the server ended."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update

from runtime.errors import LockstepError
from runtime.model import Deploy, DeployState, Sequel
from runtime.store import schema
from runtime.store.rows import Rows

DEPLOY = schema.deploys.c
ENDED = tuple(state.value for state in DeployState if state.ended)


class Deploys(Rows):
    def begin(
        self,
        app: str,
        kind: str,
        who: str,
        commit: str | None,
        previous: int | None,
        now: datetime,
        sequel: Sequel | None = None,
    ) -> Deploy:
        number = self._add(
            insert(schema.deploys).values(
                app=app,
                kind=kind,
                state=DeployState.QUEUED.value,
                who=who,
                commit=commit,
                previous=previous,
                started_at=now,
                phases="{}",
                sequel=_json(sequel),
            )
        )
        return self.get(number)

    def find(self, number: int) -> Deploy | None:
        row = self._one(select(schema.deploys).where(DEPLOY.id == number))
        return None if row is None else _deploy(row)

    def get(self, number: int) -> Deploy:
        deploy = self.find(number)
        if deploy is None:
            raise LockstepError(f"there is no deploy {number}: 'deploys APP' lists those there are")
        return deploy

    def of(self, app: str, *, limit: int = 20) -> list[Deploy]:
        query = select(schema.deploys).where(DEPLOY.app == app).order_by(DEPLOY.id.desc()).limit(limit)
        return [_deploy(row) for row in self._all(query)]

    def unfinished(self, app: str | None = None) -> list[Deploy]:
        query = select(schema.deploys).where(DEPLOY.state.not_in(ENDED)).order_by(DEPLOY.id)
        if app is not None:
            query = query.where(DEPLOY.app == app)
        return [_deploy(row) for row in self._all(query)]

    def to_follow(self) -> list[Deploy]:
        """Those that are live and have something left to be done, oldest first."""
        query = select(schema.deploys).where(DEPLOY.state == DeployState.LIVE.value, DEPLOY.sequel.is_not(None))
        return [_deploy(row) for row in self._all(query.order_by(DEPLOY.id))]

    def followed(self, deploy: Deploy) -> None:
        """All is done that was to follow a deploy, and with it what was to follow those of its app before."""
        where = (DEPLOY.app == deploy.app, DEPLOY.id <= deploy.id, DEPLOY.sequel.is_not(None))
        self._change(update(schema.deploys).where(*where).values(sequel=None))

    def journal(self, number: int) -> list[tuple[datetime, DeployState]]:
        entry = schema.journal.c
        query = select(entry.at, entry.state).where(entry.deploy == number).order_by(entry.id)
        return [(row.at, DeployState(row.state)) for row in self._all(query)]

    def record(self, deploy: Deploy, now: datetime) -> None:
        """Write the deploy as it is now and add its state to the journal. Only `runtime.release.move` calls this."""
        self._change(
            update(schema.deploys)
            .where(DEPLOY.id == deploy.id)
            .values(
                state=deploy.state.value,
                release=deploy.release,
                previous=deploy.previous,
                ended_at=deploy.ended_at,
                error=deploy.error,
                phases=json.dumps(deploy.phases),
                worker_pause=deploy.worker_pause,
                sequel=_json(deploy.sequel),
            )
        )
        self._change(insert(schema.journal).values(deploy=deploy.id, at=now, state=deploy.state.value))


def _json(sequel: Sequel | None) -> str | None:
    return None if sequel is None else sequel.model_dump_json()


def _deploy(row: Row[Any]) -> Deploy:
    return Deploy(
        id=row.id,
        app=row.app,
        kind=row.kind,
        state=DeployState(row.state),
        who=row.who,
        commit=row.commit,
        release=row.release,
        previous=row.previous,
        started_at=row.started_at,
        ended_at=row.ended_at,
        error=row.error,
        phases=json.loads(row.phases),
        worker_pause=row.worker_pause,
        sequel=None if row.sequel is None else Sequel.model_validate_json(row.sequel),
    )
