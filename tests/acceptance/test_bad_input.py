"""Hostile and mistaken pushes: a clear sentence, exit code 1, and the old release untouched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.driver import Instance, Work, run

pytestmark = pytest.mark.engine

APP_YAML = ".paas/app.yaml"
GOOD = {
    APP_YAML: "name: steady\nruntime: static\n",
    "index.html": "<html>steady</html>\n",
}


def fifty_megabytes(work: Work) -> None:
    work.write({APP_YAML: b"a: b\n" * 10_000_000})


def anchors_bomb(work: Work) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    work.write({APP_YAML: "\n".join(lines) + "\n"})


def root_outside(work: Work) -> None:
    work.write({APP_YAML: "name: steady\nruntime: static\nroot: ../../etc\n"})


def symlink_outside(work: Work) -> None:
    (work.path / "passwd").symlink_to("/etc/passwd")


def submodule(work: Work) -> None:
    commit = work.git("rev-parse", "HEAD").strip()
    work.git("update-index", "--add", "--cacheinfo", f"160000,{commit},vendor/library")
    work.git("commit", "-q", "-m", "a submodule")


def binary_name(work: Work) -> None:
    (work.path / b"caf\xe9.txt".decode("utf-8", "surrogateescape")).write_text("not UTF-8\n")


CASES: dict[str, tuple[Callable[[Work], None], str]] = {
    "fifty megabytes of YAML": (fifty_megabytes, "app.yaml"),
    "an anchors bomb": (anchors_bomb, "app.yaml"),
    "a root outside the tree": (root_outside, "root"),
    "a symlink out of the tree": (symlink_outside, "passwd"),
    "a submodule": (submodule, "vendor/library"),
    "a file name that is not text": (binary_name, "caf"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_commit_is_refused_with_a_sentence(case: str, instance: Instance, app: str, tmp_path: Path) -> None:
    work = Work.of_files(GOOD, tmp_path / "work")
    assert instance.push(work, app).code == 0
    before = work.git("rev-parse", "HEAD").strip()
    spoil, named = CASES[case]
    spoil(work)
    if case != "a submodule":
        work.commit("spoiled")
    done = instance.push(work, app)
    assert done.code == 1
    reasons = [line for line in done.err.splitlines() if " failed: " in line]
    assert reasons
    assert named in reasons[0]
    assert "Traceback" not in done.err
    assert "internal error" not in done.err
    assert "steady" in instance.get(app)[1]
    remote = run(["git", "ls-remote", instance.url(app)], env=instance.git_environment())
    assert before in remote.out


@pytest.mark.parametrize("name", ["Shop", "a_b", "../etc", "-rf", "a" * 41, "a--b", "1st", "x/y"])
def test_an_impossible_app_name_is_refused(name: str, instance: Instance, tmp_path: Path) -> None:
    work = Work.of_files(GOOD, tmp_path / "work")
    done = instance.push(work, name)
    assert done.code != 0
    assert "lockstep: " in done.err
    assert "Traceback" not in done.err
    assert name not in {row["app"] for row in instance.json("apps")}


def test_an_unknown_ref_is_stored_and_not_deployed(instance: Instance, app: str, tmp_path: Path) -> None:
    work = Work.of_files(GOOD, tmp_path / "work")
    assert instance.push(work, app).code == 0
    work.git("checkout", "-q", "-b", "other")
    work.commit("other")
    done = instance.push(work, app, ref="other")
    assert done.code == 0
    assert f"other is stored and not deployed: {app} deploys main" in done.err
    note = instance.push(work, app, ref="HEAD:refs/notes/x")
    assert note.code == 1
    assert "only branches and tags are stored here" in note.err
    assert instance.json("apps:info", app)["release"] == "v1"


def test_deleting_the_deployed_branch_is_refused(instance: Instance, app: str, tmp_path: Path) -> None:
    work = Work.of_files(GOOD, tmp_path / "work")
    assert instance.push(work, app).code == 0
    done = instance.push(work, app, ref=":main")
    assert done.code == 1
    assert "main is what is deployed and can not be deleted" in done.err


def test_an_unknown_push_option_is_refused_before_any_work(instance: Instance, app: str, tmp_path: Path) -> None:
    done = instance.push(Work.of_files(GOOD, tmp_path / "work"), app, "-o", "plam")
    assert done.code == 1
    assert "push option 'plam' is not known" in done.err
