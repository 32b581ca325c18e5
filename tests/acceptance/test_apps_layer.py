"""An app's own settings, process control, domains, https and maintenance, on one live app with real visitors."""

from __future__ import annotations

import http.client
import shlex
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.driver import Instance, Work, free_port, run, until
from tests.chaos.observer import APP as CHAOS_APP
from tests.chaos.visitors import Visitors
from tests.instances import new_instance

pytestmark = pytest.mark.engine

APP = "layered"
RATE = 40.0  # requests a second
MANIFEST = """\
size: micro
port: 8000
env:
  - name: MODE
    value: plain
workerJobs:
  - name: plodder
    command: python3 main.py worker
"""


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with new_instance("layer", "--https-port", str(free_port()), LOCKSTEP_SETTLE="0.3") as instance:
        yield instance


@pytest.fixture(scope="module")
def live(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """The app, live as v1."""
    path = tmp_path_factory.mktemp("layer") / "work"
    shutil.copytree(CHAOS_APP, path)
    shutil.rmtree(path / ".paas")
    (path / ".deploio.yaml").write_text(MANIFEST)
    (path / "Procfile").write_text("web: python3 main.py web\n")
    work = Work.init(path)
    done = instance.push(work, APP)
    assert done.code == 0, done.err
    return work


def release(instance: Instance) -> str:
    return str(instance.json("apps:info", APP)["release"])


def running(instance: Instance) -> dict[str, dict[str, Any]]:
    return {row["process"]: row for row in instance.json("ps", APP)}


def value(instance: Instance, what: str, key: str) -> tuple[str, str]:
    """A value of the app as apps:info has it, and its origin."""
    values = instance.json("apps:info", APP)["values"]
    [found] = [row for row in values if (row["what"], row["key"]) == (what, key)]
    return found["value"], found["origin"]


def ask(instance: Instance, host: str, path: str = "/") -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", instance.http_port, timeout=15)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        headers = {name.lower(): text for name, text in answer.getheaders()}
        return answer.status, headers, answer.read().decode()
    finally:
        connection.close()


# ---- settings above the manifest ---------------------------------------------------------------------------------


def test_a_worker_job_by_flag_runs_off_the_same_image_as_one_new_release(instance: Instance, live: Work) -> None:
    before = instance.json("releases:info", APP, release(instance))
    flags = ["--worker-job-name", "clock", "--worker-job-command", "'python3 main.py worker'"]
    flags += ["--scheduled-job-name", "tidy", "--scheduled-job-command", "'echo tidied'"]
    flags += ["--scheduled-job-schedule", "'0 3 * * *'", "--size", "mini", "--env", "TOKEN=sesame"]
    done = instance.ssh("apps:update", APP, *flags)
    assert done.code == 0, done.all
    assert "v2 is live" in done.out
    assert "Building" not in done.out
    assert release(instance) == "v2"
    after = instance.json("releases:info", APP, "v2")
    assert after["image"] == before["image"]
    assert {name: row["state"] for name, row in running(instance).items()} == {
        "web.1": "running",
        "plodder.1": "running",
        "clock.1": "running",
    }
    assert [job["job"] for job in instance.json("cron", APP)] == ["tidy"]
    assert instance.ssh("cron:run", APP, "tidy", "-f").out.endswith("tidied\n")
    assert value(instance, "worker clock", "command") == ("python3 main.py worker", "app")
    assert value(instance, "worker plodder", "command") == ("python3 main.py worker", ".deploio.yaml")
    assert value(instance, "web", "limits") == ("mini (0.25 cores, 512M)", "app")
    assert value(instance, "env", "MODE") == ("***", ".deploio.yaml")
    assert value(instance, "env", "TOKEN") == ("***", "app")
    assert "sesame" not in instance.ssh("apps:info", APP).all


def test_settings_stay_across_a_push_and_go_back_with_a_rollback(instance: Instance, live: Work) -> None:
    live.write({".deploio.yaml": MANIFEST.replace("plodder", "runner")})
    live.commit()
    done = instance.push(live, APP)
    assert done.code == 0, done.err
    assert set(running(instance)) == {"web.1", "runner.1", "clock.1"}
    assert instance.ssh("rollback", APP, "v1").code == 0
    assert set(running(instance)) == {"web.1", "plodder.1"}
    assert value(instance, "web", "limits")[1] == "default"
    assert instance.ssh("rollback", APP, "v2").code == 0
    assert set(running(instance)) == {"web.1", "plodder.1", "clock.1"}


def test_what_does_not_fit_changes_nothing(instance: Instance, live: Work) -> None:
    before = release(instance)
    for flags, code, sentence in (
        (["--worker-job-name", "other", "--worker-job-size", "mini"], 1, "which its manifest does not have"),
        (["--worker-job-name", "tidy", "--worker-job-command", "x"], 1, "'tidy' is a worker and a cron job"),
        (["--scheduled-job-name", "tidy", "--scheduled-job-schedule", "'99 * * * *'"], 2, "is not a schedule"),
        (["--delete-worker-job", "plodder"], 1, f"there is no worker job 'plodder' in the settings of {APP}"),
        (["--size", "huge"], 2, "'huge' is not one of"),
        (["--worker-job-name", "a", "--worker-job-name", "b", "--worker-job-command", "x"], 2, "1 times for 2 names"),
        ([], 2, "nothing is asked for"),
    ):
        done = instance.ssh("apps:update", APP, *flags)
        assert (done.code, sentence in done.err) == (code, True), done.all
    assert release(instance) == before


def test_a_deploy_job_that_fails_leaves_settings_and_release_as_they_were(instance: Instance, live: Work) -> None:
    before = release(instance)
    done = instance.ssh("apps:update", APP, "--deploy-job-command", "'exit 4'", "--env", "BROKEN=1", "--branch", "next")
    assert done.code == 1
    assert "deploy-job exited with 4" in done.all
    assert "next: correct it and try again; " in done.all
    info = instance.json("apps:info", APP)
    assert (info["release"], info["branch"]) == (before, "main")
    assert not [row for row in info["values"] if row["what"].startswith("deploy job") or row["key"] == "BROKEN"]
    done = instance.ssh(
        "apps:update",
        APP,
        "--deploy-job-command",
        "'echo ready to go, $SECOND'",
        "--replicas",
        "2",
        "--env",
        "SECOND=open-wide",
    )
    assert done.code == 0, done.all
    assert "ready to go, ***" in done.out
    assert {"web.1", "web.2"} <= set(running(instance))
    assert value(instance, "web", "replicas") == ("2", "app")
    assert (
        instance.ssh("apps:update", APP, "--delete-deploy-job", "--unset-replicas", "--delete-env", "SECOND").code == 0
    )
    assert set(running(instance)) == {"web.1", "plodder.1", "clock.1"}


def test_settings_before_the_first_push(instance: Instance, live: Work) -> None:
    name = f"{APP}-b"
    made = instance.ssh(
        "apps:create", name, "--worker-job-name", "clock", "--worker-job-command", "'python3 main.py x'"
    )
    assert made.code == 0, made.all
    done = instance.push(live, name, "-o", "plan")
    assert "+ process clock x1: python3 main.py x" in done.err
    assert instance.ssh("apps:destroy", name, "--force").code == 0


def test_a_clone_has_commits_and_settings_and_runs_after_a_rebuild(instance: Instance, live: Work) -> None:
    name = f"{APP}-e"
    done = instance.ssh("apps:clone", APP, name)
    assert done.code == 0, done.all
    assert f"config:set {name} TOKEN=…" in done.out
    assert instance.json("config", name) == []
    assert instance.json("ps", name) == []
    built = instance.ssh("rebuild", name)
    assert built.code == 0, built.all
    assert ask(instance, f"{name}.localhost")[0] == 200
    own = "runner" if "runner" in (live.path / ".deploio.yaml").read_text() else "plodder"
    assert {row["process"] for row in instance.json("ps", name)} == {"web.1", f"{own}.1", "clock.1"}
    twice = instance.ssh("apps:clone", APP, name)
    assert (twice.code, "already" in twice.err) == (1, True)
    assert instance.ssh("apps:destroy", name, "--force").code == 0


# ---- processes ---------------------------------------------------------------------------------------------------


def test_statistics_are_read_from_the_engine(instance: Instance, live: Work) -> None:
    found = {row["process"]: row for row in instance.json("ps", APP, "--stats")}
    assert set(found) == {"web.1", "plodder.1", "clock.1"}
    for row in found.values():
        assert 0 <= row["cpu"] < 4
        assert 2**20 < row["memory"] < row["memory_limit"]
    assert found["web.1"]["memory_limit"] == 512 * 2**20
    text = instance.ssh("ps", APP, "-o", "stats").out
    assert "M of 512M" in text
    assert "MEMORY %" in text


def test_a_process_that_eats_its_memory_is_a_crash_loop_and_says_why(instance: Instance, live: Work) -> None:
    eater = shlex.quote("python3 -c 'x = b\"x\" * 10**9'")
    done = instance.ssh("apps:update", APP, "--worker-job-name", "eater", "--worker-job-command", eater)
    assert done.code == 0, done.all  # the dialect's policy: it stays live with a warning
    until(lambda: running(instance)["eater.1"]["state"] == "crash loop", "the crash loop", 60)
    found = running(instance)["eater.1"]
    assert (found["last_exit"], found["restarts"] >= 3) == ("137 (out of memory)", True)
    assert "crash loop (" in instance.ssh("ps", APP).out
    assert instance.ssh("apps:update", APP, "--delete-worker-job", "eater").code == 0


def test_web_restarts_under_load_without_a_lost_request(instance: Instance, live: Work) -> None:
    before = running(instance)
    with Visitors(instance.http_port, f"{APP}.localhost", RATE).visiting() as score:
        done = instance.ssh("ps:restart", APP, "web")
        assert done.code == 0, done.all
        until(lambda: len({answer.release for answer in score.answers}) == 2, "answers of the new web", 15)
    assert score.lost == []
    assert set(running(instance)) == set(before)
    assert instance.json("releases", APP)[0]["what"] == "ps:restart web"


def test_a_worker_restarts_alone_and_never_twice_at_once(instance: Instance, live: Work) -> None:
    before, number = running(instance), release(instance)
    done = instance.ssh("ps:restart", APP, "clock")
    assert done.code == 0, done.all
    after = running(instance)
    assert after["clock.1"]["since"] > before["clock.1"]["since"]
    assert {name: row["since"] for name, row in after.items() if name != "clock.1"} == {
        name: row["since"] for name, row in before.items() if name != "clock.1"
    }
    assert release(instance) == number
    missing = instance.ssh("ps:restart", APP, "nobody")
    assert (missing.code, "has no process 'nobody'" in missing.err) == (1, True)


def test_what_is_stopped_stays_so_across_a_deploy_until_it_is_started(instance: Instance, live: Work) -> None:
    host = f"{APP}.localhost"
    assert instance.ssh("ps:stop", APP, "web").out == "web is stopped\n"
    status, headers, body = ask(instance, host)
    assert (status, headers["retry-after"]) == (503, "60")
    assert "This app is stopped." in body
    assert f"-----> Leaving web stopped: 'ps:start {APP} web' starts it" in instance.ssh("config:set", APP, "A=b").out
    found = running(instance)
    assert (found["web"]["state"], found["clock.1"]["state"]) == ("stopped", "running")
    assert ask(instance, host)[0] == 503
    refused = instance.ssh("ps:scale", APP, "web=2")
    assert (refused.code, "ps:start" in refused.err) == (1, True)
    assert instance.ssh("ps:start", APP, "web").out == "web runs x1\n"
    assert ask(instance, host)[0] == 200
    assert set(instance.ssh("ps:stop", APP).out.splitlines()) == {
        f"{name} is stopped" for name in ("web", "plodder", "clock")
    }
    assert {row["state"] for row in running(instance).values()} == {"stopped"}
    refused = instance.ssh("ps:restart", APP)
    assert (refused.code, "are stopped: 'ps:start" in refused.err) == (1, True)
    assert instance.ssh("ps:start", APP).code == 0
    assert {row["state"] for row in running(instance).values()} == {"running"}


def test_scaling_web_to_nothing_shows_a_page_at_once(instance: Instance, live: Work) -> None:
    assert instance.ssh("ps:scale", APP, "web=0").out == "web is scaled to 0\n"
    until(lambda: running(instance).get("web", {}).get("state") == "scaled to 0", "its row", 15)
    assert instance.ssh("ps:start", APP, "web").out == f"web is scaled to 0: 'ps:scale {APP} web=1' runs one\n"
    assert ask(instance, f"{APP}.localhost")[0] == 503
    assert instance.ssh("ps:scale", APP, "web=1").code == 0
    until(lambda: ask(instance, f"{APP}.localhost")[0] == 200, "web's answer", 15)
    assert instance.ssh("apps:update", APP, "--unset-replicas").code == 0


# ---- domains, https, maintenance ---------------------------------------------------------------------------------


def test_domains_lead_to_the_app_at_once_and_stay(instance: Instance, live: Work) -> None:
    number = release(instance)
    done = instance.ssh("domains:add", APP, "www.shop.test", "Bücher.test")
    assert done.code == 0, done.all
    for host in ("www.shop.test", "xn--bcher-kva.test"):
        assert ask(instance, host)[0] == 200
    assert release(instance) == number
    assert instance.ssh("config:set", APP, "C=d").code == 0
    assert ask(instance, "www.shop.test")[0] == 200
    instance.stop()
    instance.start()
    assert ask(instance, "www.shop.test")[0] == 200
    assert {row["host"]: row["from"] for row in instance.json("domains", APP)} == {
        f"{APP}.localhost": "instance",
        "www.shop.test": "added",
        "xn--bcher-kva.test": "added",
    }
    assert instance.ssh("domains:remove", APP, "xn--bcher-kva.test").code == 0
    assert ask(instance, "xn--bcher-kva.test")[0] == 404
    assert instance.ssh("domains:remove", APP, "xn--bcher-kva.test").code == 1


def test_a_host_of_another_app_is_refused_and_not_said_whose(instance: Instance, live: Work, tmp_path: Path) -> None:
    other = f"{APP}-c"
    assert instance.ssh("apps:create", other).code == 0
    named = instance.ssh("domains:add", other, "www.shop.test")
    assert (named.code, f"in use by {APP}:" in named.err) == (1, True)
    key = tmp_path / "limited"
    instance.make_key(key)
    public = Path(f"{key}.pub").read_bytes()
    assert instance.ssh("keys:add", "limited", "--role", "developer", "--app", other, stdin=public).code == 0
    hidden = instance.ssh("domains:add", other, "www.shop.test", key=key)
    assert hidden.code == 1
    assert "in use by another app" in hidden.err
    assert APP not in hidden.err.replace(other, "")
    for wrong in ("*.shop.test", "10.0.0.1", "localhost", f"{APP}-d.localhost"):
        assert instance.ssh("domains:add", other, f"'{wrong}'").code == 2
    assert instance.ssh("apps:destroy", other, "--force").code == 0


def test_https_is_signed_by_the_own_authority_and_plain_http_goes_on(instance: Instance, live: Work) -> None:
    port = https_port(instance)
    for host in (f"{APP}.localhost", "www.shop.test"):
        until(lambda host=host: fetch_tls(instance, host, port)[0] == 200, f"https of {host}", 20)  # type: ignore[misc]
        status, issuer = fetch_tls(instance, host, port)
        assert status == 200
        assert "Caddy Local Authority" in issuer
    assert ask(instance, "www.shop.test")[0] == 200
    assert instance.ssh("domains:https", APP, "on").code == 0
    status, headers, _ = ask(instance, "www.shop.test", "/a?b=c")
    assert (status, headers["location"]) == (308, f"https://www.shop.test:{port}/a?b=c")
    assert fetch_tls(instance, "www.shop.test", port)[0] == 200
    assert instance.json("apps:info", APP)["urls"][0] == f"https://{APP}.localhost:{port}/"
    assert instance.ssh("domains:https", APP, "off").code == 0
    assert ask(instance, "www.shop.test")[0] == 200


def test_certificates_outlive_the_router(instance: Instance, live: Work) -> None:
    before = instance.ssh("domains:ca", APP).out
    assert before.startswith("-----BEGIN CERTIFICATE-----")
    router = f"{instance.name}-router"
    assert run(["docker", "rm", "-f", router]).code == 0
    until(lambda: fetch_tls(instance, "www.shop.test", https_port(instance))[0] == 200, "the router's return", 60)
    assert instance.ssh("domains:ca", APP).out == before


def test_maintenance_answers_all_requests_and_outlives_deploys(instance: Instance, live: Work) -> None:
    words = ["maintenance:on", APP, "--message", "'Back at <noon> {env.PATH}'"]
    done = instance.ssh(*words)
    assert done.code == 0, done.all
    assert "go on" in done.out
    assert instance.ssh("config:set", APP, "E=f").code == 0
    for host in (f"{APP}.localhost", "www.shop.test"):
        status, headers, body = ask(instance, host)
        assert (status, headers["retry-after"], headers["cache-control"]) == (503, "300", "no-store")
        assert "Back at &lt;noon&gt; &#123;env.PATH&#125;" in body
    assert running(instance)["clock.1"]["state"] == "running"
    assert instance.json("apps")[0]["maintenance"] == "on"
    assert instance.json("apps:info", APP)["maintenance_message"] == "Back at <noon> {env.PATH}"
    assert instance.lockstep("doctor").code == 0
    assert instance.ssh("maintenance:off", APP).code == 0
    assert ask(instance, f"{APP}.localhost")[0] == 200


def https_port(instance: Instance) -> int:
    line = next(line for line in (instance.home / "lockstep.toml").read_text().splitlines() if "https_port" in line)
    return int(line.partition("=")[2])


def fetch_tls(instance: Instance, host: str, port: int) -> tuple[int | None, str]:
    """One request by https that trusts the instance's authority alone: status and issuer; None when it fails."""
    context = ssl.create_default_context(cadata=instance.ssh("domains:ca", APP).out)
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname=host) as link,
        ):
            link.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            status = int(link.recv(4096).split()[1])
            issuer = str(link.getpeercert())
    except (OSError, ssl.SSLError, ValueError, IndexError):
        return None, ""
    return status, issuer
