"""Every example pushed with real git into a real engine, the broken ones included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.driver import Done, Instance, Work, until

pytestmark = pytest.mark.engine
UP_DEADLINE = 60.0  # seconds for something that was just started to be seen


def processes(instance: Instance, app: str) -> dict[str, dict[str, Any]]:
    return {row["process"]: row for row in instance.json("ps", app)}


def serves(instance: Instance, app: str, text: str, path: str = "/") -> bool:
    status, body = instance.get(app, path)
    return status == 200 and text in body


def test_the_job_board_goes_live_as_web_worker_and_cron_of_one_commit(
    instance: Instance, app: str, tmp_path: Path
) -> None:
    work = Work.of_example("jobboard", tmp_path / "work")
    first = instance.push(work, app)
    assert first.code == 0, first.err
    assert f"{app} v1 is live" in first.err
    assert f"http://{app}.localhost:{instance.http_port}/" in first.err

    form = "title=Engineer&company=Lockstep&place=Bern&text=keeps+parts+together&days=0"
    status, _ = instance.get(app, "/postings", method="POST", body=form)
    assert status == 303
    until(lambda: releases_of(instance, app)["workers"], "a sign of life of the worker", UP_DEADLINE)
    ran = instance.ssh("cron:run", app, "stale_cleanup", "-f")
    assert ran.code == 0, ran.all
    assert {part["release"] for part in all_parts(instance, app)} == {"v1"}

    work.write({"app/extra.py": "# a change of code alone\n"})
    commit = work.commit()
    second = instance.push(work, app)
    assert second.code == 0, second.err
    assert "CACHED RUN pip install" in second.err
    assert "no worker ran for" in second.err
    report = releases_of(instance, app)
    assert report["web"]["commit"] == commit
    assert [worker["release"] for worker in report["workers"]] == ["v2"]
    assert {row["release"] for row in instance.json("ps", app)} == {"v2"}


def releases_of(instance: Instance, app: str) -> Any:
    return json.loads(instance.get(app, "/releases.json")[1])


def all_parts(instance: Instance, app: str) -> list[Any]:
    report = releases_of(instance, app)
    return [report["web"], *report["workers"], report["cron"]]


def test_a_deploio_app_runs_its_deploy_job_before_it_goes_live(instance: Instance, app: str, tmp_path: Path) -> None:
    work = Work.of_example("deploio", tmp_path / "work")
    done = instance.push(work, app)
    assert done.code == 0, done.err
    assert "deploy job v1: GREETING is there" in done.err
    assert serves(instance, app, "v1")
    assert processes(instance, app)["ticker.1"]["state"] == "running"

    manifest = (work.path / ".deploio.yaml").read_text()
    work.write({".deploio.yaml": manifest.replace("name: GREETING", "name: NO_GREETING")})
    work.commit()
    failed = instance.push(work, app)
    assert failed.code != 0
    assert "predeploy failed: check exited with 1" in failed.err
    assert serves(instance, app, "v1")


def test_a_node_app_gets_the_version_it_asks_for(instance: Instance, app: str, tmp_path: Path) -> None:
    done = instance.push(Work.of_example("node", tmp_path / "work"), app)
    assert done.code == 0, done.err
    assert "engines.node" in done.err
    assert serves(instance, app, "v1")
    assert processes(instance, app)["ticker.1"]["state"] == "running"


def test_a_static_site_is_served_with_its_own_404(instance: Instance, app: str, tmp_path: Path) -> None:
    done = instance.push(Work.of_example("static", tmp_path / "work"), app)
    assert done.code == 0, done.err
    assert serves(instance, app, "<html")
    assert instance.get(app, "/nowhere")[0] == 404
    assert "Not here" in instance.get(app, "/nowhere")[1]
    assert instance.get(app, "/.paas/app.yaml")[0] == 404


def test_an_app_brings_its_own_dockerfile(instance: Instance, app: str, tmp_path: Path) -> None:
    done = instance.push(Work.of_example("dockerfile", tmp_path / "work"), app)
    assert done.code == 0, done.err
    assert serves(instance, app, "release v1")
    assert processes(instance, app)["clock.1"]["state"] == "running"


@pytest.fixture
def live(instance: Instance, app: str, tmp_path: Path) -> Work:
    """The dockerfile example, live as v1 with its worker: what every broken push must leave alone."""
    work = Work.of_example("dockerfile", tmp_path / "live")
    done = instance.push(work, app)
    assert done.code == 0, done.err
    return work


def broken(instance: Instance, app: str, example: str, tmp_path: Path) -> Done:
    """Push a broken example over the live app, and see that v1 is as it was."""
    done = instance.push(Work.of_example(example, tmp_path / "broken"), app, "--force")
    assert done.code == 1
    assert "! [remote rejected] main -> main" in done.err
    assert "next: " in done.err
    assert serves(instance, app, "release v1")
    found = processes(instance, app)
    assert {row["release"] for row in found.values()} == {"v1"}
    assert found["clock.1"]["state"] == "running"
    assert instance.json("apps:info", app)["release"] == "v1"
    return done


def test_a_bad_manifest_names_the_key_and_the_nearest_known_one(
    instance: Instance, app: str, live: Work, tmp_path: Path
) -> None:
    done = broken(instance, app, "broken-manifest", tmp_path)
    assert "worker: unknown key, did you mean 'workers'?" in done.err


def test_a_failing_build_shows_its_step_and_its_output(
    instance: Instance, app: str, live: Work, tmp_path: Path
) -> None:
    done = broken(instance, app, "broken-build", tmp_path)
    assert "No matching distribution found for lockstep-no-such-package" in done.err
    assert "build failed: step [build 5/5] RUN pip install" in done.err


def test_a_web_that_never_listens_is_not_routed(instance: Instance, app: str, live: Work, tmp_path: Path) -> None:
    done = broken(instance, app, "broken-web", tmp_path)
    assert "stage failed: an answer of web on port" in done.err
    assert "last lines of its log" in done.err


def test_a_worker_that_dies_undoes_a_paas_deploy(instance: Instance, app: str, live: Work, tmp_path: Path) -> None:
    done = broken(instance, app, "broken-worker", tmp_path)
    assert "undoing: v1 stays live" in done.err
    assert "start failed: crasher exited with 1" in done.err


def test_a_worker_that_dies_leaves_a_deploio_release_live_with_a_warning(
    instance: Instance, app: str, live: Work, tmp_path: Path
) -> None:
    done = instance.push(Work.of_example("broken-worker-deploio", tmp_path / "broken"), app, "--force")
    assert done.code == 0
    assert "worker crasher is not up: crasher exited with 1" in done.err
    assert "v2 is live" in done.err
    until(lambda: processes(instance, app)["crasher.1"]["state"] == "crash loop", "the crash loop", UP_DEADLINE)
