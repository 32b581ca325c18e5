"""Raising an alert: its row and its event, in the transaction of what it is about, so that neither is lost."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from runtime.alerts.model import AlertKind, Cause
from runtime.model import AppSpec, CronRun, Deploy, RunState
from runtime.store import Transaction

log = logging.getLogger(__name__)

WHO: Final = "alerts"
LONGEST_ERROR: Final = 2000  # characters


def deploy_failed(tx: Transaction, deploy: Deploy, spec: AppSpec | None, now: datetime) -> None:
    """`spec` is the commit's own where its manifest was read; else the release's, or the live one's, tells where."""
    url = tx.alerts.notify_url(deploy.app, deploy.release) if spec is None else spec.notify_on_failure
    error = deploy.error or "its log says why"
    cause = Cause(
        kind=AlertKind.DEPLOY,
        app=deploy.app,
        status=deploy.state.value,
        error=error[:LONGEST_ERROR],
        deploy=deploy.id,
    )
    _write(tx, cause, url, now)


def run_failed(tx: Transaction, run: CronRun, now: datetime) -> None:
    """A run that did not succeed and is not tried again."""
    error = run.reason
    if run.state is RunState.FAILED and run.exit_code:
        error = f"exited with {run.exit_code}{'' if run.reason is None else f': {run.reason}'}"
    cause = Cause(
        kind=AlertKind.RUN,
        app=run.app,
        status=run.state.value,
        error=(error or "its log says why")[:LONGEST_ERROR],
        job=run.job,
        run=run.id,
        slot=run.slot,
        exit_code=run.exit_code,
    )
    _write(tx, cause, tx.alerts.notify_url(run.app, run.release), now)


def missed(app: str, job: str, slot: datetime, error: str, run: int | None = None) -> Cause:
    """A job that was due at `slot` and did not happen."""
    return Cause(
        kind=AlertKind.MISSED, app=app, status="missed", error=error[:LONGEST_ERROR], job=job, slot=slot, run=run
    )


def silent(last_beat: datetime | None, silence: timedelta) -> Cause:
    """The scheduler, which has given no sign of life since `last_beat`."""
    error = f"the scheduler gives no sign of life for {silence.total_seconds():.0f} s: no cron job starts"
    return Cause(kind=AlertKind.SCHEDULER, status="silent", error=error, slot=last_beat)


def raise_alert(tx: Transaction, cause: Cause, now: datetime) -> None:
    """Write the alert for the address that the live release names; nothing when there is one about it already."""
    _write(tx, cause, None if cause.app is None else tx.alerts.notify_url(cause.app, None), now)


def _write(tx: Transaction, cause: Cause, url: str | None, now: datetime) -> None:
    if tx.alerts.add(cause, url, now):
        log.warning("alert: %s: %s", cause.about, cause.error)
        tx.events.add(who=WHO, app=cause.app, action="alert", detail=cause.about, result=cause.error, now=now)
