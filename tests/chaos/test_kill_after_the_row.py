"""The server dies after the row that commits a deploy was written: the new release goes live, or is undone."""

from __future__ import annotations

import pytest

from scripts.driver import DriverError, Instance, Work
from tests.chaos.killing import APP, PROCESSES, kill_and_recover, push_into_death, restart
from tests.chaos.observer import Observer, current_release, unsettled, until_settled

pytestmark = pytest.mark.engine

STEPS = ("switch", "start", "retire")


@pytest.fixture(scope="module")
def live(instance: Instance, work: Work) -> Work:
    done = instance.push(work, APP)
    assert done.code == 0, done.err
    return work


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_new_release_goes_live(instance: Instance, live: Work, step: str, moment: str) -> None:
    kill_and_recover(instance, live, f"{step}:{moment}", went_live=True)


def test_a_recovery_that_is_killed_is_recovered_too(instance: Instance, live: Work) -> None:
    with Observer(instance, APP).watching():
        restart(instance, fault="switch:after")
        push_into_death(instance, live)
        instance.environment["LOCKSTEP_FAULT"] = "start:after"
        with pytest.raises(DriverError, match="the server ended with -9"):
            instance.start()
        restart(instance)
        assert instance.json("deploys", APP)[0]["state"] == "live"
        assert unsettled(instance, APP, PROCESSES) == []


def test_what_follows_a_deploy_is_done_by_the_next_server(instance: Instance, live: Work) -> None:
    restart(instance, fault="start:after")
    assert instance.ssh("apps:update", APP, "--env", "X=1", "--replicas", "2").code != 0
    restart(instance)
    assert instance.json("deploys", APP)[0]["state"] == "live"
    assert unsettled(instance, APP, {**PROCESSES, "web": 2}) == []
    assert instance.ssh("apps:update", APP, "--unset-replicas").code == 0
    assert unsettled(instance, APP, PROCESSES) == []


@pytest.mark.parametrize("point", ["undoing:before", "undoing:after"])
def test_a_server_killed_while_it_undoes_a_deploy_goes_on_undoing(instance: Instance, live: Work, point: str) -> None:
    """The row was the new release's already, and its worker ran, when that worker ended."""
    old = current_release(instance, APP)
    good = (live.path / "main.py").read_text()
    with Observer(instance, APP).watching():
        restart(instance, fault=point, settle="10")
        live.write({"main.py": good.replace("    while True:\n        signal.pause()", "    raise SystemExit(3)")})
        push_into_death(instance, live)
        restart(instance)
        assert instance.json("deploys", APP)[0]["state"] == "failed"
        assert current_release(instance, APP) == old
        assert unsettled(instance, APP, PROCESSES) == []
    live.write({"main.py": good})
    live.commit("as it was")


def test_nothing_is_left_over_in_the_end(instance: Instance, live: Work) -> None:
    until_settled(instance, APP, PROCESSES, ended=True)
