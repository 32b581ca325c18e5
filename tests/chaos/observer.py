"""Watches one app from outside while a test runs, and says where its parts were out of step.

Three witnesses: the engine's events (which worker ran when, by release), samples of the router's route and of
the store's row, and a visitor who asks web again and again. Clocks are the same: everything is on one machine.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from scripts.driver import Instance

PAUSE: Final = 0.04  # seconds between two samples of one witness
DEADLINE: Final = 15.0  # seconds for one answer
MOST_SHOWN: Final = 20  # faults in one message
FOREVER: Final = 1 << 62


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float | None = DEADLINE) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Docker:
    """The engine's API for tests: what they break and look at, they reach without the product's own client."""

    def __init__(self, host: str | None = None) -> None:
        parts = urlsplit(host or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
        assert parts.scheme == "unix", f"these tests need the engine at a unix socket, not at {parts.geturl()}"
        self.socket = parts.path

    def call(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """One answer. Raises AssertionError on a refusal."""
        with closing(UnixConnection(self.socket, 60)) as connection:
            data = None if body is None else json.dumps(body)
            connection.request(method, f"/v1.41{path}{_query(params)}", data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status < 400, f"{method} {path}: {answer.status} {text.decode(errors='replace')}"
            return json.loads(text) if text.strip() else None

    def labelled(self, what: str, *labels: str, **params: Any) -> list[dict[str, Any]]:
        """containers/json, services, networks or volumes with all these labels."""
        found = self.call("GET", f"/{what}", filters={"label": list(labels)}, **params)
        return list((found["Volumes"] or []) if what == "volumes" else found)


def _query(params: dict[str, Any]) -> str:
    texts = {
        name: json.dumps(value) if isinstance(value, dict | bool) else str(value) for name, value in params.items()
    }
    return "?" + "&".join(f"{name}={quote(text)}" for name, text in texts.items()) if texts else ""


@dataclass(frozen=True)
class Life:
    """A worker's container, from the engine's word that it started to its word that it ended, in nanoseconds."""

    release: int
    container: str
    began: int
    ended: int = FOREVER

    def covers(self, first: int, last: int) -> bool:
        return self.began < first and last < self.ended

    def meets(self, other: Life) -> bool:
        return self.began < other.ended and other.began < self.ended


@dataclass(frozen=True)
class Sample:
    """What one look gave, and between which moments it was taken."""

    first: int
    last: int
    release: int | None
    held: int | None = None


@dataclass
class Sightings:
    workers: dict[str, Life] = field(default_factory=dict)
    router: list[Sample] = field(default_factory=list)
    store: list[Sample] = field(default_factory=list)
    visits: list[Sample] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # visits that did not get an answer of web
    blind: list[str] = field(default_factory=list)  # witnesses that failed


class Observer:
    """Begin with `watching`; `faults` says what was seen that must not be."""

    def __init__(self, instance: Instance, app: str, docker: Docker | None = None) -> None:
        self.instance = instance
        self.app = app
        self.docker = docker or Docker()
        self.seen = Sightings()
        self._stop = threading.Event()
        self._live = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[Observer]:
        """Watch while the body runs; a violation seen fails it at the end."""
        looks = (self._look_at_router, self._look_at_store, self._visit)
        threads = [threading.Thread(target=self._again, args=(look,), daemon=True) for look in looks]
        threads.append(threading.Thread(target=self._follow_engine, daemon=True))
        for thread in threads:
            thread.start()
        assert self._live.wait(DEADLINE), "the engine's events do not come"
        try:
            yield self
            time.sleep(5 * PAUSE)
        finally:
            self._stop.set()
            for thread in threads[:-1]:
                thread.join(DEADLINE)
        found = self.faults()
        assert not found, "\n".join([f"{len(found)} faults were seen:", *found[:MOST_SHOWN]])

    def faults(self) -> list[str]:
        """Every moment at which two releases were active, every lost visit, every witness that saw nothing."""
        return [
            *self.seen.blind,
            *self.seen.lost,
            *self._two_workers(),
            *self._against_workers("the router sent requests to", self.seen.router),
            *self._against_workers("web answered a request as", self.seen.visits),
            *self._against_workers("cron runs could start from", [s for s in self.seen.store if s.held is None]),
            *self._router_against_store(),
        ]

    # ---- what must not be --------------------------------------------------------------------------------

    def _two_workers(self) -> list[str]:
        lives = sorted(self.seen.workers.values(), key=lambda life: life.began)
        return [
            f"workers of v{one.release} and v{other.release} ran at the same time, from {other.began}"
            for number, one in enumerate(lives)
            for other in lives[number + 1 :]
            if one.release != other.release and one.meets(other)
        ]

    def _against_workers(self, what: str, samples: list[Sample]) -> list[str]:
        return [
            f"{what} v{sample.release} at {sample.first} while a worker of v{life.release} ran"
            for sample in samples
            if sample.release is not None
            for life in self.seen.workers.values()
            if life.release != sample.release and life.covers(sample.first, sample.last)
        ]

    def _router_against_store(self) -> list[str]:
        """A route that differs from a row that nobody holds and that is the same before and after the look."""
        rows = self.seen.store
        wrong, index = [], 0
        for look in self.seen.router:
            while index + 1 < len(rows) and rows[index + 1].last < look.first:
                index += 1
            after = next((row for row in rows[index + 1 : index + 20] if row.first > look.last), None)
            before = rows[index] if rows and rows[index].last < look.first else None
            if before is None or after is None or before.held is not None or after.held is not None:
                continue
            if before.release == after.release != look.release:
                wrong.append(f"the route was v{look.release} at {look.first} and the row v{before.release}, not held")
        return wrong

    # ---- the witnesses -----------------------------------------------------------------------------------

    def _again(self, look: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                look()
            except Exception as error:  # noqa: BLE001 - a thread's failure is told by `faults`
                self.seen.blind.append(f"{look.__name__}: {error!r}")
                return
            self._stop.wait(PAUSE)

    def _look_at_router(self) -> None:
        first = time.time_ns()
        release = route_release(self.instance, self.app)
        self.seen.router.append(Sample(first, time.time_ns(), release))

    def _look_at_store(self) -> None:
        first = time.time_ns()
        with store_of(self.instance) as store:
            row = store.execute("select current_release, held_by from apps where name = ?", (self.app,)).fetchone()
        if row is not None:
            self.seen.store.append(Sample(first, time.time_ns(), *row))

    def _visit(self) -> None:
        at = time.time_ns()
        try:
            status, body = self.instance.get(self.app)
        except (OSError, http.client.HTTPException) as error:
            self.seen.lost.append(f"a request at {at} ended with {error!r}")
            return
        if status != 200:
            self.seen.lost.append(f"a request at {at} was answered with {status}: {body[:80]}")
            return
        answer = json.loads(body)
        self.seen.visits.append(Sample(answer["at"], answer["at"], answer["release"]))

    def _follow_engine(self) -> None:
        labels = [f"lockstep.instance={self.instance.name}", f"lockstep.app={self.app}", "lockstep.kind=worker"]
        with closing(UnixConnection(self.docker.socket, None)) as connection:
            filters = {"type": ["container"], "event": ["start", "die"], "label": labels}
            connection.request("GET", f"/v1.41/events{_query({'filters': filters})}")
            answer = connection.getresponse()
            self._note_running(labels)
            self._live.set()
            while line := answer.readline():
                self._note_event(json.loads(line))

    def _note_running(self, labels: list[str]) -> None:
        for item in self.docker.labelled("containers/json", *labels):
            release = int(item["Labels"]["lockstep.release"])
            self.seen.workers.setdefault(item["Id"], Life(release, item["Id"], item["Created"] * 1_000_000_000))

    def _note_event(self, event: dict[str, Any]) -> None:
        container, at = event["Actor"]["ID"], event["timeNano"]
        if event["Action"] == "start":
            release = int(event["Actor"]["Attributes"]["lockstep.release"])
            self.seen.workers[container] = Life(release, container, at)
        elif (life := self.seen.workers.get(container)) is not None:
            self.seen.workers[container] = Life(life.release, container, life.began, at)


# ---- single looks, also for tests ------------------------------------------------------------------------------


@contextmanager
def store_of(instance: Instance) -> Iterator[sqlite3.Connection]:
    """The instance's database, to read only."""
    with closing(sqlite3.connect(f"file:{instance.home / 'lockstep.db'}?mode=ro", uri=True, timeout=10)) as store:
        yield store


