"""What a foreign hand does to an app, to the router or to Redis is put right, and each time a row says so.

What the engine tells of is put right within seconds; the rest when the reconciler looks by itself, every 30 s.
"""

from __future__ import annotations

import re
import socket
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scripts.driver import Done, Instance, Work, until
from tests.chaos.observer import (
    Docker,
    admin,
    current_release,
    events_of,
    link_of,
    route_release,
    unsettled,
    until_settled,
)

pytestmark = pytest.mark.engine

APP = "mend"
PROCESSES = {"web": 1, "plodder": 1}
SOON = 15.0  # seconds, for what the engine tells of
AT_LENGTH = 35.0  # seconds, for what it does not


@pytest.fixture(scope="module")
def docker() -> Docker:
    return Docker()


@pytest.fixture(scope="module")
def live(instance: Instance, work: Work) -> Work:
    manifest = work.path / ".paas" / "app.yaml"
    work.write({".paas/app.yaml": manifest.read_text() + "redis: true\n"})
    work.commit()
    done = instance.push(work, APP)
    assert done.code == 0, done.err
    return work


@pytest.fixture(autouse=True)
def settled(instance: Instance, live: Work) -> None:
    until_settled(instance, APP, PROCESSES)


class Mending:
    """Event rows of the reconciler since a moment."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._before = {row["id"] for row in events_of(instance)}

    def rows(self) -> list[dict[str, Any]]:
        new = [row for row in events_of(self._instance) if row["id"] not in self._before]
        return [row for row in new if row["who"] == "reconciler"]

    def told(self, pattern: str) -> bool:
        return any(row["result"] == "ok" and re.search(pattern, row["detail"]) for row in self.rows())

    def until_told(self, pattern: str, seconds: float) -> None:
        until(lambda: self.told(pattern), f"a row of the reconciler like '{pattern}'", seconds)


@pytest.fixture
def mending(instance: Instance, settled: None) -> Mending:
    return Mending(instance)


def service(instance: Instance, docker: Docker, process: str) -> dict[str, Any]:
    labels = (f"lockstep.instance={instance.name}", f"lockstep.app={APP}", f"lockstep.process={process}")
    [found] = docker.labelled("services", *labels)
    return found


def change_service(docker: Docker, found: dict[str, Any], **spec: Any) -> None:
    version = found["Version"]["Index"]
    docker.call("POST", f"/services/{found['ID']}/update", {**found["Spec"], **spec}, version=version)


def platform(instance: Instance, part: str) -> str:
    return f"{instance.name}-{part}"


@pytest.mark.parametrize("process", PROCESSES)
def test_a_service_that_was_removed_is_made_again(
    instance: Instance, docker: Docker, mending: Mending, process: str
) -> None:
    docker.call("DELETE", f"/services/{service(instance, docker, process)['ID']}")
    mending.until_told(f"made .*{process}", SOON)
    until_settled(instance, APP, PROCESSES)
    until(lambda: instance.get(APP)[0] == 200, "an answer", SOON)


@pytest.mark.parametrize("replicas", [0, 3])
def test_a_worker_that_was_scaled_is_scaled_back(
    instance: Instance, docker: Docker, mending: Mending, replicas: int
) -> None:
    change_service(docker, service(instance, docker, "plodder"), Mode={"Replicated": {"Replicas": replicas}})
    mending.until_told(f"scaled .*plodder.* from {replicas} to 1", SOON)
    until_settled(instance, APP, PROCESSES)


def test_a_service_that_was_changed_is_what_its_release_says_again(
    instance: Instance, docker: Docker, mending: Mending
) -> None:
    found = service(instance, docker, "plodder")
    template = found["Spec"]["TaskTemplate"]
    container = {**template["ContainerSpec"], "Env": [*template["ContainerSpec"]["Env"], "FOREIGN=1"]}
    change_service(docker, found, TaskTemplate={**template, "ContainerSpec": container})
    mending.until_told("made .*plodder.* again", SOON)
    env = service(instance, docker, "plodder")["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"]
    assert "FOREIGN=1" not in env
    until_settled(instance, APP, PROCESSES)


def test_a_worker_of_no_release_of_ours_is_stopped(instance: Instance, docker: Docker, mending: Mending) -> None:
    spec = service(instance, docker, "plodder")["Spec"]
    labels = {**spec["Labels"], "lockstep.release": "999"}
    template = {**spec["TaskTemplate"], "ContainerSpec": {**spec["TaskTemplate"]["ContainerSpec"], "Labels": labels}}
    docker.call(
        "POST", "/services/create", {**spec, "Name": "x" + spec["Name"], "Labels": labels, "TaskTemplate": template}
    )
    mending.until_told("removed x", SOON)
    until_settled(instance, APP, PROCESSES)


@pytest.mark.parametrize("remove", [False, True])
def test_the_router_comes_back_with_its_routes(
    instance: Instance, docker: Docker, mending: Mending, remove: bool
) -> None:
    path = f"/containers/{platform(instance, 'router')}"
    docker.call("DELETE", path, force=True) if remove else docker.call("POST", f"{path}/kill")
    mending.until_told("started the router", SOON)
    until(lambda: answers(instance), "an answer through the new router", SOON)
    until_settled(instance, APP, PROCESSES)


def test_the_shared_redis_comes_back_with_its_users(instance: Instance, docker: Docker, mending: Mending) -> None:
    docker.call("DELETE", f"/containers/{platform(instance, 'redis')}", force=True)
    mending.until_told("started the shared redis", SOON)
    until(lambda: redis_lets_in(instance, docker), "the app's user in Redis", SOON)
    network = platform(instance, APP)
    until(lambda: platform(instance, "redis") in on_network(docker, network), "Redis on the app's network", SOON)


def test_what_the_engine_does_not_tell_of_is_put_right_too(
    instance: Instance, docker: Docker, mending: Mending
) -> None:
    """All at once, since each takes until the reconciler looks by itself."""
    network, stranger = platform(instance, APP), platform(instance, "stranger")
    container = {"Image": "lockstep/run:latest", "Cmd": ["sleep", "600"], "HostConfig": {"NetworkMode": network}}
    docker.call("POST", "/containers/create", container, name=stranger)
    try:
        docker.call("POST", f"/containers/{stranger}/start")
        assert stranger in on_network(docker, network)
        assert admin(instance, "DELETE", f"/id/app-{APP}")[0] == 200
        point_elsewhere(link_of(instance, APP))
        forget_redis_users(instance, docker)
        assert not redis_lets_in(instance, docker)

        mending.until_told(f"detached the foreign container {stranger}", AT_LENGTH)
        assert stranger not in on_network(docker, network)
        mending.until_told(f"pointed {APP} to", AT_LENGTH)
        assert answers(instance)
        until(lambda: redis_lets_in(instance, docker), "the app's user in Redis", AT_LENGTH)
        mending.until_told(f"let {APP} in to the shared redis again", AT_LENGTH)
    finally:
        docker.call("DELETE", f"/containers/{stranger}", force=True)


def test_a_deploy_is_left_alone(instance: Instance, docker: Docker, live: Work, mending: Mending) -> None:
    """A slow start of the new web, in which the engine tells of a worker's end: the reconciler looks, and waits."""
    old = current_release(instance, APP)
    assert old is not None
    ended: list[Done] = []
    deploy = threading.Thread(target=lambda: ended.append(instance.ssh("config:set", APP, "START_DELAY=5")))
    deploy.start()
    labels = (f"lockstep.instance={instance.name}", f"lockstep.app={APP}", f"lockstep.release={old + 1}")
    until(lambda: docker.labelled("containers/json", *labels, "lockstep.kind=web"), "the staged web", SOON)
    [worker] = docker.labelled("containers/json", *labels[:2], "lockstep.kind=worker")
    docker.call("POST", f"/containers/{worker['Id']}/kill")
    deploy.join()
    assert [done.code for done in ended] == [0], ended
    assert current_release(instance, APP) == route_release(instance, APP) == old + 1
    assert unsettled(instance, APP, PROCESSES) == []
    touched = [row for row in mending.rows() if row["app"] == APP]
    assert not touched, touched


