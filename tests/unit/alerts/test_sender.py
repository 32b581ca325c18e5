"""Sending what is due, with a clock and a receiver that the test moves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from runtime.alerts.model import Alert, AlertKind, AlertState, Cause
from runtime.alerts.payload import Payloads
from runtime.alerts.post import Answer
from runtime.alerts.raising import raise_alert
from runtime.alerts.sender import Sender
from runtime.deploylog import DeployLogs
from runtime.engine.logs import LogLine
from runtime.errors import StoreError
from runtime.model import Secret
from runtime.scheduler.jobs import Key
from runtime.scheduler.runlog import RunLogs
from runtime.settings import Settings
from runtime.store import Store
from tests.cronrig import go_live, job

URL = "https://hooks.example.com/secret"
REFUSED = Answer(500, "answered 500")
SECOND = timedelta(seconds=1)


def cause(number: int = 1, app: str = "shop", **values: Any) -> Cause:
    values = {
        "kind": AlertKind.RUN,
        "job": "tick",
        "run": number,
        "status": "failed",
        "error": "exited with 3",
        **values,
    }
    return Cause(app=app, **values)


class Desk:
    """A sender whose receiver is the test."""

    def __init__(self, settings: Settings, store: Store, now: datetime) -> None:
        self.store, self.now = store, now
        self.deploys, self.runs = DeployLogs(settings.logs), RunLogs(settings.logs)
        self.sent: list[tuple[datetime, str, dict[str, Any]]] = []
        self.answers: list[Answer] = []
        self.during: Callable[[], None] = lambda: None
        self.restart()
        go_live(store, "shop", 1, job(), now=now, notify_on_failure=URL)

    def restart(self) -> None:
        payloads = Payloads(self.store, self.deploys, self.runs)
        self.sender = Sender(self.store, lambda: self.now, payloads, self.deploys, self.post)

    async def post(self, url: str, body: bytes) -> Answer:
        self.sent.append((self.now, url, json.loads(body)))
        self.during()
        return self.answers.pop(0) if self.answers else Answer(200)

    def raise_(self, *causes: Cause) -> None:
        with self.store.write() as tx:
            for one in causes:
                raise_alert(tx, one, self.now)

    async def pass_time(self, span: timedelta) -> None:
        """A look each second, as the loop has it."""
        end = self.now + span
        while self.now <= end:
            while await self.sender.round():
                pass
            self.now += SECOND

    def alert(self, app: str = "shop") -> Alert:
        with self.store.read() as tx:
            return tx.alerts.of([app])[0]


@pytest.fixture
def desk(home: Settings, store: Store, noon: datetime) -> Desk:
    return Desk(home, store, noon)


async def test_what_is_refused_is_sent_again_and_each_try_is_on_record(desk: Desk, noon: datetime) -> None:
    desk.answers = [REFUSED, Answer(error="no answer within 10 s")]
    desk.raise_(cause())
    await desk.pass_time(60 * SECOND)
    assert [when - noon for when, _, _ in desk.sent] == [0 * SECOND, SECOND, 6 * SECOND]
    assert {url for _, url, _ in desk.sent} == {URL}
    alert = desk.alert()
    assert (alert.state, alert.next_try_at) == (AlertState.DELIVERED, None)
    assert [(one.number, one.at - noon, one.status, one.error) for one in alert.tries] == [
        (1, 0 * SECOND, 500, "answered 500"),
        (2, SECOND, None, "no answer within 10 s"),
        (3, 6 * SECOND, 200, None),
    ]


async def test_it_is_given_up_after_the_last_try_and_that_is_said(desk: Desk, noon: datetime) -> None:
    desk.answers = [REFUSED] * 99
    desk.raise_(cause())
    await desk.pass_time(800 * SECOND)
    assert [(when - noon).total_seconds() for when, _, _ in desk.sent] == [0, 1, 6, 36, 156, 756]
    assert desk.alert().state is AlertState.GIVEN_UP
    with desk.store.read() as tx:
        event = tx.events.of("shop")[0]
    assert (event.detail, event.result) == ("could not tell of run 1 in 6 tries", "answered 500")


async def test_a_server_that_is_killed_during_a_try_goes_on_with_the_next(desk: Desk, noon: datetime) -> None:
    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    desk.during = die
    desk.raise_(cause())
    with suppress(Killed):
        await desk.sender.round()
    assert [(one.status, one.error) for one in desk.alert().tries] == [(None, None)]
    desk.during = lambda: None
    desk.restart()
    assert not await desk.sender.round()
    await desk.pass_time(SECOND)
    assert [when - noon for when, _, _ in desk.sent] == [0 * SECOND, SECOND]
    assert desk.alert().state is AlertState.DELIVERED


async def test_one_that_is_killed_during_the_last_try_gives_up(desk: Desk) -> None:
    desk.answers = [REFUSED] * 5
    desk.raise_(cause())
    await desk.pass_time(200 * SECOND)
    desk.now += timedelta(seconds=600)
    with desk.store.write() as tx:
        tx.alerts.begin_try(1, 6, desk.now, desk.now + 60 * SECOND)
    desk.restart()
    await desk.pass_time(61 * SECOND)
    assert len(desk.sent) == 5
    assert desk.alert().state is AlertState.GIVEN_UP


async def test_nothing_is_sent_that_can_not_be_put_on_record(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.raise_(cause())
    await asyncio.sleep(0)
    with desk.store.read() as tx:
        refusing = type(tx.alerts)

    def refuse(*_: object) -> None:
        raise StoreError("the store did not take a change: disk full")

    monkeypatch.setattr(refusing, "begin_try", refuse)
    with pytest.raises(StoreError):
        await desk.sender.round()
    assert desk.sent == []


async def test_an_apps_alerts_go_one_by_one_and_beside_those_of_others(desk: Desk) -> None:
    go_live(desk.store, "blog", 1, job(), now=desk.now, notify_on_failure="https://blog.example.com/")
    desk.raise_(cause(1), cause(2), cause(3, "blog"))
    assert await desk.sender.round()
    assert sorted((body["app"], body["run_id"]) for _, _, body in desk.sent) == [("blog", 3), ("shop", 1)]
    assert await desk.sender.round()
    assert not await desk.sender.round()
    assert len(desk.sent) == 3


async def test_a_cause_is_told_of_once(desk: Desk) -> None:
    desk.raise_(cause(), cause())
    await desk.pass_time(3 * SECOND)
    desk.raise_(cause())
    await desk.pass_time(3 * SECOND)
    assert len(desk.sent) == 1


async def test_alerts_go_with_their_app(desk: Desk) -> None:
    desk.raise_(cause())
    with desk.store.write() as tx:
        tx.apps.remove("shop")
    assert not await desk.sender.round()
    with desk.store.read() as tx:
        assert tx.alerts.of() == []


async def test_old_alerts_are_removed_and_that_of_an_untold_one_is_said(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.alerts.sender.KEEP", 2)
    desk.raise_(cause(1))
    await desk.sender.round()
    desk.answers = [REFUSED] * 9
    desk.raise_(*(cause(number) for number in (2, 3, 4)))
    desk.now += timedelta(hours=2)
    await desk.sender.round()
    with desk.store.read() as tx:
        assert [alert.cause.run for alert in tx.alerts.of()] == [4, 3]
        assert tx.events.of(None)[0].detail == "removed 1 that were not told yet"
    desk.now += timedelta(days=91)
    await desk.sender.round()
    with desk.store.read() as tx:
        assert tx.alerts.of() == []


# ---- what is sent -----------------------------------------------------------------------------------------------


async def test_of_a_run_the_end_of_its_log_is_sent_without_values_of_the_config(desk: Desk, noon: datetime) -> None:
    with desk.store.write() as tx:
        tx.apps.replace_config("shop", {"TOKEN": "sesame-open"}, "ann", noon)
    with desk.runs.writer(Key("shop", "tick"), 1) as writer:
        for number in range(60):
            writer.add(LogLine("2026-05-04T12:00:00Z", f"line {number} \x1b]0;x\x07sesame-open", error=False))
    desk.raise_(cause(slot=noon, exit_code=3, error="exited with 3: sesame-open"))
    await desk.pass_time(SECOND)
    (_, _, body) = desk.sent[0]
    lines = body.pop("log_tail").splitlines()
    assert (len(lines), lines[0], lines[-1]) == (50, "line 10 ***", "line 59 ***")
    assert body == {
        "alert_id": 1,
        "kind": "run",
        "app": "shop",
        "status": "failed",
        "error": "exited with 3: ***",
        "deploy_id": None,
        "job": "tick",
        "run_id": 1,
        "slot": noon.isoformat(),
        "exit_code": 3,
        "raised_at": noon.isoformat(),
    }


async def test_of_a_deploy_the_log_is_sent_when_it_is_whole(desk: Desk) -> None:
    failed = Cause(kind=AlertKind.DEPLOY, app="shop", status="failed", error="pip exited with 1", deploy=7)
    with desk.deploys.open("shop", 7) as log:
        log.write("-----> Building")
        desk.raise_(failed)
        telling = asyncio.create_task(desk.sender.round())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert desk.sent == []
        log.write(" !     build failed: pip exited with 1")
    await telling
    (_, _, body) = desk.sent[0]
    assert (body["deploy_id"], body["log_tail"]) == (7, "-----> Building\n !     build failed: pip exited with 1")


async def test_a_log_that_is_gone_or_broken_keeps_nothing_from_being_sent(desk: Desk, home: Settings) -> None:
    broken = home.logs / "cron" / "shop" / "tick" / "2.gz"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"not gzip")
    desk.raise_(cause(1), cause(2), cause(3, kind=AlertKind.DEPLOY, deploy=9))
    await desk.pass_time(SECOND)
    assert desk.sent[0][2]["log_tail"] == ""
    assert desk.sent[1][2]["log_tail"].startswith("(the log can not be read: ")
    assert desk.sent[2][2]["log_tail"].startswith("(the log can not be read: ")


def test_secrets_are_blotted_out() -> None:
    from runtime.alerts.payload import Scrubber

    assert Scrubber((Secret("sesame-open"),))("say sesame-open") == "say ***"