def admin(instance: Instance, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One request to the router's admin socket."""
    with closing(UnixConnection(str(instance.home / "run" / "router" / "admin.sock"))) as connection:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.strip() else None


def link_of(instance: Instance, app: str) -> Path:
    """What the router looks at for every request of the app."""
    return instance.home / "run" / "router" / "live" / app


def route_release(instance: Instance, app: str) -> int | None:
    """The release that the router sends requests of the app to."""
    try:
        target = link_of(instance, app).readlink().name
    except FileNotFoundError:
        return None
    return int(target.rpartition("-v")[2].partition("-")[0].partition("@")[0])


def record_of(instance: Instance, app: str) -> list[dict[str, Any]]:
    """What the chaos app's processes noted about their lives."""
    return [json.loads(line) for line in instance.get(app, "/record")[1].splitlines()]


def current_release(instance: Instance, app: str) -> int | None:
    with store_of(instance) as store:
        row = store.execute("select current_release from apps where name = ?", (app,)).fetchone()
    return None if row is None else row[0]


def events_of(instance: Instance, app: str | None = None) -> list[dict[str, Any]]:
    """The rows of the store's events, newest first; `app` None: all of them."""
    query = "select id, app, who, action, detail, result from events where ?1 is null or app = ?1 order by id desc"
    with store_of(instance) as store:
        store.row_factory = sqlite3.Row
        return [dict(row) for row in store.execute(query, (app,))]


def unsettled(
    instance: Instance, app: str, processes: dict[str, int], docker: Docker | None = None, *, ended: bool = False
) -> list[str]:
    """What keeps the app from being exactly its live release, with `processes` (name -> replicas), and no leftovers.

    Swarm takes the ended containers of a removed service away some seconds later: they count with `ended`.
    """
    docker = docker or Docker()
    labels = (f"lockstep.instance={instance.name}", f"lockstep.app={app}")
    current = current_release(instance, app)
    wrong = [f"row: {line}" for line in _unsettled_rows(instance, app)]
    if (route := route_release(instance, app)) != current:
        wrong.append(f"the route is v{route} and the row v{current}")
    services = {
        (spec["Labels"]["lockstep.process"], int(spec["Labels"]["lockstep.release"])): spec["Mode"]["Replicated"]
        for spec in (item["Spec"] for item in docker.labelled("services", *labels))
    }
    found = {key: int(mode.get("Replicas", 0)) for key, mode in services.items()}
    if found != (wanted := {(name, current): replicas for name, replicas in processes.items()}):
        wrong.append(f"services are {found} and should be {wanted}")
    running: dict[tuple[str, int | None], int] = {}
    for item in docker.labelled("containers/json", *labels, all=True):
        marks = item["Labels"]
        key = (marks["lockstep.process"], int(marks["lockstep.release"]))
        running[key] = running.get(key, 0) + (item["State"] == "running")
        of_swarm = "com.docker.swarm.service.id" in marks
        if item["State"] != "running" and key not in wanted and (ended or not of_swarm):
            wrong.append(f"the container {item['Names'][0]} of {key} is left over, {item['State']}")
    if {key: number for key, number in running.items() if number} != wanted:
        wrong.append(f"containers run as {running} and should as {wanted}")
    networks = [item["Name"] for item in docker.labelled("networks", *labels)]
    if len(networks) != 1:
        wrong.append(f"the networks are {networks}")
    return wrong


def until_settled(
    instance: Instance,
    app: str,
    processes: dict[str, int],
    docker: Docker | None = None,
    *,
    ended: bool = False,
    seconds: float = 10,
) -> None:
    """Wait until the app is exactly its live release."""
    deadline = time.monotonic() + seconds
    while wrong := unsettled(instance, app, processes, docker, ended=ended):
        assert time.monotonic() < deadline, wrong
        time.sleep(PAUSE)


def _unsettled_rows(instance: Instance, app: str) -> Iterator[str]:
    with store_of(instance) as store:
        [(held,)] = store.execute("select held_by from apps where name = ?", (app,)).fetchall()
        ended = "('live', 'failed', 'cancelled')"
        query = f"select id, state from deploys where app = ? and state not in {ended}"  # noqa: S608 - a constant
        unfinished = store.execute(query, (app,)).fetchall()
    if held is not None:
        yield f"held by deploy {held}"
    for number, state in unfinished:
        yield f"deploy {number} is still in {state}"


def lives_overlap(record: list[dict[str, Any]]) -> list[str]:
    """Where a worker of one release noted its start before one of another had noted its stop."""
    open_lives: dict[str, int] = {}
    wrong = []
    for line in sorted((line for line in record if line["process"] != "web"), key=lambda line: int(line["at"])):
        if line["event"] == "stop":
            open_lives.pop(line["host"], None)
            continue
        others = {release for release in open_lives.values() if release != line["release"]}
        if others:
            wrong.append(f"a worker of v{line['release']} started at {line['at']} while workers of {others} ran")
        open_lives[line["host"]] = line["release"]
    return wrong


APP: Final = Path(__file__).with_name("app")
