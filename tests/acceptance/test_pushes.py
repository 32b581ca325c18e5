"""Pushes that meet another push, a server that stops, or only ask what would be."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.driver import Instance, Work, until
from tests.instances import new_instance

pytestmark = pytest.mark.engine

DEADLINE = 60.0
STARTING = "Starting workers: clock"  # past the commit point
MANIFEST = """
runtime: python
start: python3 -m http.server $PORT
workers:
  - name: clock
    start: sleep infinity
"""
BROKEN = "runtime: python\nstart: 7\nport: many\nworkers: none\n"


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """New workers are watched for so long that something can happen meanwhile."""
    with new_instance("pushes", LOCKSTEP_SETTLE="3") as instance:
        yield instance


@pytest.fixture(scope="module")
def work(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """The app `shop`, live."""
    work = Work.of_files({".paas/app.yaml": MANIFEST}, tmp_path_factory.mktemp("pushes") / "work")
    done = instance.push(work, "shop")
    assert done.code == 0, done.all
    return work


@contextmanager
def pushing(instance: Instance, work: Work, *words: str, until_line: str) -> Iterator[subprocess.Popen[str]]:
    """A push under way that has said so; what it says after is left to read."""
    command = ["git", "-C", str(work.path), "push", *words, instance.url("shop"), "main"]
    environment = {**os.environ, **instance.git_environment()}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as push:
        assert push.stderr is not None
        seen = ""
        while until_line not in seen:
            assert push.poll() is None, seen
            seen += push.stderr.readline()
        yield push


def rest(push: subprocess.Popen[str]) -> str:
    """What a push still says, to its end."""
    assert push.stderr is not None
    said = push.stderr.read()
    push.wait(DEADLINE)
    return said


def refs(instance: Instance) -> dict[str, str]:
    """Ref -> commit, as anybody who clones gets them."""
    words = ["git", "ls-remote", instance.url("shop"), "refs/*"]
    environment = {**os.environ, **instance.git_environment()}
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
    return {ref: commit for commit, ref in (line.split("\t") for line in done.stdout.splitlines())}


def test_a_push_that_waited_for_the_one_it_follows_goes_live(instance: Instance, work: Work) -> None:
    work.commit("first of two")
    with pushing(instance, work, until_line=STARTING) as first:
        second = work.commit("second of two")
        with pushing(instance, work, until_line="Waiting for deploy") as waiting:
            assert "is live after" in rest(first)
            assert "is live after" in rest(waiting)
    assert (first.returncode, waiting.returncode) == (0, 0)
    assert refs(instance)["refs/heads/main"] == second
    assert [row["state"] for row in instance.json("deploys", "shop")[:2]] == ["live", "live"]


def test_pushes_that_gave_way_are_told_so_and_alert_nobody(instance: Instance, work: Work, tmp_path: Path) -> None:
    mine = work.commit("mine")
    work.git("clone", "-q", str(work.path), str(tmp_path / "other"))
    other = Work(tmp_path / "other")
    other.git("reset", "-q", "--hard", "HEAD~1")
    other.commit("theirs")
    with pushing(instance, work, until_line=STARTING) as first:
        hasty = instance.push(other, "shop", "-o", "nowait")
        with pushing(instance, other, until_line="Waiting for deploy") as older:
            other.commit("theirs, again")
            with pushing(instance, other, until_line="Waiting for deploy") as newer:
                assert "superseded by the newer deploy" in rest(older)
                assert "is live after" in rest(first)
                said = rest(newer)
    assert "shop is locked by deploy" in hasty.err
    assert f"another push moved main to {mine[:7]} meanwhile, which " in said
    assert (first.returncode, hasty.code, older.returncode, newer.returncode) == (0, 1, 1, 1)
    assert refs(instance)["refs/heads/main"] == mine
    assert [row["state"] for row in instance.json("deploys", "shop")[:4]] == ["cancelled"] * 3 + ["live"]
    assert instance.json("alerts", "shop") == []


def test_a_server_that_is_stopped_ends_what_is_past_its_commit_and_says_so(instance: Instance, work: Work) -> None:
    commit = work.commit("live in spite of it")
    with pushing(instance, work, until_line=STARTING) as push:
        assert instance.pid is not None
        os.kill(instance.pid, signal.SIGTERM)
        said = rest(push)
    assert (push.returncode, "is live after" in said) == (0, True), said
    until(lambda: instance.pid is None, "the server's end", DEADLINE)
    instance.start()
    assert refs(instance)["refs/heads/main"] == commit
    assert instance.json("deploys", "shop")[0]["state"] == "live"


def test_a_server_that_is_stopped_cancels_what_is_before_its_commit_and_says_so(instance: Instance, work: Work) -> None:
    before = refs(instance)
    work.write({".paas/app.yaml": MANIFEST.replace("python3 -m http.server $PORT", "sleep 300")})
    work.commit("never live")
    with pushing(instance, work, until_line="Starting web") as push:
        assert instance.pid is not None
        os.kill(instance.pid, signal.SIGTERM)
        said = rest(push)
    assert push.returncode == 1
    assert "cancelled by the server, which is stopping" in said
    until(lambda: instance.pid is None, "the server's end", DEADLINE)
    instance.start()
    assert refs(instance) == before
    assert instance.json("deploys", "shop")[0]["state"] == "cancelled"
    work.git("reset", "-q", "--hard", "HEAD~1")


def test_a_plan_stores_and_moves_nothing(instance: Instance, work: Work) -> None:
    before, deploys = refs(instance), len(instance.json("deploys", "shop"))
    work.git("tag", "v1")
    done = instance.push(work, "shop", "-o", "plan", "--atomic", ref="main:side")
    assert (done.code, "The branch side would be stored and not deployed" in done.err) == (0, True), done.err
    done = instance.push(work, "shop", "-o", "plan", ref="v1")
    assert (done.code, "The tag v1 would be stored and not deployed" in done.err) == (0, True), done.err
    assert refs(instance) == before
    assert instance.push(work, "shop", ref="main:side").code == 0
    done = instance.push(work, "shop", "-o", "plan", ref=":side")
    assert (done.code, "The branch side would be removed" in done.err) == (0, True), done.err
    assert "refs/heads/side" in refs(instance)
    assert instance.push(work, "first", "-o", "plan", ref="main:feature").code == 0
    assert instance.json("apps:info", "first")["branch"] is None
    assert len(instance.json("deploys", "shop")) == deploys


def test_a_plan_tells_every_fault_and_what_would_be_refused(instance: Instance, work: Work) -> None:
    work.write({".paas/app.yaml": BROKEN})
    work.commit("broken")
    plan, push = instance.push(work, "shop", "-o", "plan"), instance.push(work, "shop")
    faults = set(re.findall(r"[a-z]+: expected [^\n)]*[^ \n)]", push.err))
    assert len(faults) >= 3
    assert (plan.code, [fault for fault in faults if fault not in plan.err]) == (1, [])
    work.write({".paas/app.yaml": MANIFEST + "subdomain: first.localhost\n"})
    work.commit("the address of another app")
    for done in (instance.push(work, "shop", "-o", "plan"), instance.push(work, "shop")):
        assert (done.code, "first.localhost is in use by another app" in done.err) == (1, True), done.err
    assert "Building with" not in done.err
    work.git("reset", "-q", "--hard", "HEAD~2")


def test_a_ref_that_git_can_not_keep_beside_the_deployed_one_is_refused(instance: Instance, work: Work) -> None:
    done = instance.push(work, "shop", ref="main:main/x")
    assert (done.code, "git can not keep it beside main, which is deployed" in done.err) == (1, True), done.err
    assert instance.push(work, "shop", ref="main:deep/side").code == 0
    before = instance.json("releases", "shop")
    assert instance.ssh("apps:update", "shop", "--branch", "deep").code == 0
    done = instance.push(work, "shop", ref="main:deep")
    assert (done.code, "deep can not be moved" in done.err) == (1, True), done.err
    assert instance.json("releases", "shop") == before
    assert instance.ssh("apps:update", "shop", "--branch", "main").code == 0
