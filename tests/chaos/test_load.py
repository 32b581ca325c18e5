"""Visitors lose nothing: requests at a steady rate through deploys, config changes, rollbacks, killed replicas."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import closing
from io import BufferedRWPair

import pytest

from scripts.driver import Instance, Work, until
from tests.chaos.conftest import change
from tests.chaos.observer import Docker, Observer, current_release, route_release, until_settled
from tests.chaos.visitors import Visitors

pytestmark = pytest.mark.engine

APP = "load"
PROCESSES = {"web": 2, "plodder": 1}
RATE = 60.0  # requests a second
DEPLOYS = 20
UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
MANIFEST = """\
size: micro
replicas: 2
port: 8000
healthProbe:
  httpGet:
    path: /
workerJobs:
  - name: plodder
    command: python3 main.py worker
"""


@pytest.fixture(scope="module")
def live(instance: Instance, work: Work) -> Work:
    """The chaos app with two replicas of web, which the Deploio dialect has."""
    (work.path / ".paas" / "app.yaml").unlink()
    work.write({".deploio.yaml": MANIFEST, "Procfile": "web: python3 main.py web\n"})
    work.commit()
    done = instance.push(work, APP)
    assert done.code == 0, done.err
    return work


@pytest.fixture
def visitors(instance: Instance) -> Visitors:
    return Visitors(instance.http_port, f"{APP}.localhost", RATE)


def deploy(instance: Instance, work: Work, number: int) -> None:
    """Code, config and a rollback in turns."""
    match number % 3:
        case 0:
            change(work)
            done = instance.push(work, APP)
        case 1:
            done = instance.ssh("config:set", APP, f"NUMBER={number}")
        case _:
            done = instance.ssh("rollback", APP)
    assert done.code == 0, done.all


def kill_a_replica(instance: Instance, docker: Docker) -> None:
    """SIGKILL one replica of the web that the router sends requests to."""
    labels = (f"lockstep.instance={instance.name}", f"lockstep.app={APP}", "lockstep.process=web")
    release = f"lockstep.release={route_release(instance, APP)}"
    [victim, *_] = docker.labelled("containers/json", *labels, release)
    docker.call("POST", f"/containers/{victim['Id']}/kill", signal="SIGKILL")


def test_no_request_is_lost_in_deploys_and_when_replicas_are_killed(
    instance: Instance, live: Work, visitors: Visitors, capsys: pytest.CaptureFixture[str]
) -> None:
    docker = Docker()
    observer = Observer(instance, APP)
    try:
        with visitors.visiting() as score, observer.watching():
            for number in range(DEPLOYS):
                killer = threading.Timer(0.2, kill_a_replica, (instance, docker))
                if number % 4 == 3:
                    killer.start()
                deploy(instance, live, number)
                killer.cancel()
                if number % 4 == 1:
                    kill_a_replica(instance, docker)
            until_settled(instance, APP, PROCESSES)
    finally:
        with capsys.disabled():
            print(f"\n{DEPLOYS} deploys: {score.summary()}")  # noqa: T201 - the figure is the test's second result
    assert score.lost == []
    assert len({answer.release for answer in score.answers}) == DEPLOYS + 1


def test_an_answer_that_takes_its_time_ends_on_the_release_that_began_it(instance: Instance, live: Work) -> None:
    old = current_release(instance, APP)
    with closing(http.client.HTTPConnection("127.0.0.1", instance.http_port, timeout=30)) as connection:
        connection.request("GET", "/slow?seconds=5", headers={"Host": f"{APP}.localhost"})
        answer = connection.getresponse()
        assert answer.read(3)
        assert instance.ssh("config:set", APP, "SLOW=1").code == 0
        assert current_release(instance, APP) != old
        rest = answer.read().split()
    assert rest[-1] == b"done"
    assert set(rest[1:-1]) == {f"v{old}".encode()}
    until_settled(instance, APP, PROCESSES)


def test_a_websocket_lives_on_with_the_release_that_opened_it(instance: Instance, live: Work) -> None:
    """The deploy waits for its end, for as long as the old web's grace; new requests go to the new web meanwhile."""
    old = current_release(instance, APP)
    visitor = socket.create_connection(("127.0.0.1", instance.http_port), timeout=30)
    with closing(visitor), closing(visitor.makefile("rwb")) as lines:
        lines.write(f"GET /socket HTTP/1.1\r\nHost: {APP}.localhost\r\n{UPGRADE}\r\n".encode())
        lines.flush()
        assert b" 101 " in lines.readline()
        while lines.readline().strip():
            pass
        assert said_back(lines, b"before\n") == f"v{old} before\n".encode()
        deploy = threading.Thread(target=instance.ssh, args=("config:set", APP, "SOCKET=1"))
        deploy.start()
        until(lambda: route_release(instance, APP) != old, "the switch", 60)
        assert said_back(lines, b"after\n") == f"v{old} after\n".encode()
        assert json.loads(instance.get(APP)[1])["release"] != old
    deploy.join()
    until_settled(instance, APP, PROCESSES)


def said_back(lines: BufferedRWPair, text: bytes) -> bytes:
    lines.write(text)
    lines.flush()
    return lines.readline()
