"""What `ps` and `logs` make of the engine's tasks and containers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from runtime.engine.tasks import Service, Task, moment
from runtime.logbook.collector import process_of
from runtime.status import Replica, _replicas
from tests.unit.runtime.samples import NOW

SERVICE = Service(
    "s1", "lockstep-shop-web-v3", 7, {"Labels": {"lockstep.release": "3", "lockstep.process": "web"}, "Mode": {}}
)


def task(state: str = "running", wanted: str = "running", **changes: Any) -> Task:
    values = {"id": "t", "slot": 1, "error": None, "exit_code": None, "container": "c", "address": "10.0.0.2"}
    return Task(**{**values, "state": state, "wanted": wanted, "since": NOW, **changes})


NEXT = task("ready", "ready")
FAILED = task("failed", "shutdown", exit_code=3, error="task: non-zero exit (3)")


def replica(*history: Task, now: datetime = NOW) -> Replica:
    (found,) = _replicas(SERVICE, list(history), "python app.py", now)
    return found


def test_running_replica() -> None:
    assert replica(task()) == Replica("web.1", 3, "running", NOW, 0, None, "python app.py", "c")


@pytest.mark.parametrize(
    ("history", "state", "restarts", "last_exit"),
    [
        ((task("preparing"),), "preparing", 0, None),
        ((task("running", "shutdown"),), "stopping", 0, None),
        ((task(), FAILED), "running", 1, "3"),
        ((task(), FAILED, FAILED, FAILED), "crash loop", 3, "3"),
        ((task(), FAILED, FAILED), "running", 2, "3"),
        ((task("ready", "ready"), FAILED, FAILED), "ready", 2, "3"),
        ((task("ready", "ready"), FAILED, FAILED, FAILED), "crash loop", 3, "3"),
        ((task("failed", exit_code=3), FAILED, FAILED), "crash loop", 3, "3"),
        ((task("failed", exit_code=3),), "failed", 1, "3"),
        ((NEXT, task("complete", "shutdown", exit_code=0)), "ready", 1, "0"),
        ((NEXT, task("failed", "shutdown", exit_code=137)), "ready", 1, "137"),
        ((NEXT, task("rejected", "shutdown", error="No such image: x")), "ready", 1, "No such image: x"),
    ],
)
def test_state_of_a_replica(history: tuple[Task, ...], state: str, restarts: int, last_exit: str | None) -> None:
    found = replica(*history)
    assert (found.state, found.restarts, found.last_exit) == (state, restarts, last_exit)


def test_crash_loop_is_over_when_it_runs_or_is_long_past() -> None:
    history = (task(since=NOW), FAILED, FAILED, FAILED)
    assert replica(*history, now=NOW + timedelta(seconds=59)).state == "crash loop"
    assert replica(*history, now=NOW + timedelta(seconds=60)).state == "running"
    ready = (NEXT, FAILED, FAILED, FAILED)
    assert replica(*ready, now=NOW + timedelta(minutes=10)).state == "crash loop"
    assert replica(*ready, now=NOW + timedelta(minutes=10, seconds=1)).state == "ready"


def test_each_slot_is_a_replica() -> None:
    history = [task(slot=2), task(slot=1), task("failed", slot=2, exit_code=1)]
    found = _replicas(SERVICE, history, None, NOW)
    assert [(one.name, one.restarts) for one in found] == [("web.1", 0), ("web.2", 1)]


def test_slot_that_was_scaled_away_is_no_replica() -> None:
    assert _replicas(SERVICE, [task("shutdown", "remove")], None, NOW) == []


@pytest.mark.parametrize(
    ("one", "running", "failed", "never_started"),
    [
        (task(), True, False, False),
        (task("running", "shutdown"), False, False, False),
        (task("starting"), False, False, False),
        (FAILED, False, True, False),
        (task("complete", "shutdown"), False, True, False),
        (task("complete", "remove"), False, False, False),
        (task("shutdown", "shutdown"), False, False, False),
        (task("rejected", "shutdown", error="No such image: x"), False, True, True),
        (task("failed", "shutdown", exit_code=127), False, True, True),
        (task("failed", "shutdown", exit_code=126), False, True, True),
        (task("failed", "shutdown", error="starting container failed: exec: no-such"), False, True, True),
    ],
)
def test_what_a_task_is(one: Task, running: bool, failed: bool, never_started: bool) -> None:
    assert (one.running, one.failed, one.never_started) == (running, failed, never_started)


@pytest.mark.parametrize(
    ("labels", "process"),
    [
        (
            {
                "lockstep.process": "web",
                "com.docker.swarm.service.name": "lockstep-shop-web-v3",
                "com.docker.swarm.task.name": "lockstep-shop-web-v3.2.x7k",
            },
            "web.2",
        ),
        ({"lockstep.process": "migrate"}, "migrate"),
        ({}, "?"),
        (
            {
                "lockstep.process": "web",
                "com.docker.swarm.service.name": "a-v1",
                "com.docker.swarm.task.name": "a-v1.nodeid.x7k",
            },
            "web",
        ),
    ],
)
def test_process_of_a_container(labels: dict[str, str], process: str) -> None:
    assert process_of(labels) == process


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-02T03:04:05.678901234Z", 5.678901),
        ("2026-01-02T03:04:05.6Z", 5.6),
        ("2026-01-02T03:04:05Z", 5.0),
    ],
)
def test_moments_of_the_engine(text: str, seconds: float) -> None:
    found = moment(text)
    assert (found.second + found.microsecond / 1e6, found.utcoffset()) == (seconds, NOW.utcoffset())
