"""A lost swarm: the server refuses to start, `recover` brings every app back as it was, and pushes work again.

On a Docker engine of the test's own, in a network namespace of its own; the server is an ordinary one beside it.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from scripts.driver import LOCKSTEP, Done, DriverError, Instance, Work, run, until
from tests.chaos.conftest import change, chaos_instance
from tests.chaos.networked_engine import NetworkedEngine, networked_engine
from tests.chaos.observer import APP as FILES
from tests.chaos.observer import Docker, current_release, events_of, until_settled

pytestmark = pytest.mark.engine

SHOP, BLOG = "shop", "blog"
PROCESSES = {"web": 1, "plodder": 2}
MORE = """
redis: true
cron:
  - name: tick
    schedule: "0 0 1 1 *"
    command: echo tick of $LOCKSTEP_RELEASE
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[NetworkedEngine]:
    with networked_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def instance(engine: NetworkedEngine) -> Iterator[Instance]:
    with chaos_instance(LOCKSTEP_ENGINE=engine.host) as instance:
        yield instance


@pytest.fixture(scope="module")
def docker(engine: NetworkedEngine) -> Docker:
    return Docker(engine.host)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """The chaos app with Redis and a cron job."""
    path = tmp_path_factory.mktemp("recover") / "work"
    shutil.copytree(FILES, path)
    manifest = path / ".paas" / "app.yaml"
    manifest.write_text(manifest.read_text() + MORE)
    return Work.init(path)


@pytest.fixture(scope="module")
def live(instance: Instance, work: Work) -> Work:
    """Two apps, the first with a config value and a worker more than its manifest asks for."""
    for app in (SHOP, BLOG):
        done = instance.push(work, app)
        assert done.code == 0, done.err
    assert instance.ssh("config:set", SHOP, "GREETING=hello").code == 0
    assert instance.ssh("ps:scale", SHOP, "plodder=2").code == 0
    return work


def recover(instance: Instance, engine: NetworkedEngine, *words: str) -> Done:
    """`lockstep recover` where the engine's published ports are, as on any machine."""
    inside = ["nsenter", f"--net={engine.namespace}", str(LOCKSTEP), "recover", "--home", str(instance.home)]
    return run([*inside, *words], env=instance.environment)


def visit(instance: Instance, engine: NetworkedEngine, app: str) -> tuple[int, str]:
    return engine.in_network(lambda: instance.get(app))


def record(instance: Instance, engine: NetworkedEngine) -> str:
    return engine.in_network(lambda: instance.get(SHOP, "/record"))[1]


def told(instance: Instance) -> dict[str, Any]:
    """What does not change when an app is brought back as it was."""
    return {
        "releases": instance.json("releases", SHOP),
        "config": instance.ssh("config", SHOP, "--show").out,
        "ps": [(row["process"], row["release"], row["state"]) for row in instance.json("ps", SHOP)],
        "cron": [(row["job"], row["schedule"]) for row in instance.json("cron", SHOP)],
    }


def on_the_engine(docker: Docker) -> list[str]:
    """All that a recovery might change."""
    containers = docker.call("GET", "/containers/json", all=True)
    networks = docker.call("GET", "/networks")
    state = docker.call("GET", "/info")["Swarm"]["LocalNodeState"]
    return sorted([state, *(f"{item['Id']} {item['State']}" for item in containers), *(n["Id"] for n in networks)])


