"""Failures reach the address in the manifest: a real receiver, a real server that is restarted between tries."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scripts.driver import Instance, Work, until
from tests.instances import new_instance

pytestmark = pytest.mark.engine

MANIFEST = """\
runtime: static
notify: {{on_failure: "http://127.0.0.1:{port}/{path}"}}
cron:
  - {{name: failing, schedule: "0 0 1 1 *", command: "echo out; echo complaint >&2; exit 3"}}
  - name: endless
    schedule: "0 0 1 1 *"
    command: trap '' TERM; echo begin; while [ ! -e /tmp/stop ]; do sleep 0.1; done; echo stopped
    timeout: 1
    stop: touch /tmp/stop
  - name: long
    schedule: "0 0 1 1 *"
    command: echo begun; exec sleep 300
    blocks_deploy: true
"""


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what is posted to it; answers with what stands in `answers`, else 204."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[int] = []
        self.posted: list[tuple[str, dict[str, Any]]] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def of(self, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        return [body for _, body in self.posted if wanted(body)]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, json.loads(body)))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        yield receiver
        receiver.shutdown()


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with new_instance("alert", LOCKSTEP_ALERTS_TO_HOST="true") as instance:
        yield instance


@pytest.fixture(scope="module")
def work(instance: Instance, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """The app `shop`, live."""
    files = {".paas/app.yaml": MANIFEST.format(port=receiver.port, path="live"), "index.html": "hello"}
    work = Work.of_files(files, tmp_path_factory.mktemp("alerts") / "work")
    done = instance.push(work, "shop")
    assert done.code == 0, done.err
    assert "notify" not in done.err
    return work


def run_of(instance: Instance, job: str) -> int:
    """The number of a run that is started now."""
    done = instance.ssh("cron:run", "shop", job)
    assert done.code == 0, done.all
    return int(done.out.split()[1])


def row_of(instance: Instance, key: str, number: int) -> dict[str, Any]:
    return next(row for row in instance.json("alerts", "shop") if row[key] == number)


def test_a_failed_job_is_told_of_until_that_is_taken_also_by_a_server_that_was_restarted(
    instance: Instance, receiver: Receiver, work: Work
) -> None:
    receiver.answers = [500, 500]
    number = run_of(instance, "failing")
    until(lambda: len(receiver.of(lambda body: body["run_id"] == number)) >= 2, "the second try", 60)
    instance.stop()
    instance.start()
    until(lambda: len(receiver.of(lambda body: body["run_id"] == number)) >= 3, "the third try", 60)
    first, *_, last = receiver.of(lambda body: body["run_id"] == number)
    assert first == last
    assert (last["kind"], last["app"], last["job"], last["status"]) == ("run", "shop", "failing", "failed")
    assert (last["error"], last["exit_code"], last["deploy_id"]) == ("exited with 3", 3, None)
    assert sorted(last["log_tail"].splitlines()) == ["complaint", "out"]
    until(lambda: row_of(instance, "run", number)["told"] == "delivered", "the record of it", 10)
    tries = row_of(instance, "run", number)["tries"]
    assert [one["status"] for one in tries] == [500, 500, 204]
    assert [one["error"] for one in tries] == ["answered 500", "answered 500", None]


def test_a_job_that_times_out_is_told_of(instance: Instance, receiver: Receiver, work: Work) -> None:
    number = run_of(instance, "endless")
    until(lambda: receiver.of(lambda body: body["run_id"] == number), "the alert", 60)
    (body,) = receiver.of(lambda body: body["run_id"] == number)
    assert (body["status"], body["error"]) == ("timed out", "did not end within 1 s")
    assert body["log_tail"] == "begin\nstopped"


def test_a_deploy_waits_for_a_run_that_blocks_it(instance: Instance, receiver: Receiver, work: Work) -> None:
    number = run_of(instance, "long")
    until(lambda: "begun" in instance.ssh("cron:logs", "shop", str(number)).out, "the run's start", 30)
    work.write({"index.html": "hello again"})
    work.commit()
    words = ["git", "-C", str(work.path), "push", instance.url("shop"), "main"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, env={**os.environ, **instance.git_environment()}) as push:
        assert push.stderr is not None
        said = b""
        while f"Waiting for cron run {number} of long to end".encode() not in said:
            line = push.stderr.readline()
            assert line, said
            said += line
        assert instance.get("shop")[1] == "hello"
        assert "held by deploy" in instance.ssh("cron", "shop").out
        assert instance.ssh("cron:cancel", "shop", str(number)).code == 0
        said += push.stderr.read()
        assert push.wait() == 0, said
        assert b"wait for cron runs " in said
    assert instance.get("shop")[1] == "hello again"
    assert instance.json("cron:history", "shop", "long")[0]["state"] == "cancelled"


def test_a_failed_deploy_is_told_to_the_address_of_its_own_commit(
    instance: Instance, receiver: Receiver, work: Work
) -> None:
    manifest = MANIFEST.format(port=receiver.port, path="next")
    manifest = manifest.replace("runtime: static", "runtime: dockerfile\ndockerfile: Broken")
    work.write({".paas/app.yaml": manifest, "Broken": "FROM scratch\nRUN nothing\n"})
    work.commit()
    assert instance.push(work, "shop").code == 1
    (deploy, *_) = instance.json("deploys", "shop")
    until(lambda: receiver.of(lambda body: body["deploy_id"] == deploy["deploy"]), "the alert", 30)
    ((path, body),) = [(path, body) for path, body in receiver.posted if body["deploy_id"] is not None]
    assert path == "/next"
    assert (body["kind"], body["app"], body["status"], body["job"]) == ("deploy", "shop", "failed", None)
    assert body["error"] == deploy["error"]
    assert "build failed" in body["log_tail"]
    until(lambda: row_of(instance, "deploy", deploy["deploy"])["told"] == "delivered", "the record of it", 10)


def test_each_was_told_of_once(instance: Instance, receiver: Receiver, work: Work) -> None:
    """A run that was cancelled and deploys that went live are not told of."""
    kinds = [row["kind"] for row in instance.json("alerts")]
    assert kinds == ["deploy", "run", "run"]
    assert len({body["alert_id"] for _, body in receiver.posted}) == 3
