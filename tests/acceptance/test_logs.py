"""Logs on a real engine: they follow the app across releases, restarts and ends of the server, and have kinds."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from scripts.driver import Instance, Work, until
from tests.instances import new_instance

pytestmark = pytest.mark.engine

DEADLINE = 60.0
SERVING = "runtime: python\nstart: python3 -m http.server $PORT\n"
BUDGET = 2 * 2**20  # bytes, so that a burst spends it
MANIFEST = """
runtime: python
start: python3 web.py
workers:
  - name: counter
    start: python3 -u counter.py
cron:
  - name: tidy_up
    schedule: "0 3 1 1 *"
    command: echo tidied
"""
WEB = """
import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(404 if self.path.startswith("/missing") else 200)
        self.end_headers()
        self.wfile.write(b"hello")
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Page).serve_forever()
"""
COUNTER = """
import itertools, os, signal, sys, time
def end(*_):
    print("last words of", os.environ["LOCKSTEP_RELEASE"])
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
for number in itertools.count(1):
    print("count", os.environ["LOCKSTEP_RELEASE"], number)
    time.sleep(0.02)
"""
CRASHER = """
import time
print("about to crash")
time.sleep(4)
print("x" * 40000 + " the end of a long line")
time.sleep(0.3)  # the two streams come to the engine on ways of their own
raise SystemExit("these are my last words")
"""
BURST = """
import os, time
if "BURST" in os.environ:
    for number in range(100_000):
        print("burst", number, "x" * 90)
    print("burst is over")
while True:
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with new_instance("logs", LOCKSTEP_LOG_BUDGET=str(BUDGET)) as instance:
        yield instance


@pytest.fixture(scope="module")
def work(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """The app `shop`, live."""
    files = {".paas/app.yaml": MANIFEST, "web.py": WEB, "counter.py": COUNTER}
    work = Work.of_files(files, tmp_path_factory.mktemp("logs") / "work")
    push(instance, work)
    return work


def push(instance: Instance, work: Work, app: str = "shop") -> None:
    done = instance.push(work, app)
    assert done.code == 0, done.all


def lines(instance: Instance, *words: str, app: str = "shop") -> list[dict[str, Any]]:
    done = instance.ssh("logs", app, "-n", "10000", "-o", "json", *words)
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def counted(instance: Instance, release: str) -> list[int]:
    """What the counter of a release wrote, as the log has it."""
    pattern = re.compile(rf"count {release} ([0-9]+)")
    return [int(found[1]) for line in lines(instance, "-p", "counter") if (found := pattern.fullmatch(line["text"]))]


@contextmanager
def following(instance: Instance, path: Path, *words: str, app: str = "shop") -> Iterator[IO[str]]:
    """`logs -f` into a file, which is given open at its beginning."""
    command = [*instance.ssh_words(), "paas@127.0.0.1", "--", "logs", app, "-f", *words]
    with path.open("wb") as out, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out) as client:
        try:
            with path.open() as read:
                yield read
        finally:
            client.kill()


def until_it_says(file: IO[str], text: str) -> str:
    """All that was followed so far, as soon as it holds `text`."""
    seen: list[str] = []

    def look() -> bool:
        seen.append(file.read())
        return text in "".join(seen)

    until(look, f"'{text}' in what is followed", DEADLINE)
    return "".join(seen)


def test_form_of_a_line(instance: Instance, work: Work) -> None:
    until(lambda: counted(instance, "v1"), "the first count", DEADLINE)
    first, *_ = instance.ssh("logs", "shop", "-p", "counter").out.splitlines()
    assert re.fullmatch(r"[0-9-]{10}T[0-9:]{8}\.[0-9]{3}Z app\[counter\.1\]: count v1 [0-9]+", first)


def test_follower_sees_both_releases_of_a_deploy_in_order(instance: Instance, work: Work, tmp_path: Path) -> None:
    with following(instance, tmp_path / "out", "-n", "0", "-p", "counter") as out:
        seen = until_it_says(out, "count v1 ")
        work.commit()
        push(instance, work)
        seen += until_it_says(out, "count v2 5\n")
    told = [line.split("]: ")[1] for line in seen.splitlines()]
    old = [int(text.split()[2]) for text in told if text.startswith("count v1 ")]
    new = [int(text.split()[2]) for text in told if text.startswith("count v2 ")]
    assert old == list(range(old[0], old[0] + len(old)))
    assert new == list(range(1, len(new) + 1))
    assert told[len(old) : len(old) + 2] == ["last words of v1", "count v2 1"]


