"""Renaming an app that is live: nothing of it is started anew, all that it has goes along, its old name is free."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.secrets import Vault
from runtime.settings import load_settings
from runtime.store import Store
from scripts.driver import Instance, Work, until
from tests.chaos.visitors import Visitors
from tests.instances import new_instance

pytestmark = pytest.mark.engine

DEADLINE = 60.0
RATE = 40.0  # requests a second
MANIFEST = """
runtime: python
start: python3 web.py
redis: true
persist: [notes]
workers:
  - name: counter
    start: python3 -u counter.py
cron:
  - name: tidy_up
    schedule: "0 3 1 1 *"
    command: echo tidied
"""
WEB = """
import http.server, json, os, pathlib, time
pathlib.Path("notes/first").touch()
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        said = {name: os.environ[f"LOCKSTEP_{name.upper()}"] for name in ("app", "release")}
        body = json.dumps({**said, "at": time.time()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Page).serve_forever()
"""
COUNTER = """
import os, signal, time
from redis import Redis
redis, stopping = Redis.from_url(os.environ["REDIS_URL"]), []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
while not stopping:
    print("count", redis.incr(os.environ["LOCKSTEP_REDIS_PREFIX"] + "count"))
    time.sleep(0.05)
"""
FILES = {".paas/app.yaml": MANIFEST, "web.py": WEB, "counter.py": COUNTER, "requirements.txt": "redis==5.0.8\n"}


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with new_instance("rename", LOCKSTEP_SETTLE="0.3") as instance:
        yield instance


@pytest.fixture(scope="module")
def work(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """The app `shop`, live."""
    work = Work.of_files(FILES, tmp_path_factory.mktemp("rename") / "work")
    done = instance.push(work, "shop")
    assert done.code == 0, done.all
    return work


def containers(instance: Instance) -> set[str]:
    """Those of the processes of all apps."""
    words = ["docker", "ps", "-q", "--filter", f"label=lockstep.instance={instance.name}"]
    words += ["--filter", "label=lockstep.app"]
    return set(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split())


def answer(instance: Instance, host: str) -> tuple[str, str]:
    """What the web that answers there has as the name of its app and as its release."""
    said = json.loads(instance.get(host)[1])
    return said["app"], said["release"]


@contextmanager
def following(instance: Instance, path: Path) -> Iterator[None]:
    """`logs -f` of the counter, into a file."""
    command = [*instance.ssh_words(), "paas@127.0.0.1", "--", "logs", "shop", "-f", "-n", "0", "-p", "counter"]
    with path.open("wb") as file, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file) as client:
        try:
            yield
        finally:
            client.kill()


def counted(instance: Instance, app: str) -> list[int]:
    """What the counter wrote, as the log has it."""
    done = instance.ssh("logs", app, "-n", "10000", "-p", "counter")
    assert done.code == 0, done.err
    return [int(found) for found in re.findall(r"\]: count ([0-9]+)$", done.out, re.MULTILINE)]


def test_a_name_that_is_not_free_or_an_app_that_is_busy_changes_nothing(instance: Instance, work: Work) -> None:
    assert instance.ssh("apps:create", "taken").code == 0
    for new, code, sentence in (
        ("taken", 1, "there is an app 'taken' already: choose another name\n"),
        ("shop", 2, "shop has that name already: give another\n"),
        ("Big", 2, "'Big' is not an app name"),
    ):
        done = instance.ssh("apps:rename", "shop", new)
        assert (done.code, sentence in done.err) == (code, True), done.err
    assert instance.ssh("run:detached", "shop", "sleep", "600").code == 0
    done = instance.ssh("apps:rename", "shop", "store")
    assert done.code == 1
    assert (
        done.err == "lockstep: run.1 of shop is under way: wait for its end or 'run:stop shop run.1', then rename it\n"
    )
    assert instance.ssh("run:stop", "shop", "run.1").code == 0
    assert answer(instance, "shop") == ("shop", "v1")
    assert instance.get("store")[0] == 404


def test_rename_touches_no_process_and_loses_no_request(instance: Instance, work: Work, tmp_path: Path) -> None:
    until(lambda: counted(instance, "shop"), "the first count", DEADLINE)
    before = containers(instance)
    out = tmp_path / "followed"
    with following(instance, out):
        until(lambda: out.read_text().count("count") > 5, "lines of the follower", DEADLINE)
        with Visitors(instance.http_port, "shop.localhost", RATE).visiting() as score:
            until(lambda: len(score.answers) > 20, "the first answers", DEADLINE)
            done = instance.ssh("apps:rename", "shop", "store", "--keep-address")
            seen, read = len(score.answers), out.read_text().count("count")
            until(lambda: len(score.answers) > seen + 20, "answers after it", DEADLINE)
        until(lambda: out.read_text().count("count") > read + 50, "the follower to go on", DEADLINE)
    assert done.code == 0, done.all
    assert score.lost == []
    assert containers(instance) == before
    assert answer(instance, "store") == answer(instance, "shop") == ("shop", "v1")
    found = [int(number) for number in re.findall(r"count ([0-9]+)\n", out.read_text())]
    assert found == list(range(found[0], found[0] + len(found)))
    assert instance.ssh("ps", "shop").code == 20


def test_all_that_it_has_and_was_is_there_under_the_new_name(instance: Instance, work: Work) -> None:
    found = counted(instance, "store")
    assert found == list(range(1, len(found) + 1))
    assert [row["release"] for row in instance.json("releases", "store")] == ["v1"]
    assert "shop v1 is live" in instance.ssh("deploys:log", "store", "1").out
    assert [row["run"] for row in instance.json("run:list", "store")] == ["run.1"]
    assert instance.ssh("cron:run", "store", "tidy_up", "-f").out.endswith("tidied\n")
    assert {row["process"]: row["state"] for row in instance.json("ps", "store")} == {
        "web.1": "running",
        "counter.1": "running",
    }
    events = [(row["what"], row["detail"]) for row in instance.json("events", "store")]
    assert ("apps:rename", "shop store") in events
    assert "git-push" in {action for action, _ in events}
    info = instance.json("redis:info", "store")
    assert (info["user"], info["prefix"], info["let_in"], info["keys"]) == ("shop", "shop:", "yes", 1)
    assert info["connections"] >= 1


def test_processes_take_the_new_name_with_the_next_release(instance: Instance, work: Work) -> None:
    assert instance.ssh("run", "store", "printenv", "LOCKSTEP_APP").out == "shop\n"
    assert instance.ssh("ps:restart", "store").code == 0
    assert answer(instance, "store") == ("store", "v2")
    assert instance.ssh("run", "store", "ls", "notes").out == "first\n"
    work.commit()
    done = instance.push(work, "store")
    assert done.code == 0, done.all
    assert answer(instance, "store") == ("store", "v3")
    until(lambda: counted(instance, "store")[-1] > 10, "the count to go on", DEADLINE)
    found = counted(instance, "store")
    assert found == list(range(1, len(found) + 1))
    assert instance.ssh("rollback", "store", "v1").code == 0
    assert answer(instance, "store") == ("store", "v4")


def test_a_new_app_of_the_old_name_has_nothing_of_it(instance: Instance, work: Work) -> None:
    assert "shop.localhost is in use by another app" in instance.ssh("apps:create", "shop").err
    assert instance.ssh("domains:remove", "store", "shop.localhost").code == 0
    assert instance.get("shop")[0] == 404
    done = instance.push(work, "shop")
    assert done.code == 0, done.all
    assert answer(instance, "shop") == ("shop", "v1")
    assert answer(instance, "store") == ("store", "v4")
    until(lambda: counted(instance, "shop"), "the first count", DEADLINE)
    assert counted(instance, "shop")[0] == 1
    assert instance.json("redis:info", "shop")["prefix"] == "shop-2:"
    assert [row["release"] for row in instance.json("releases", "shop")] == ["v1"]
    assert instance.ssh("apps:destroy", "shop", "--force").code == 0
    assert answer(instance, "store") == ("store", "v4")
    assert {row["state"] for row in instance.json("ps", "store")} == {"running"}
    assert instance.ssh("run", "store", "ls", "notes").out == "first\n"


def test_a_server_that_ended_before_the_folders_were_moved_moves_them(instance: Instance, work: Work) -> None:
    before, there = counted(instance, "store"), containers(instance)
    instance.stop()
    settings = load_settings(instance.home)
    store = Store(settings.database, Vault(settings.secret_key))
    with store.write() as tx:
        tx.apps.rename("store", "market")
    store.close()
    instance.start()
    assert counted(instance, "market")[: len(before)] == before
    assert containers(instance) == there
    assert answer(instance, "market") == ("store", "v4")
    work.commit()
    done = instance.push(work, "market")
    assert done.code == 0, done.all
    assert answer(instance, "market") == ("market", "v5")
    assert instance.lockstep("doctor").code == 0
    assert instance.ssh("apps:rename", "market", "shop").code == 0
    assert instance.json("apps:info", "shop")["handle"] == "shop"
