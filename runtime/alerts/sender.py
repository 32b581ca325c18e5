"""Telling of alerts: what is due is sent, app beside app and one alert of an app after the other.

A try is written down before it is made, with the moment of the next one, so that a server that is killed in its
middle goes on with the next, and a store that takes no writes stops the sending. So an alert may come twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

from runtime.alerts.model import MOST_TRIES, UNDECIDED, Alert, AlertState, pause_after
from runtime.alerts.payload import Payloads
from runtime.alerts.post import Answer, Poster
from runtime.alerts.raising import WHO
from runtime.deploylog import DeployLogs
from runtime.errors import LockstepError, explain
from runtime.parts import Parts
from runtime.scheduler.runlog import RunLogs
from runtime.store import Store
from runtime.waiting import together

log = logging.getLogger(__name__)

LOOK: Final = 1.0  # seconds between looks for what is due
MOST: Final = 50  # apps whose alerts are sent at once
HOUSE: Final = timedelta(hours=1)  # between removals of old alerts
KEEP: Final = 1000  # alerts of one app
KEEP_FOR: Final = timedelta(days=90)


class Post(Protocol):
    """Sends one body; never raises for what the other side does."""

    async def __call__(self, url: str, body: bytes) -> Answer: ...


class Sender:
    """The one place that sends alerts."""

    def __init__(
        self, store: Store, clock: Callable[[], datetime], payloads: Payloads, deploys: DeployLogs, post: Post
    ) -> None:
        self._store = store
        self._clock = clock
        self._payloads = payloads
        self._deploys = deploys
        self._post = post
        self._pruned_at: datetime | None = None

    async def run(self) -> None:
        """Round after round. Cancel to stop."""
        while True:
            try:
                if await self.round():
                    continue
            except LockstepError as error:
                log.warning("alerts can not be sent now: %s", explain(error))
            except Exception:
                log.exception("a round of sending alerts ended early; the next one comes")
            await asyncio.sleep(LOOK)

    async def round(self) -> bool:
        """Send what is due; whether there was something."""
        now = self._clock()
        self._keep_house(now)
        with self._store.read() as tx:
            due = tx.alerts.due(now, MOST)
        await together(*(self._tell(alert) for alert in due))
        return bool(due)

    async def _tell(self, alert: Alert) -> None:
        number = len(alert.tries) + 1
        if number > MOST_TRIES:
            self._give_up(alert, "the server stopped during the last try")
            return
        assert alert.url is not None
        if alert.cause.deploy is not None:
            await self._deploys.until_closed(alert.cause.deploy)
        body = await asyncio.to_thread(self._payloads.body, alert)
        self._begin(alert, number)
        self._end(alert, number, await self._post(alert.url, body))

    def _begin(self, alert: Alert, number: int) -> None:
        now = self._clock()
        pause = pause_after(number) or timedelta(seconds=UNDECIDED)
        with self._store.write() as tx:
            tx.alerts.begin_try(alert.id, number, now, now + pause)

    def _end(self, alert: Alert, number: int, answer: Answer) -> None:
        now, pause = self._clock(), pause_after(number)
        log.info("alert %d, %s: try %d: %s", alert.id, alert.cause.about, number, answer.error or answer.status)
        with self._store.write() as tx:
            tx.alerts.end_try(alert.id, number, answer.status, answer.error)
            if answer.error is None:
                tx.alerts.settle(alert.id, AlertState.DELIVERED, None)
            elif pause is not None:
                tx.alerts.settle(alert.id, AlertState.WAITING, now + pause)
        if answer.error is not None and pause is None:
            self._give_up(alert, answer.error)

    def _give_up(self, alert: Alert, error: str) -> None:
        detail = f"could not tell of {alert.cause.about} in {MOST_TRIES} tries"
        log.error("alert %d: %s: %s", alert.id, detail, error)
        with self._store.write() as tx:
            tx.alerts.settle(alert.id, AlertState.GIVEN_UP, None)
            tx.events.add(who=WHO, app=alert.cause.app, action="alert", detail=detail, result=error, now=self._clock())

    def _keep_house(self, now: datetime) -> None:
        if self._pruned_at is not None and abs(now - self._pruned_at) < HOUSE:
            return
        self._pruned_at = now
        with self._store.write() as tx:
            untold = tx.alerts.prune(keep=KEEP, before=now - KEEP_FOR)
            if untold:
                result = f"an app has more than {KEEP} alerts, and its address takes them too slowly or not at all"
                tx.events.add(
                    who=WHO, action="alert", detail=f"removed {untold} that were not told yet", result=result, now=now
                )


async def send_alerts(parts: Parts, deploys: DeployLogs) -> None:
    """The sender's life. Cancel to stop."""
    poster = Poster(to_host=parts.settings.alerts_to_host)
    payloads = Payloads(parts.store, deploys, RunLogs(parts.settings.logs))
    try:
        await Sender(parts.store, parts.clock, payloads, deploys, poster).run()
    finally:
        await poster.close()
