"""The engine dies under a deploy, or with the whole machine, and everything comes back to exactly one release.

On a Docker engine of the test's own, in a network namespace of its own; the server is an ordinary one beside it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.driver import Done, Instance, Work, until
from tests.chaos.conftest import change, chaos_instance
from tests.chaos.killing import restart
from tests.chaos.networked_engine import NetworkedEngine, networked_engine
from tests.chaos.observer import Docker, current_release, store_of, unsettled

pytestmark = pytest.mark.engine

APP = "power"
PROCESSES = {"web": 1, "plodder": 1}
BACK = 90.0  # seconds for engine, Swarm and reconciler to have all run again
STEPS = ("prepare", "predeploy", "stage", "quiesce", "commit", "switch", "start", "retire")
POINTS = ("prepare:before", *(f"{step}:after" for step in STEPS))  # for an engine, after one is before the next


@pytest.fixture(scope="module")
def engine() -> Iterator[NetworkedEngine]:
    with networked_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def instance(engine: NetworkedEngine) -> Iterator[Instance]:
    with chaos_instance(LOCKSTEP_ENGINE=engine.host) as instance:
        yield instance


@pytest.fixture(scope="module")
def live(instance: Instance, work: Work) -> Work:
    done = instance.push(work, APP)
    assert done.code == 0, done.err
    return work


def until_back(instance: Instance, engine: NetworkedEngine) -> None:
    docker = Docker(engine.host)
    until(lambda: unsettled(instance, APP, PROCESSES, docker) == [], "one whole release", BACK)
    until(lambda: engine.in_network(lambda: answers(instance)), "an answer of web", BACK)


def answers(instance: Instance) -> bool:
    try:
        return instance.get(APP)[0] == 200
    except OSError:
        return False


def push_until(instance: Instance, work: Work, is_so: Callable[[], bool], what: str, then: Callable[[], None]) -> Done:
    """Push a change; `then` as soon as it is so. How the push ended."""
    ended: list[Done] = []
    change(work)
    push = threading.Thread(target=lambda: ended.append(instance.push(work, APP, timeout=120)))
    push.start()
    until(is_so, what, 60)
    then()
    push.join()
    return ended[0]


def stands_still(instance: Instance) -> bool:
    """Whether the server was stopped by SIGSTOP."""
    return Path(f"/proc/{instance.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def state_of_last(instance: Instance) -> str:
    with store_of(instance) as store:
        (state,) = store.execute("select state from deploys order by id desc limit 1").fetchone()
    return str(state)


def test_all_runs_again_after_the_engine_was_killed(
    instance: Instance, engine: NetworkedEngine, live: Work, tmp_path: Path
) -> None:
    out = tmp_path / "followed"
    words = [*instance.ssh_words(), "paas@127.0.0.1", "--", "logs", APP, "-f", "-n", "0", "-p", "plodder"]
    with out.open("wb") as file, subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file) as follower:
        asyncio.run(engine.end(signal.SIGKILL))
        asyncio.run(engine.start())
        until_back(instance, engine)
        until(lambda: '"event": "start"' in out.read_text(), "the new worker's line at who follows", BACK)
        follower.kill()
    told = out.read_text()
    assert told.index("the docker engine does not answer") < told.index("the docker engine answers again after")
    kept = instance.ssh("logs", APP, "-n", "10000", "-p", "plodder").out.splitlines()
    starts = [line.split("]: ")[1] for line in kept if '"event": "start"' in line]
    assert len(starts) == len(set(starts)) >= 2


def test_apps_serve_after_a_power_cut_without_the_server(
    instance: Instance, engine: NetworkedEngine, live: Work
) -> None:
    instance.stop(signal.SIGKILL)
    asyncio.run(engine.lose_power())
    asyncio.run(engine.start())
    until(lambda: engine.in_network(lambda: answers(instance)), "an answer of web, with no server running", BACK)
    assert instance.pid is None
    instance.start()
    until_back(instance, engine)


@pytest.mark.parametrize("point", POINTS)
def test_an_engine_killed_at_any_step_of_a_deploy_leaves_one_release(
    instance: Instance, engine: NetworkedEngine, live: Work, point: str
) -> None:
    """The server stands still at the point while dockerd dies, and goes on without it."""
    old = current_release(instance, APP)
    restart(instance, fault=f"{point}:pause")

    def kill() -> None:
        asyncio.run(engine.end(signal.SIGKILL))
        assert instance.pid is not None
        os.kill(instance.pid, signal.SIGCONT)

    done = push_until(instance, live, lambda: stands_still(instance), f"the server to stand still at {point}", kill)
    asyncio.run(engine.start())
    until(lambda: state_of_last(instance) in ("failed", "live"), "the end of the deploy", BACK)
    until_back(instance, engine)
    assert (state_of_last(instance) == "live") is (done.code == 0) is (current_release(instance, APP) != old)


def test_a_push_goes_live_after_all_of_that(instance: Instance, engine: NetworkedEngine, live: Work) -> None:
    restart(instance)
    assert instance.push(live, APP, "--force").code == 0
    until_back(instance, engine)


@pytest.mark.parametrize("state", ["stage", "start"])
def test_a_power_cut_in_a_deploy_leaves_one_release(
    instance: Instance, engine: NetworkedEngine, live: Work, state: str
) -> None:
    old = current_release(instance, APP)

    def cut() -> None:
        instance.stop(signal.SIGKILL)
        asyncio.run(engine.lose_power())

    reached = f"the state {state}"
    assert push_until(instance, live, lambda: state_of_last(instance) == state, reached, cut).code != 0
    asyncio.run(engine.start())
    instance.start()
    until_back(instance, engine)
    assert (state_of_last(instance) == "live") is (current_release(instance, APP) != old)
    assert instance.push(live, APP, "--force").code == 0
    until_back(instance, engine)
