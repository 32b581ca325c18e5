"""A server that dies by SIGKILL at a named point of a deploy, and is started again."""

from __future__ import annotations

from typing import Final

from scripts.driver import Instance, Work, run, until
from tests.chaos.conftest import SETTLE, change
from tests.chaos.observer import Observer, current_release, lives_overlap, record_of, store_of, unsettled

APP: Final = "kill"
PROCESSES: Final = {"web": 1, "plodder": 1}
HANG: Final = 60.0  # seconds after which a push that lost its server counts as hanging


def restart(instance: Instance, fault: str | None = None, settle: str = SETTLE) -> None:
    instance.stop()
    instance.environment.pop("LOCKSTEP_FAULT", None)
    instance.environment["LOCKSTEP_SETTLE"] = settle
    if fault is not None:
        instance.environment.update({"LOCKSTEP_FAULT": fault, "LOCKSTEP_FOR_TESTS": "true"})
    instance.start()


def push_into_death(instance: Instance, work: Work) -> None:
    change(work)
    done = instance.push(work, APP, timeout=HANG)
    assert done.code != 0, done.err
    until(lambda: instance.pid is None, "the death of the server", 10)


def tip(instance: Instance) -> str:
    """The commit that anybody who clones gets."""
    words = ["git", "ls-remote", instance.url(APP), "refs/heads/main"]
    return run(words, env=instance.git_environment()).out.partition("\t")[0]


def deploys(instance: Instance) -> int:
    with store_of(instance) as store:
        (found,) = store.execute("select count(*) from deploys").fetchone()
    return int(found)


def kill_and_recover(instance: Instance, work: Work, point: str, *, went_live: bool) -> None:
    """Die at `point`; be exactly one release again, the new one if the row was written; take a push as ever."""
    old, attempts, before = current_release(instance, APP), deploys(instance), tip(instance)
    with Observer(instance, APP).watching():
        restart(instance, fault=point)
        push_into_death(instance, work)
        restart(instance)
        [attempt, *_] = instance.json("deploys", APP)
        assert attempt["state"] == ("live" if went_live else "failed")
        assert current_release(instance, APP) == (int(attempt["release"][1:]) if went_live else old)
        assert unsettled(instance, APP, PROCESSES) == []
        assert tip(instance) == (work.git("rev-parse", "HEAD").strip() if went_live else before)
        told = instance.ssh("deploys:log", APP, str(attempt["deploy"])).out
        assert ("is live after" if went_live else "; next: push again") in told.splitlines()[-2 if went_live else -1]

        change(work)
        again = instance.push(work, APP)
        assert again.code == 0, again.err
        assert unsettled(instance, APP, PROCESSES) == []
    assert lives_overlap(record_of(instance, APP)) == []
    assert deploys(instance) == attempts + 2
