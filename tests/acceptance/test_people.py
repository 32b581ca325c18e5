"""Config as a file, keys for one purpose, the record, and the host's own way in, with a live app on the real engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.driver import LOCKSTEP, Done, Instance, Work, run
from tests.acceptance.test_operating import FILES

pytestmark = pytest.mark.engine


@pytest.fixture
def work(instance: Instance, app: str, tmp_path: Path) -> Work:
    """An app that is live as v1."""
    work = Work.of_files(FILES, tmp_path / "work")
    done = instance.push(work, app)
    assert done.code == 0, done.err
    return work


def here(instance: Instance, *words: str, stdin: bytes = b"") -> Done:
    """A command on the server's own host."""
    return run([str(LOCKSTEP), "--home", str(instance.home), *words], stdin=stdin)


def test_a_file_of_values_makes_one_release_and_history_knows_it(instance: Instance, app: str, work: Work) -> None:
    file = b'# of the shop\nexport GREETING=\'two\nlines\' # hi\nTOKEN="a\\"b"\n'
    done = instance.ssh("config:import", app, stdin=file)
    assert done.code == 0, done.all
    assert "v2 is live" in done.out
    assert instance.get(app)[1] == "v2 two\nlines\n"
    exported = instance.ssh("config:export", app)
    again = instance.ssh("config:import", app, stdin=exported.out.encode())
    assert (again.code, again.out) == (0, "nothing changed: the values are what they were\n")
    assert instance.ssh("rollback", app).code == 0
    assert instance.get(app)[1] == "v3 from the manifest\n"
    history = [(row["what"], row["set"], row["unset"]) for row in instance.json("config:history", app)]
    assert history == [
        ("rollback to v1", [], ["GREETING", "TOKEN"]),
        ("config:import GREETING TOKEN", ["GREETING", "TOKEN"], []),
    ]
    events = [(row["what"], row["detail"], row["result"]) for row in instance.json("events", app)]
    assert events[-3:] == [
        ("config:import", "GREETING TOKEN", "ok"),
        ("config:import", "GREETING TOKEN", "ok"),
        ("rollback", "", "ok"),
    ]


def test_a_key_for_pushes_alone_deploys_and_the_record_names_it(
    instance: Instance, app: str, work: Work, tmp_path: Path
) -> None:
    robot = tmp_path / "robot" / "key"
    instance.make_key(robot)
    words = ("keys:add", f"ci-{app}", "--app", app, "--command", "git-push")
    assert instance.ssh(*words, stdin=robot.with_suffix(".pub").read_bytes()).code == 0
    commit = work.commit("by the robot")
    done = instance.push(work, app, key=robot)
    assert done.code == 0, done.err
    assert instance.ssh("ps", app, key=robot).code == 1
    work.write({"web.py": "raise SystemExit(3)\n"})
    work.commit("broken")
    assert instance.push(work, app, key=robot).code == 1
    good, bad = [row for row in instance.json("events", app) if row["what"] == "git-push"][-2:]
    assert (good["who"], good["from"], good["detail"]) == (f"ci-{app}", "127.0.0.1", f"main {commit[:7]}")
    assert (good["result"], bad["result"].startswith("stage failed: ")) == ("ok", True)


def test_the_host_runs_the_same_commands_with_its_own_key(instance: Instance, app: str, work: Work) -> None:
    shown = here(instance, "ps", app)
    assert (shown.code, "web.1" in shown.out) == (0, True), shown.all
    assert here(instance, "cron:run", app, "tidy_up", "-f").code == 3
    assert here(instance, "config:set", app, "GREETING=hello  there").code == 0
    assert instance.get(app)[1] == "v2 hello  there\n"
    assert instance.json("events", app)[-1]["who"] == "host"
    assert [(row["what"], row["result"]) for row in instance.json("events", app)][-2] == ("cron:run", "exit code 3")
