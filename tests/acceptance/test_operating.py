"""Operators' commands against a live app, a client that goes away, and a server that is restarted or killed."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from scripts.driver import Instance, Work, until

pytestmark = pytest.mark.engine

WEB = """\
import http.server, os, sys

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = f"{os.environ['LOCKSTEP_RELEASE']} {os.environ.get('GREETING', 'unset')}\\n"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

print("listening", flush=True)
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Page).serve_forever()
"""
WORKER = "import time\nprint('working', flush=True)\nwhile True:\n    time.sleep(1)\n"
MANIFEST = """\
runtime: dockerfile
dockerfile: Dockerfile
env:
  GREETING: from the manifest
workers:
  - name: plodder
    start: python3 worker.py
cron:
  - name: tidy_up
    schedule: "0 3 * * *"
    command: echo tidied; echo complaint >&2; exit 3
"""
DOCKERFILE = 'FROM lockstep/run:latest\nCOPY --chown=app:app . /app\nCMD ["python3", "web.py"]\n'
FILES = {".paas/app.yaml": MANIFEST, "Dockerfile": DOCKERFILE, "web.py": WEB, "worker.py": WORKER}


@pytest.fixture
def work(instance: Instance, app: str, tmp_path: Path) -> Work:
    """An app that is live as v1."""
    work = Work.of_files(FILES, tmp_path / "work")
    done = instance.push(work, app)
    assert done.code == 0, done.err
    return work


def test_config_changes_make_one_release_each(instance: Instance, app: str, work: Work) -> None:
    assert instance.get(app)[1] == "v1 from the manifest\n"
    done = instance.ssh("config:set", app, "GREETING='hello there'", "OTHER=a=b")
    assert done.code == 0, done.all
    assert "v2 is live" in done.out
    assert instance.get(app)[1] == "v2 hello there\n"
    assert instance.json("config", app) == [{"name": "GREETING", "value": "***"}, {"name": "OTHER", "value": "***"}]
    shown = instance.json("config", app, "--show")
    assert shown[0] == {"name": "GREETING", "value": "hello there"}
    assert instance.ssh("config:unset", app, "GREETING").code == 0
    assert instance.get(app)[1] == "v3 from the manifest\n"
    missing = instance.ssh("config:unset", app, "NOPE")
    assert missing.code == 1
    assert "NOPE is not set" in missing.err
    found = [row["what"] for row in instance.json("releases", app)]
    assert found[:2] == ["config:unset GREETING", "config:set GREETING OTHER"]


def test_secret_values_do_not_reach_the_pusher(instance: Instance, app: str, work: Work) -> None:
    assert instance.ssh("config:set", app, "TOKEN=sesame-open-wide").code == 0
    work.write({"Dockerfile": DOCKERFILE + "RUN echo sesame-open-wide\n"})
    work.commit()
    done = instance.push(work, app)
    assert done.code == 0
    assert "sesame-open-wide" not in done.err
    assert "***" in done.err


def test_logs_name_each_process(instance: Instance, app: str, work: Work) -> None:
    until(lambda: "working" in instance.ssh("logs", app).out, "the worker's first line", 30)
    lines = instance.ssh("logs", app).out.splitlines()
    assert any(line.endswith("app[web.1]: listening") for line in lines)
    assert any(line.endswith("app[plodder.1]: working") for line in lines)
    alone = instance.ssh("logs", app, "-p", "plodder").out
    assert "web.1" not in alone


def test_a_log_is_followed_across_a_deploy(instance: Instance, app: str, work: Work) -> None:
    words = [*instance.ssh_words(), "paas@127.0.0.1", "--", "logs", app, "-f", "-p", "plodder"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert "working" in follower.stdout.readline()
        assert instance.ssh("config:set", app, "A=b").code == 0
        assert "working" in follower.stdout.readline()
        follower.terminate()


def test_cron_run_prints_the_log_and_returns_the_exit_code(instance: Instance, app: str, work: Work) -> None:
    [job] = instance.json("cron", app)
    assert job["job"] == "tidy_up"
    assert job["schedule"] == "0 3 * * *"
    done = instance.ssh("cron:run", app, "tidy_up", "-f")
    assert done.code == 3
    assert "tidied" in done.out
    assert "complaint" in done.all
    unknown = instance.ssh("cron:run", app, "tidyup")
    assert unknown.code == 1
    assert "did you mean 'tidy_up'" in unknown.err


def test_errors_have_documented_exit_codes(instance: Instance, app: str, work: Work) -> None:
    assert instance.ssh("ps", f"{app}x").code == 20
    assert instance.ssh("no-such-command").code == 2
    assert instance.ssh("ps").code == 2
    assert instance.ssh("apps:destroy", app).code == 2
    assert instance.get(app)[0] == 200


def test_clone_gives_back_what_was_pushed(instance: Instance, app: str, work: Work, tmp_path: Path) -> None:
    environment = {**os.environ, **instance.git_environment()}
    words = ["git", "clone", "-q", instance.url(app), str(tmp_path / "clone")]
    subprocess.run(words, check=True, env=environment)
    assert (tmp_path / "clone" / "web.py").read_text() == WEB


def test_destroy_removes_everything_of_the_app(instance: Instance, app: str, work: Work) -> None:
    done = instance.ssh("apps:destroy", app, "--force")
    assert done.code == 0, done.err
    assert instance.get(app)[0] == 404
    assert instance.ssh("ps", app).code == 20
    for listing in (["service", "ls"], ["ps", "-a"], ["network", "ls"]):
        words = ["docker", *listing, "-q", "--filter", f"label=lockstep.app={app}"]
        words += ["--filter", f"label=lockstep.instance={instance.name}"]
        assert subprocess.run(words, check=True, capture_output=True, text=True).stdout == ""
    assert instance.push(work, app).code == 0


def test_a_client_that_goes_away_before_the_commit_leaves_the_old_release(
    instance: Instance, app: str, work: Work
) -> None:
    work.write({"Dockerfile": DOCKERFILE + "RUN sleep 300\n"})
    work.commit()
    words = ["git", "-C", str(work.path), "push", instance.url(app), "main"]
    environment = {**os.environ, **instance.git_environment()}
    push = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    assert push.stderr is not None
    while "sleep 300" not in push.stderr.readline():
        assert push.poll() is None
    os.killpg(push.pid, signal.SIGTERM)  # SIGINT is ignored below a shell that was started in the background
    push.wait(30)
    push.stderr.close()
    until(lambda: instance.json("deploys", app)[0]["state"] == "cancelled", "the deploy's cancellation", 30)
    assert instance.get(app)[1].startswith("v1 ")
    assert {row["release"] for row in instance.json("ps", app)} == {"v1"}
    work.write({"Dockerfile": DOCKERFILE})
    work.commit()
    assert instance.push(work, app).code == 0


def test_rollback_goes_back_with_config_and_without_a_build(instance: Instance, app: str, work: Work) -> None:
    assert instance.ssh("config:set", app, "GREETING=second").code == 0
    assert instance.get(app)[1] == "v2 second\n"
    done = instance.ssh("rollback", app)
    assert done.code == 0, done.all
    assert "Rolling back to v1" in done.out
    assert "Building" not in done.out
    assert instance.get(app)[1] == "v3 from the manifest\n"
    assert instance.json("config", app) == []
    assert instance.json("releases", app)[0]["what"] == "rollback to v1"
    never = instance.ssh("rollback", app, "v9")
    assert never.code == 1
    assert "v9" in never.err


def test_rebuild_makes_a_release_of_the_same_commit(instance: Instance, app: str, work: Work) -> None:
    commit = work.git("rev-parse", "HEAD").strip()
    done = instance.ssh("rebuild", app)
    assert done.code == 0, done.all
    found = instance.json("releases:info", app, "v2")
    assert found["commit"] == commit
    assert found["live"] == "yes"


def test_scaling_makes_no_release_and_outlives_the_next_one(instance: Instance, app: str, work: Work) -> None:
    def shown() -> list[tuple[str, str]]:
        return sorted((row["process"], row["state"]) for row in instance.json("ps", app))

    done = instance.ssh("ps:scale", app, "web=2", "plodder=0")
    assert done.code == 0, done.all
    assert done.out == "web runs x2\nplodder is scaled to 0\n"
    assert shown() == [("plodder", "scaled to 0"), ("web.1", "running"), ("web.2", "running")]
    assert instance.json("apps:info", app)["release"] == "v1"
    assert instance.ssh("config:set", app, "A=b").code == 0
    assert shown() == [("plodder", "scaled to 0"), ("web.1", "running"), ("web.2", "running")]
    assert instance.ssh("ps:scale", app, "nobody=1").code == 1


def test_a_plan_shows_the_difference_and_changes_nothing(instance: Instance, app: str, work: Work) -> None:
    before = work.git("rev-parse", "HEAD").strip()
    work.write({".paas/app.yaml": MANIFEST.replace("plodder", "runner").replace("0 3", "30 4")})
    work.commit()
    done = instance.push(work, app, "-o", "plan")
    assert done.code == 0, done.err
    for line in ("- process plodder", "+ process runner x1", "~ cron job tidy_up: schedule 0 3 * * * -> 30 4 * * *"):
        assert line in done.err
    assert "1 file changed" in done.err
    remote = subprocess.run(
        ["git", "ls-remote", instance.url(app)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **instance.git_environment()},
    )
    assert before in remote.stdout
    assert len(instance.json("deploys", app)) == 1
    assert instance.json("apps:info", app)["release"] == "v1"


def test_the_server_can_be_killed_and_stopped_while_apps_go_on(instance: Instance, app: str, work: Work) -> None:
    instance.stop(signal.SIGKILL)
    assert instance.get(app)[1] == "v1 from the manifest\n"
    instance.start()
    assert instance.get(app)[1] == "v1 from the manifest\n"
    assert {row["state"] for row in instance.json("ps", app)} == {"running"}
    assert instance.ssh("config:set", app, "GREETING=again").code == 0
    assert instance.get(app)[1] == "v2 again\n"


def test_a_deploy_can_be_cancelled_and_its_log_followed(instance: Instance, app: str, work: Work) -> None:
    work.write({"Dockerfile": DOCKERFILE + "RUN sleep 300\n"})
    work.commit()
    words = ["git", "-C", str(work.path), "push", instance.url(app), "main"]
    environment = {**os.environ, **instance.git_environment()}
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment) as push:
        assert push.stderr is not None
        while "sleep 300" not in push.stderr.readline():
            assert push.poll() is None
        deploy = instance.json("deploys", app)[0]
        follow = [*instance.ssh_words(), "paas@127.0.0.1", "--", "deploys:log", app, str(deploy["deploy"]), "-f"]
        with subprocess.Popen(follow, stdout=subprocess.PIPE, text=True) as follower:
            assert follower.stdout is not None
            while "sleep 300" not in follower.stdout.readline():
                assert follower.poll() is None
            cancelled = instance.ssh("deploys:cancel", app)
            assert cancelled.code == 0, cancelled.all
            assert "cancelled by admin" in follower.stdout.read()
        assert follower.returncode == 1
        assert "cancelled by admin" in push.stderr.read()
    assert push.returncode == 1
    assert instance.json("deploys", app)[0]["state"] == "cancelled"
    assert instance.get(app)[1].startswith("v1 ")


def test_doctor_finds_everything_well(instance: Instance) -> None:
    done = instance.lockstep("doctor")
    assert done.code == 0, done.all
    assert len(done.out.splitlines()) == 9
    assert all(line.startswith("ok ") for line in done.out.splitlines())


def test_a_second_server_of_the_same_home_is_refused(instance: Instance) -> None:
    done = instance.lockstep("serve")
    assert done.code == 1
    assert "is running: stop it first" in done.err
