"""The router's requests: read from its files as it fills and renames them, given to their apps, each once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from runtime.logbook.access import LONGEST_PATH, AccessLog, read_request
from runtime.logbook.logbook import Logbook
from runtime.logbook.reading import newest
from runtime.model import MIB
from runtime.parts import Parts
from runtime.store import Store
from tests.unit.runtime import samples

MOMENT = "2026-01-02T04:00:00.{:09d}Z"


class Router:
    """Writes its file as the real one does, into the folder of an instance with the apps shop and blog."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.store = store
        self.settings = samples.settings(folder)
        self.folder = self.settings.router_run
        self.folder.mkdir(parents=True)
        self.logbook = Logbook(self.settings.logs, MIB)
        self.count = 0
        for app in ("shop", "blog"):
            with store.write() as tx:
                tx.apps.create(app, samples.NOW)
                tx.releases.add(samples.release(samples.web(), app=app))
                tx.apps.set_current(app, 1)

    def server(self) -> AccessLog:
        """A server that has just started."""
        none: Any = None
        self.logbook = Logbook(self.settings.logs, MIB)
        parts = Parts(self.settings, self.store, none, none, none, "", lambda: None, logbook=self.logbook)
        return AccessLog(parts)

    def serve(self, *hosts: str) -> None:
        with (self.folder / "access.log").open("a") as file:
            for host in hosts:
                self.count += 1
                file.write(line(f"/{self.count}", host=host, ts=MOMENT.format(self.count)) + "\n")

    def turn(self) -> None:
        (self.folder / "access.log").rename(self.folder / f"access-2026-01-02T04-00-{self.count:02d}.000.log")

    def paths(self, app: str) -> list[int]:
        entries = newest(self.logbook.of(app).extent(), lambda _: True, 10**6)
        return [int(entry.text.split()[1][1:]) for entry in entries]


def line(path: str, *, host: str = "shop.localhost", ts: str = MOMENT.format(0), **changes: Any) -> str:
    request = {"method": "GET", "host": host, "uri": path, **changes}
    return json.dumps(
        {"level": "info", "ts": ts, "msg": "handled request", "request": request}
        | {"duration": 0.0123, "size": 345, "status": 200}
    )


@pytest.fixture
def router(tmp_path: Path, store: Store) -> Router:
    return Router(tmp_path, store)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = samples.new_store(tmp_path)
    yield found
    found.close()


def take_all(log: AccessLog) -> None:
    while log.take():
        pass
    log.close()


def test_request_as_a_line() -> None:
    found = read_request(line("/a%20b?token=secret", host="Shop.LOCALHOST.:8080").encode())
    assert found is not None
    assert (found.host, found.text) == ("shop.localhost", "GET /a%20b 200 12ms 345B")
    entry = found.entry("1:2")
    assert str(entry) == "2026-01-02T04:00:00.000Z router[web]: GET /a%20b 200 12ms 345B"


def test_request_with_a_path_that_is_too_long_or_odd() -> None:
    found = read_request(line("/" + "x" * 5000, method="M" * 100).encode())
    assert found is not None
    assert len(found.text) < LONGEST_PATH + 60
    for odd in ("", "{", "[]", "null", '{"request":{}}', line("/").replace("200", '"x"')):
        assert read_request(odd.encode()) is None


def test_requests_go_to_their_apps(router: Router) -> None:
    log = router.server()
    assert not log.take()  # there is no file yet
    router.serve("shop.localhost", "blog.localhost:8080", "nobody.example.org", "shop.localhost")
    take_all(log)
    assert (router.paths("shop"), router.paths("blog")) == ([1, 4], [2])


def test_files_are_read_to_their_ends_when_the_router_begins_others(router: Router) -> None:
    log = router.server()
    router.serve("shop.localhost")
    assert log.take()
    for _ in range(3):
        router.serve("shop.localhost")
        router.turn()
        router.serve("shop.localhost")
    take_all(log)
    assert router.paths("shop") == list(range(1, 8))


def test_line_that_is_being_written_is_left_for_later(router: Router) -> None:
    log = router.server()
    router.serve("shop.localhost")
    whole = line("/2") + "\n"
    with (router.folder / "access.log").open("a") as file:
        file.write(whole[:50])
        file.flush()
        while log.take():
            pass
        assert router.paths("shop") == [1]
        file.write(whole[50:])
    take_all(log)
    assert sorted(router.paths("shop")) == [1, 2]


@pytest.mark.parametrize("turned", [False, True])
def test_next_server_goes_on_where_the_last_one_stopped(router: Router, turned: bool) -> None:
    router.serve("shop.localhost", "blog.localhost", "shop.localhost")
    take_all(router.server())
    router.serve("blog.localhost")
    if turned:
        router.turn()
    router.serve("shop.localhost", "blog.localhost")
    take_all(router.server())
    take_all(router.server())
    assert (router.paths("shop"), router.paths("blog")) == ([1, 3, 5], [2, 4, 6])


def test_server_that_died_between_two_apps_loses_and_doubles_nothing(router: Router) -> None:
    router.serve("shop.localhost", "blog.localhost", "shop.localhost", "blog.localhost")
    take_all(router.server())
    book = router.logbook.of("blog")
    kept = book.path(1).read_bytes().split(b"\n")
    book.path(1).write_bytes(b"\n".join(kept[:2]) + b"\n")  # its second line never got there
    take_all(router.server())
    assert (router.paths("shop"), router.paths("blog")) == ([1, 3], [2, 4])


def test_server_that_was_away_for_longer_than_the_files_reach_goes_on_with_what_there_is(router: Router) -> None:
    router.serve("shop.localhost")
    take_all(router.server())
    (router.folder / "access.log").unlink()
    router.serve("shop.localhost", "shop.localhost")
    take_all(router.server())
    assert router.paths("shop") == [1, 2, 3]


def test_requests_to_an_earlier_app_of_the_name_are_not_the_new_ones(router: Router, store: Store) -> None:
    router.serve("shop.localhost")
    with store.write() as tx:
        tx.apps.set_current("shop", None)
        tx.apps.remove("shop")
        tx.apps.create("shop", samples.NOW + timedelta(hours=2))
        tx.releases.add(samples.release(samples.web()))
        tx.apps.set_current("shop", 1)
    take_all(router.server())
    assert router.paths("shop") == []