def test_apps_come_back_after_the_swarm_was_left(
    instance: Instance, engine: NetworkedEngine, docker: Docker, live: Work
) -> None:
    before, kept = told(instance), record(instance, engine)
    docker.call("POST", "/swarm/leave", force="true")
    until(lambda: any("lockstep recover" in row["result"] for row in events_of(instance)), "a word of the server", 40)
    assert "lockstep recover" in instance.push(live, SHOP, "--force").err + instance.ssh("ps", SHOP).err
    assert f"lockstep recover --home {instance.home}" in instance.lockstep("doctor").out
    assert "is running: stop it first" in recover(instance, engine, "--yes").err
    instance.stop()
    with pytest.raises(DriverError, match=f"2 apps are live: run 'lockstep recover --home {instance.home}'"):
        instance.start()

    stray = make_stray(instance, docker)
    found = on_the_engine(docker)
    planned = recover(instance, engine)
    assert (planned.code, planned.err) == (2, "lockstep: nothing was changed: add --yes to do all this\n")
    assert "swarm: gone; a new one is made" in planned.out
    assert "leftovers: 1 container of a lost swarm; stopped and removed" in planned.out
    assert "shop v2 (web x1, plodder x2, cron tick): started again" in planned.out
    assert on_the_engine(docker) == found

    done = recover(instance, engine, "--yes")
    assert done.code == 0, done.all
    assert "ok    shop       v2: web x1 runs, http://shop.localhost" in done.out
    assert stray not in "".join(on_the_engine(docker))
    assert visit(instance, engine, SHOP)[0] == visit(instance, engine, BLOG)[0] == 200
    assert record(instance, engine).startswith(kept), "the volume was kept"
    again = recover(instance, engine)
    assert (again.code, again.out) == (0, "nothing to recover: the engine has all that the live releases need\n")

    instance.start()
    until_settled(instance, SHOP, PROCESSES, docker)
    assert told(instance) == before
    ran = instance.ssh("cron:run", SHOP, "tick", "-f")
    assert (ran.code, ran.out.strip().endswith("tick of v2")) == (0, True), ran.all
    push_works(instance, docker, live)


def test_an_image_that_is_gone_is_built_again_after_the_swarm_broke(
    instance: Instance, engine: NetworkedEngine, docker: Docker, live: Work
) -> None:
    """The engine comes up with a certificate that it can not read, and with containers on networks that are lost."""
    old = {app: current_release(instance, app) or 0 for app in (SHOP, BLOG)}
    instance.stop()
    asyncio.run(engine.end(signal.SIGKILL))
    (engine.folder / "data" / "swarm" / "certificates" / "swarm-node.crt").write_text("lost\n")
    asyncio.run(engine.start())
    for app in (SHOP, BLOG):
        remove_image(instance, docker, app)
    shutil.rmtree(instance.home / "repos" / f"{BLOG}.git")
    with pytest.raises(DriverError, match=r"the engine's swarm is broken \(.*\) and 2 apps are live"):
        instance.start()

    done = recover(instance, engine, "--yes")
    assert done.code == 1, done.all
    assert "swarm: broken" in done.out
    assert f"shop v{old[SHOP]} (web x1, plodder x2, cron tick): its image is gone; built again" in done.out
    assert "FAIL  blog       its image is gone and its commit too: start the server, then push it again" in done.out
    assert f"ok    shop       v{old[SHOP] + 1}: " in done.out
    assert visit(instance, engine, SHOP)[0] == 200

    instance.start()
    until_settled(instance, SHOP, PROCESSES, docker)
    assert instance.push(live, BLOG, "--force").code == 0
    assert visit(instance, engine, BLOG)[0] == 200
    push_works(instance, docker, live)


def make_stray(instance: Instance, docker: Docker) -> str:
    """A container as a swarm whose data was lost leaves it behind: it runs, and no service knows it."""
    marks = {"lockstep.instance": instance.name, "lockstep.app": SHOP, "lockstep.kind": "worker"}
    body = {
        "Image": "lockstep/run:latest",
        "Cmd": ["sleep", "infinity"],
        "HostConfig": {"Init": True},
        "Labels": {**marks, "com.docker.swarm.service.id": "lost"},
    }
    stray = str(docker.call("POST", "/containers/create", body)["Id"])
    docker.call("POST", f"/containers/{stray}/start")
    return stray


def remove_image(instance: Instance, docker: Docker, app: str) -> None:
    """All images of the app, with the containers that hold them."""
    for item in docker.labelled(
        "containers/json", f"lockstep.instance={instance.name}", f"lockstep.app={app}", all=True
    ):
        docker.call("DELETE", f"/containers/{item['Id']}", force="true")
    for image in docker.call("GET", "/images/json", filters={"reference": [f"{instance.name}/{app}"]}):
        docker.call("DELETE", f"/images/{image['Id']}", force="true")


def push_works(instance: Instance, docker: Docker, work: Work) -> None:
    change(work)
    done = instance.push(work, SHOP, "--force")
    assert done.code == 0, done.err
    until_settled(instance, SHOP, PROCESSES, docker)
