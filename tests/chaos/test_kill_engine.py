"""The engine dies under a deploy, or with the whole machine, and everything comes back to exactly one release.

On a Docker engine of the test's own, in a network namespace of its own; the server is an ordinary one beside it.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from scripts.driver import Done, Instance, Work, until
from tests.chaos.conftest import change, chaos_instance
from tests.chaos.networked_engine import NetworkedEngine, networked_engine
from tests.chaos.observer import Docker, current_release, store_of, unsettled

pytestmark = pytest.mark.engine

APP = "power"
PROCESSES = {"web": 1, "plodder": 1}
BACK = 90.0  # seconds for engine, Swarm and reconciler to have all run again


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


def push_until(instance: Instance, work: Work, state: str, then: Callable[[], None]) -> Done:
    """Push a change; `then` when its deploy is in `state`. How the push ended."""
    ended: list[Done] = []
    change(work)
    push = threading.Thread(target=lambda: ended.append(instance.push(work, APP, timeout=120)))
    push.start()
    until(lambda: state_of_last(instance) == state, f"the state {state}", 60)
    then()
    push.join()
    return ended[0]


def state_of_last(instance: Instance) -> str:
    with store_of(instance) as store:
        (state,) = store.execute("select state from deploys order by id desc limit 1").fetchone()
    return str(state)


def test_all_runs_again_after_the_engine_was_killed(instance: Instance, engine: NetworkedEngine, live: Work) -> None:
    asyncio.run(engine.end(signal.SIGKILL))
    asyncio.run(engine.start())
    until_back(instance, engine)


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


@pytest.mark.parametrize("state", ["stage", "start"])
def test_an_engine_killed_under_a_deploy_leaves_one_release(
    instance: Instance, engine: NetworkedEngine, live: Work, state: str
) -> None:
    old = current_release(instance, APP)
    done = push_until(instance, live, state, lambda: asyncio.run(engine.end(signal.SIGKILL)))
    asyncio.run(engine.start())
    until(lambda: state_of_last(instance) in ("failed", "live"), "the end of the deploy", BACK)
    until_back(instance, engine)
    assert (state_of_last(instance) == "live") is (done.code == 0) is (current_release(instance, APP) != old)
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

    assert push_until(instance, live, state, cut).code != 0
    asyncio.run(engine.start())
    instance.start()
    until_back(instance, engine)
    assert (state_of_last(instance) == "live") is (current_release(instance, APP) != old)
    assert instance.push(live, APP, "--force").code == 0
    until_back(instance, engine)
