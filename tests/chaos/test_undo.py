"""A deploy that fails, for whatever reason, leaves the old release exactly as it was, its workers included."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from scripts.driver import Instance, Work, until
from tests.chaos.conftest import chaos_instance
from tests.chaos.observer import APP as SOURCE
from tests.chaos.observer import Docker, Observer, current_release, unsettled, until_settled

pytestmark = pytest.mark.engine

APP = "undo"
PROCESSES = {"web": 1, "plodder": 1}
MANIFEST = (SOURCE / ".paas" / "app.yaml").read_text()
DOCKERFILE = (SOURCE / "Dockerfile").read_text()
WORKER = "python3 main.py worker"
NO_PROGRAM = b"\x7fELF, and nothing that a kernel can run"
DEPLOIO = "deployJob:\n  name: migrate\n  command: echo no such table; exit 4\n"
BAD_WEB = f'{DOCKERFILE.rpartition("CMD")[0]}RUN chmod +x bad\nCMD ["./bad"]\n'
RUNNABLE = f"{DOCKERFILE}RUN chmod +x bad\n"


@dataclass(frozen=True)
class Failure:
    """Files that make a commit fail, what the pusher reads, and whether the old workers were stopped by then."""

    files: dict[str, str | bytes]
    says: str
    after_quiesce: bool = False

    def __str__(self) -> str:
        return self.says


FAILURES = {
    "web-exec-format": Failure({"bad": NO_PROGRAM, "Dockerfile": BAD_WEB}, "stage failed: web"),
    "web-missing": Failure({"Dockerfile": DOCKERFILE.replace('"python3"', '"no-such-program"')}, "stage failed: web"),
    "web-ends": Failure({"Dockerfile": DOCKERFILE.replace('"main.py"', '"-c", "exit(3)"')}, "web exited with 3"),
    "hook": Failure({".deploio.yaml": DEPLOIO, "Procfile": "web: python3 main.py web\n"}, "migrate exited with 4"),
    "worker-exec-format": Failure(
        {"bad": NO_PROGRAM, "Dockerfile": RUNNABLE, ".paas/app.yaml": MANIFEST.replace(WORKER, "./bad")},
        "start failed: plodder",
        after_quiesce=True,
    ),
    "worker-missing": Failure(
        {".paas/app.yaml": MANIFEST.replace(WORKER, "no-such-program")}, "start failed: plodder", after_quiesce=True
    ),
    "worker-ends": Failure(
        {".paas/app.yaml": MANIFEST.replace(WORKER, "sleep 0.5; exit 3")}, "plodder exited with 3", after_quiesce=True
    ),
}


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with chaos_instance(LOCKSTEP_SETTLE="3") as instance:
        yield instance


@pytest.fixture(scope="module")
def live(instance: Instance, work: Work) -> Work:
    done = instance.push(work, APP)
    assert done.code == 0, done.err
    return work


def containers(instance: Instance) -> dict[str, str]:
    """Process -> the container that runs it."""
    labels = (f"lockstep.instance={instance.name}", f"lockstep.app={APP}")
    return {item["Labels"]["lockstep.process"]: item["Id"] for item in Docker().labelled("containers/json", *labels)}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_deploy_leaves_the_old_release_as_it_was(instance: Instance, live: Work, name: str) -> None:
    failure, before, old = FAILURES[name], containers(instance), current_release(instance, APP)
    start = live.git("rev-parse", "HEAD").strip()
    if ".deploio.yaml" in failure.files:
        (live.path / ".paas" / "app.yaml").unlink()
    live.write(failure.files)
    live.commit(name)
    with Observer(instance, APP).watching():
        done = instance.push(live, APP)
        assert done.code == 1
        assert failure.says in done.err
        assert current_release(instance, APP) == old
        assert unsettled(instance, APP, PROCESSES) == []
    after = containers(instance)
    assert after["web"] == before["web"]
    assert (after["plodder"] == before["plodder"]) is not failure.after_quiesce
    assert instance.json("deploys", APP)[0]["state"] == "failed"
    live.git("reset", "-q", "--hard", start)


def test_a_client_that_leaves_while_web_is_proved_changes_nothing(instance: Instance, live: Work) -> None:
    before, old = containers(instance), current_release(instance, APP)
    start = live.git("rev-parse", "HEAD").strip()
    live.write({"Dockerfile": f"{DOCKERFILE}ENV START_DELAY=60\n"})
    live.commit("slow")
    with Observer(instance, APP).watching():
        words = ["git", "-C", str(live.path), "push", instance.url(APP), "main"]
        environment = {**os.environ, **instance.git_environment()}
        with subprocess.Popen(
            words, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
        ) as push:
            assert push.stderr is not None
            while "Starting web" not in push.stderr.readline():
                assert push.poll() is None
            os.killpg(push.pid, signal.SIGKILL)
        until(lambda: instance.json("deploys", APP)[0]["state"] == "cancelled", "the cancellation", 20)
    assert unsettled(instance, APP, PROCESSES) == []
    assert (containers(instance), current_release(instance, APP)) == (before, old)
    live.git("reset", "-q", "--hard", start)


def test_nothing_is_left_over_in_the_end(instance: Instance, live: Work) -> None:
    until_settled(instance, APP, PROCESSES, ended=True)