def test_lines_of_the_old_release_are_there_after_the_deploy(instance: Instance, work: Work) -> None:
    old = counted(instance, "v1")
    assert old == list(range(1, len(old) + 1))
    assert {line["release"] for line in lines(instance, "--release", "v1", "-t", "all")} <= {1, None}
    assert [line["text"] for line in lines(instance, "--release", "1")][-1] == "last words of v1"
    told = lines(instance, "--release", "1", "-t", "build,deploy")
    assert {line["kind"] for line in told} == {"build", "deploy"}
    assert any("shop v1 is live" in line["text"] for line in told)
    assert all(line["release"] == 2 for line in lines(instance, "--release", "2"))
    assert instance.ssh("logs", "shop", "--release", "99").code == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_end_of_the_server_loses_and_doubles_nothing(instance: Instance, work: Work, how: signal.Signals) -> None:
    before = counted(instance, "v2")[-1]
    instance.stop(how)
    instance.start()
    until(lambda: counted(instance, "v2")[-1] > before + 100, "the count to go on", DEADLINE)
    found = counted(instance, "v2")
    assert found == list(range(found[0], found[0] + len(found)))


def test_requests_have_a_line_without_their_query(instance: Instance, work: Work) -> None:
    assert instance.get("shop", "/missing/page?token=secret")[0] == 404
    assert instance.get("shop", "/?token=secret")[0] == 200
    until(lambda: len(lines(instance, "-t", "router")) >= 2, "the requests' lines", DEADLINE)
    told = [line["text"] for line in lines(instance, "-t", "router")][-2:]
    assert re.fullmatch(r"GET /missing/page 404 [0-9]+ms 5B", told[0])
    assert re.fullmatch(r"GET / 200 [0-9]+ms 5B", told[1])
    kept = b"".join(path.read_bytes() for path in (instance.home / "run" / "router").glob("access*.log"))
    assert b"/missing/page" in kept
    assert b"secret" not in kept


def test_requests_made_while_the_server_is_away_are_told_once(instance: Instance, work: Work) -> None:
    instance.stop(signal.SIGKILL)
    for number in range(5):
        assert instance.get("shop", f"/away/{number}")[0] == 200
    instance.start()

    def told() -> list[str]:
        return [line["text"].split()[1] for line in lines(instance, "-t", "router") if "/away/" in line["text"]]

    until(lambda: len(told()) >= 5, "their lines", DEADLINE)
    instance.stop()
    instance.start()
    assert told() == [f"/away/{number}" for number in range(5)]


def test_cron_runs_are_in_the_log(instance: Instance, work: Work) -> None:
    assert instance.ssh("cron:run", "shop", "tidy_up", "-f").code == 0
    until(lambda: lines(instance, "-t", "cron"), "the run's line", DEADLINE)
    assert [(line["process"], line["text"]) for line in lines(instance, "-t", "cron")] == [("tidy_up", "tidied")]


def test_since(instance: Instance, work: Work) -> None:
    moment = lines(instance, "-p", "counter")[-1]["at"]
    until(lambda: lines(instance, "-p", "counter")[-1]["at"] > moment, "a later line", DEADLINE)
    found = lines(instance, "-p", "counter", "--since", moment)
    assert found
    assert all(line["at"] >= moment for line in found)
    assert lines(instance, "-p", "counter", "--since", "1d")[0]["text"] == "count v1 1"
    assert lines(instance, "--since", "2999-01-01T00:00:00Z") == []


def test_last_words_of_a_worker_that_crashes(instance: Instance, tmp_path: Path) -> None:
    manifest = f"{SERVING}workers:\n  - name: crasher\n    start: python3 -u crasher.py\n"
    push(instance, Work.of_files({".paas/app.yaml": manifest, "crasher.py": CRASHER}, tmp_path / "work"), "crash")

    def ends() -> list[int]:
        texts = [line["text"] for line in lines(instance, "-p", "crasher", app="crash")]
        return [index for index, text in enumerate(texts) if text == "these are my last words"]

    until(lambda: len(ends()) >= 2, "two ends", DEADLINE)
    texts = [line["text"] for line in lines(instance, "-p", "crasher", app="crash")]
    assert texts[:3] == ["about to crash", "x" * 40000 + " the end of a long line", "these are my last words"]
    assert instance.ssh("apps:destroy", "crash", "--force").code == 0
    assert not (instance.home / "logs" / "apps" / "crash").exists()


def test_burst_stays_within_the_budget_and_slow_followers_alone(instance: Instance, tmp_path: Path) -> None:
    manifest = f"{SERVING}workers:\n  - name: burst\n    start: python3 -u burst.py\n"
    work = Work.of_files({".paas/app.yaml": manifest, "burst.py": BURST}, tmp_path / "work")
    push(instance, work, "burst")
    words = [*instance.ssh_words(), "paas@127.0.0.1", "--", "logs", "burst", "-f", "-n", "0"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as slow:  # whose output nobody reads
        with following(instance, tmp_path / "out", "-n", "0", app="burst") as out:
            assert instance.ssh("config:set", "burst", "BURST=yes").code == 0
            seen = until_it_says(out, "burst is over")
        slow.kill()
    assert re.search(r"app\[burst\.1\]: \([0-9]+ lines were dropped", seen)
    assert [line["text"] for line in lines(instance, "-p", "burst", app="burst")][-1] == "burst is over"
    size = sum(path.stat().st_size for path in (instance.home / "logs" / "apps" / "burst").iterdir())
    assert BUDGET // 2 < size <= BUDGET