# ---- what breaks and what looks ------------------------------------------------------------------------------------


def answers(instance: Instance) -> bool:
    try:
        return instance.get(APP)[0] == 200
    except OSError:
        return False


def on_network(docker: Docker, network: str) -> set[str]:
    found = docker.call("GET", f"/networks/{network}")["Containers"].values()
    return {item["Name"] for item in found}


def point_elsewhere(link: Path) -> None:
    link.unlink()
    link.symlink_to("../targets/nowhere@80")


def redis(instance: Instance, *lines: str) -> list[str]:
    """The first line of each answer."""
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.connect(str(instance.home / "run" / "redis" / "redis.sock"))
        said = connection.makefile("rwb")
        answers = []
        for line in lines:
            said.write(line.encode() + b"\r\n")
            said.flush()
            answers.append(said.readline().decode().strip())
        said.close()
    return answers


def password_of(instance: Instance, docker: Docker) -> str:
    env = service(instance, docker, "web")["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"]
    [url] = [value for value in env if value.startswith("REDIS_URL=")]
    return str(url.partition(f"redis://{APP}:")[2].partition("@")[0])


def redis_lets_in(instance: Instance, docker: Docker) -> bool:
    try:
        return redis(instance, f"AUTH {APP} {password_of(instance, docker)}", f"EXISTS {APP}:x") == ["+OK", ":0"]
    except OSError:
        return False


def forget_redis_users(instance: Instance, docker: Docker) -> None:
    from runtime.secrets import Vault

    admin_password = Vault(instance.home / "secret.key").derive("redis")
    assert redis(instance, f"AUTH {admin_password}", f"ACL DELUSER {APP}") == ["+OK", ":1"]
